"""The range test: one pass at exponentially growing rates through a user's step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _check
from optax_warmup._presets.stages import lr_range_test
from optax_warmup.finder._curve import FEWEST, RateCurve, noise, smoothed, time_constant

_EVERY = 10  # updates between two looks at the losses, which wait for the device
_NOISE = 4  # standard errors that a rise must exceed beside
_OWNER = "find_rate"


def find_rate(
    step: Callable[[Any, Any, Any], tuple[Any, Any]],
    state: Any,
    batches: Iterable[Any],
    *,
    min_value: float = 1e-6,
    max_value: float = 1.0,
    steps: int = 200,
    seeds: int | None = None,
    stop_at: float = 1.0,
) -> RateCurve:
    """Runs a learning-rate range test: one pass at exponentially growing rates.

    rate(k) = min_value * (max_value / min_value)**(k / (steps - 1))

    The test stops when the smoothed loss has risen from its minimum by `stop_at` times
    what it fell before, and by more than its noise; or at a loss that is not finite.
    The state is copied first, so that it is the same afterwards even if `step` donates
    it.

    Args:
        step: a function of (state, batch, learning_rate) that returns (state, loss);
            the rate is a float32 scalar. It is usually jitted, and may build its
            optimizer from the rate: `optax.adamw(learning_rate)`. The loss is that of
            the batch before the update, a scalar.
        state: the parameters and the optimizer's state, as `step` takes them.
        batches: an iterable of at least `steps` batches.
        min_value: the rate of the first update, > 0: so low that nothing is learned.
        max_value: the rate of the last update: so high that training diverges.
        steps: the number of updates, >= 10. A test of at least 100 is less noisy.
        seeds: if given, the number of runs at once, in one vmapped program: every leaf
            of the state and of a batch has a leading axis of that many.
        stop_at: when to stop, > 0; infinity to stop only at a loss that is not finite.

    Returns:
        A `RateCurve`; see `suggest` and `plot_curve`.

    Raises:
        TypeError: `step` is not callable, or does not return (state, loss) with a
            scalar loss.
        ValueError: a rate or a number is out of range, there are fewer batches than
            steps, or a leaf has no axis of `seeds`.

    Example:
        >>> import jax, jax.numpy as jnp, optax, optax_warmup as ow
        >>> @jax.jit
        ... def step(state, batch, learning_rate):
        ...     params, opt_state = state
        ...     loss, grads = jax.value_and_grad(lambda w: (w * batch) @ (w * batch))(
        ...         params)
        ...     optimizer = optax.sgd(learning_rate)
        ...     updates, opt_state = optimizer.update(grads, opt_state)
        ...     return (optax.apply_updates(params, updates), opt_state), loss
        >>> params = jnp.ones(4)
        >>> state = params, optax.sgd(0.0).init(params)
        >>> batches = [jnp.ones(4)] * 100
        >>> curve = ow.finder.find_rate(step, state, batches, max_value=100., steps=100)
        >>> curve.diverged, bool(0.01 < ow.finder.suggest(curve).rate < 1.0)
        (True, True)

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017,
    arXiv:1506.01186, section 3.3.
    """
    _check.function(_OWNER, "step", step, "state", "batch", "learning_rate")
    steps = _check.count(_OWNER, "steps", steps, minimum=FEWEST)
    min_value = _check.scalar(_OWNER, "min_value", min_value, above=0.0)
    max_value = _check.scalar(_OWNER, "max_value", max_value, above=0.0)
    if min_value >= max_value:
        raise ValueError(
            f"{_OWNER}: min_value must be < max_value, got min_value={min_value:g} and "
            f"max_value={max_value:g}; the rate grows from the first to the second."
        )
    if not (isinstance(stop_at, float) and stop_at == np.inf):
        stop_at = _check.scalar(_OWNER, "stop_at", stop_at, above=0.0)
    one, iterator = step, _iterator(batches)
    if seeds is not None:
        seeds = _check.count(_OWNER, "seeds", seeds, minimum=1)
        _require_axis("state", state, seeds)
        one = jax.jit(jax.vmap(step, in_axes=(0, 0, None)))
    rates = np.asarray(
        lr_range_test(min_value, max_value, steps - 1)(np.arange(steps)), np.float64
    )
    state = jax.tree.map(_copied, state)
    pending, losses = [], np.empty((seeds or 1, 0))
    diverged = False
    for index, rate in enumerate(rates):
        try:
            batch = next(iterator)
        except StopIteration:
            raise ValueError(
                f"{_OWNER}: batches must hold at least steps={steps}, got {index}; "
                "pass fewer steps, or repeat them with itertools.cycle."
            ) from None
        if seeds is not None:
            _require_axis("a batch", batch, seeds)
        state, loss = _applied(one, state, batch, jnp.float32(rate), seeds)
        pending.append(loss)
        if len(pending) == _EVERY or index == steps - 1:
            losses = np.concatenate([losses, _fetched(pending, seeds or 1)], axis=1)
            pending = []
            last = _divergence(losses.mean(axis=0), steps, stop_at)
            if last is not None:
                losses, diverged = losses[:, : last + 1], True
                break
    if losses.shape[1] < FEWEST:  # divergence at once: the rules say so
        missing = FEWEST - losses.shape[1]
        losses = np.pad(losses, ((0, 0), (0, missing)), constant_values=np.nan)
    return RateCurve(rates[: losses.shape[1]], losses, diverged)


def _iterator(batches: Any) -> Iterator[Any]:
    try:
        if not isinstance(batches, str | bytes):
            return iter(batches)
    except TypeError:
        pass
    raise TypeError(
        f"{_OWNER}: batches must be an iterable of batches, got {batches!r}."
    )


def _copied(x: Any) -> Any:
    return jnp.copy(x) if isinstance(x, jax.Array) else x


def _applied(
    one: Any, state: Any, batch: Any, rate: jax.Array, seeds: int | None
) -> tuple[Any, Any]:
    result = one(state, batch, rate)
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"{_OWNER}: step must return (state, loss), got {type(result).__name__}; "
            "wrap a step that returns more."
        )
    if not _is_number(result[1]):
        raise TypeError(
            f"{_OWNER}: step must return (state, loss), the loss a real scalar, got "
            f"({type(result[0]).__name__}, {type(result[1]).__name__}); are they "
            "swapped?"
        )
    shape = np.shape(result[1])
    if shape != (() if seeds is None else (seeds,)):
        one_run = shape if seeds is None else shape[1:]
        raise TypeError(
            f"{_OWNER}: step must return a scalar loss, got the shape {one_run}; "
            "return its mean, or pass seeds=n if these are runs."
        )
    return result


def _is_number(x: Any) -> bool:
    kinds = int | float | np.generic | np.ndarray | jax.Array
    return isinstance(x, kinds) and _check.is_real(jnp.result_type(x))


def _fetched(pending: list[Any], seeds: int) -> np.ndarray:
    """The losses of some updates, [seeds, updates]."""
    fetched = [np.asarray(x, np.float64) for x in jax.device_get(pending)]
    return np.stack([x.reshape(seeds) for x in fetched], axis=1)


def _divergence(losses: np.ndarray, steps: int, stop_at: float) -> int | None:
    """The first update at which the test should stop, if there is one."""
    bad = ~np.isfinite(losses)
    if bad.any():
        return int(bad.argmax())
    if stop_at == np.inf:
        return None
    updates = time_constant(steps)
    smooth = smoothed(losses, updates)
    lowest = np.minimum.accumulate(smooth)
    # What it fell; where it has not, its noise alone says what a rise is.
    fallen = np.maximum.accumulate(smooth[0] - lowest)
    rounding = 1e-5 * np.abs(losses).max()
    allowed = stop_at * fallen + _NOISE * noise(losses) + rounding
    risen = (smooth - lowest > allowed) & (np.arange(len(losses)) >= FEWEST)
    return int(risen.argmax()) if risen.any() else None


def _require_axis(name: str, tree: Any, seeds: int) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if np.shape(leaf)[:1] != (seeds,):
            raise ValueError(
                f"{_OWNER}: every leaf of {name} must have a leading axis of "
                f"seeds={seeds}, got shape {np.shape(leaf)} at "
                f"{jax.tree_util.keystr(path) or 'the only leaf'}."
            )

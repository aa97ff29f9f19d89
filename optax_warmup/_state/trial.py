"""Trying an optimizer on few numbers, for what its state does not tell."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.find import find, find_if, trained
from optax_warmup._state.moments import moment_nodes, moments_of
from optax_warmup._state.momentum import momentum_of
from optax_warmup._state.step import is_injected


class Step(NamedTuple):
    """One update in a trial: what was given, what came out, the state on both sides."""

    gradients: Any
    updates: Any
    before: Any
    after: Any


# The gradients of each step. The first coordinate shows the decays; the others differ
# from it and from each other.
# Where weight decay is a part of the gradient, a parameter of 0 has none.
_PARAMETERS = (0, 2, -1, 0.5)
_GRADIENTS = ((1, 1, 0.5, -0.25), (0, 1, -0.5, 0.125), (0.5, -0.75, 0.25, 1))


_running = contextvars.ContextVar("running", default=False)


def is_trial() -> bool:
    """Whether an optimizer is being tried: shapes are not those of the parameters."""
    return _running.get()


@contextlib.contextmanager
def _trial() -> Iterator[None]:
    token = _running.set(True)
    try:
        yield
    finally:
        _running.reset(token)


def tried(
    inner: optax.GradientTransformationExtraArgs,
    params: Any,
    owner: str,
    patience: int = 1,
    *,
    coordinates: int = 1,
    updates: int = 2,
) -> tuple[Any, list[Step]]:
    """Tries an optimizer on a small copy of the parameters, outside of any trace.

    Every leaf is tried with few numbers in its place, as many dimensions as it has
    (Muon asks for their count), in float32 where its own type has fewer digits. Each
    gradient is given up to `patience` times, until a moment moves: `optax.MultiSteps`
    passes it on once it has accumulated enough of them.

    Returns:
        The small copy, and the updates.
    """
    with _trial(), jax.ensure_compile_time_eval():
        few = jax.tree.map(lambda p: _few(p, _PARAMETERS[:coordinates]), params)
        like = trained(few)
        state, steps = inner.init(few), []
        update = _updater(inner, state, few)
        for numbers in _GRADIENTS[:updates]:
            gradients = jax.tree.map(lambda p, n=numbers: _few(p, n[: p.size]), like)
            before, moments = state, _moments(state, like, owner)
            for _ in range(patience):
                changes, state = update(gradients, state, few)
                moved = zip(moments, _moments(state, like, owner), strict=True)
                if not moments or any(bool(jnp.any(x != y)) for x, y in moved):
                    break
            steps.append(Step(gradients, changes, before, state))
    return like, steps


def injected_changes(
    inner: optax.GradientTransformationExtraArgs, few: Any, step: Step, patience: int
) -> dict[str, tuple[float, float]]:
    """What schedules in `optax.inject_hyperparams` change: the first and last value.

    Args:
        inner: the optimizer.
        few: its parameters in the trial.
        step: the first of the trial.
        patience: gradients that an `optax.MultiSteps` may accumulate.
    """

    def much_later(node: Any) -> Any:
        if not is_injected(node):
            return node
        names = {"count", "hyperparams_states"} & set(node._fields)
        counts = {name: getattr(node, name) for name in names}
        last = _check.MAX_STEP - 1
        return node._replace(**jax.tree.map(lambda x: jnp.full_like(x, last), counts))

    def values(state: Any) -> dict[tuple[str, str], Any]:
        return {
            (path, name): value
            for path, node in find_if(state, is_injected).items()
            for name, value in node.hyperparams.items()
        }

    if not find_if(step.before, is_injected):
        return {}
    with _trial(), jax.ensure_compile_time_eval():
        late = jax.tree.map(much_later, step.before, is_leaf=is_injected)
        after, accumulates = late, find(late, optax.MultiStepsState)
        for _ in range(patience if accumulates else 1):
            _, after = inner.update(step.gradients, after, few, value=jnp.float32(1))
    first, last = values(step.before), values(after)
    pairs = {place: (first[place], last[place]) for place in first.keys() & last}
    return {
        name: (float(x), float(y))
        for (_, name), (x, y) in pairs.items()
        if jnp.ndim(x) == 0 and not any(map(_check.is_traced, (x, y))) and x != y
    }


def _updater(
    inner: optax.GradientTransformationExtraArgs, state: Any, params: Any
) -> Callable[[Any, Any, Any], Any]:
    """The optimizer's update: compiled once, if it can be."""

    def update(gradients: Any, state: Any, params: Any) -> Any:
        # Some optimizers ask for the loss; what they make of it does not matter.
        return inner.update(gradients, state, params, value=jnp.float32(1))

    compiled = jax.jit(update)
    try:
        found = jax.tree.leaves(compiled(trained(params), state, params))
    except Exception:  # JAX has several for a number of an outer trace
        return update
    # A number of an outer trace, such as a learning rate in a sweep, would make all
    # results traced; without a program the moments are known.
    return update if any(map(_check.is_traced, found)) else compiled


def _moments(state: optax.OptState, params: Any, owner: str) -> list[jax.Array]:
    """Every first and second moment in a state."""
    if moment_nodes(state):
        adam = moments_of(state, params, owner)
        kept = [*adam.mu, *adam.nu]
    else:
        kept = momentum_of(state, params, owner)
    return [moment for moment in kept if moment is not None]


def _few(param: Any, numbers: tuple[float, ...]) -> jax.Array:
    """Some numbers in place of an array; one in place of a scalar."""
    dtype = jnp.result_type(param)
    if jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.promote_types(dtype, jnp.float32)
    shape = (len(numbers), *[1] * (jnp.ndim(param) - 1)) if jnp.ndim(param) else ()
    return jnp.asarray(numbers if shape else numbers[0]).astype(dtype).reshape(shape)

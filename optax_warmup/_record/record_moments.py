"""The wrapper that keeps a record of Adam's moments in the optimizer's state."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check, _sample as sample
from optax_warmup._record import layout as layouts, moments, slots
from optax_warmup._record.gate import measured_if
from optax_warmup._record.layout import Layout
from optax_warmup._state.moments import Moments, moments_of
from optax_warmup._state.probe import require_own_decays
from optax_warmup._state.rate import applied_rates, automatic_warmup_of
from optax_warmup._transforms.arguments import require_optimizer


class RecordMomentsState(NamedTuple):
    """The state of `record_moments`: the wrapped optimizer's, and a record beside it.

    The record has a fixed size. Its last row is scratch: what an unrecorded step
    writes goes there.

    Attributes:
        inner_state: the state of the wrapped optimizer, whole.
        layout: what the axes and the sums mean, as JSON; uint8, shape (bytes,).
        updates: updates seen by the wrapper, int32, shape ().
        steps: the step of each row, -1 where it is empty, int32, shape (rows + 1,).
        learning_rate: the rate used at that step, NaN where none was remembered,
            float32, shape (rows + 1,).
        warmup: the factor and the coherence of `automatic_warmup`, NaN without one,
            float32, shape (rows + 1, 2).
        sums: the sums over each group's coordinates, float32, shape
            (rows + 1, groups, columns).
        histogram: counts of sampled coordinates of nu in bins of two octaves, int32,
            shape (rows + 1, groups, 32), or (rows + 1, groups, 0) where it is off.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init({"w": jnp.ones(3)})
        >>> state.sums.shape
        (449, 1, 6)
    """

    inner_state: optax.OptState
    layout: jax.Array
    updates: jax.Array
    steps: jax.Array
    learning_rate: jax.Array
    warmup: jax.Array
    sums: jax.Array
    histogram: jax.Array


def record_moments(
    inner: optax.GradientTransformation | optax.MultiSteps,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    gradients: bool = False,
    parameters: bool = False,
    groups: Callable[[str], str] | None = None,
    steps: Sequence[int] | None = None,
    also: Sequence[int] = (),
    samples: int | None = 4096,
    histogram: bool = True,
    axis_name: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Wraps an optimizer and records how its Adam moments warm up.

    The updates are the wrapped optimizer's own, bit for bit. Recorded are every step
    below 32 and then 16 steps an octave, in a table of fixed size inside the state; a
    step that is not recorded only passes a branch by. Nothing is fetched from the
    device: `read_moments` does that whenever you like.

    With nu_hat = nu / (1 - b2**n) and mu_hat = mu / (1 - b1**n) after n updates, each
    group's record holds sums of nu and mu**2 and the largest nu, and, from a sample of
    each parameter, sums of (mu_hat / (sqrt(nu_hat) + eps))**2 and sqrt(nu_hat) + eps,
    the count of sqrt(nu_hat) < eps, and a histogram of log2(nu).

    Recording can be left out of a step from outside: `optimizer.update(grads, state,
    params, record=False)` with Python's False compiles a step without any of it; with
    an array of bool, the device decides.

    Args:
        inner: any optimizer with Adam's moments in it (adam, adamw, nadam, amsgrad,
            radam, yogi, lamb, adabelief, rmsprop), in any nesting. For
            `update_to_weight`, let it remember its rate: `scale_by_learning_rate`.
        b1, b2, eps: the wrapped optimizer's own, in [0, 1), [0, 1) and >= 0; they are
            not in its state. The defaults are those of `optax.adam`. For rmsprop, b2
            is its `decay`, and b1 is not used.
        gradients: whether to record the gradients too: how they compare with nu_hat
            and with the step before. They are those that reach this wrapper; wrap
            `scale_by_adam` alone to see them after clipping. They must then outlive
            their part of the update at every step.
        parameters: whether to record the size of the parameters too; `update` then
            needs its `params`, whose old values must outlive the update at every step.
        groups: maps a parameter's path, such as "layers/0/kernel", to the name of its
            group; by default each parameter is a group.
        steps: the steps to record instead, whole numbers >= 0.
        also: steps to record beside the usual ones, such as that at which the warmup
            ends; each adds a row.
        samples: coordinates of each parameter, about, in the statistics that would be
            slow to take of all (see docs/diagnostics.md); None takes all.
        histogram: whether to record one.
        axis_name: inside `shard_map` or `pmap`, the axis over which all moments are
            sharded; the state must have been made outside, from whole parameters.

    Returns:
        A transform with state `RecordMomentsState`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or a number is none.
        ValueError: a number is out of its range, or b1 or b2 is not the optimizer's own
            (where that can be found out); at `init`, the optimizer holds no
            Adam moments, or two of its parts hold moments of the same parameter; at
            `update`, `params` is missing.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.record_moments(optax.adam(1e-3, b2=0.99), b2=0.99)
        >>> params = {"w": jnp.ones(3)}
        >>> state = optimizer.init(params)
        >>> for _ in range(4):
        ...     updates, state = optimizer.update(params, state, params)
        >>> ow.read_moments(state).effective_sample_size.round(2).tolist()
        [1.0, 2.0, 3.0, 4.0]

    Source: D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2015,
    arXiv:1412.6980, algorithm 1 (the moments).
    """
    inner = require_optimizer(_OWNER, inner)
    columns: tuple[str, ...] = layouts.FROM_MOMENTS
    columns += layouts.FROM_GRADIENTS if gradients else ()
    columns += layouts.FROM_PARAMETERS if parameters else ()
    listed, beside = _listed(steps, also)
    layout_of = partial(
        _layout,
        groups,
        columns=columns,
        b1=float(_check.number(_OWNER, "b1", b1, minimum=0, below=1)),
        b2=float(_check.number(_OWNER, "b2", b2, minimum=0, below=1)),
        eps=float(_check.number(_OWNER, "eps", eps, minimum=0)),
        bits=_BITS,
        steps=listed,
        also=beside,
        samples=None
        if samples is None
        else int(_check.length(_OWNER, "samples", samples, minimum=1)),
        histogram=bool(histogram),
    )

    require_own_decays(_OWNER, inner, b1=b1, b2=b2)

    def init_fn(params: optax.Params) -> RecordMomentsState:
        inner_state = inner.init(params)
        layout = layout_of(params, moments_of(inner_state, params, _OWNER))
        rows = slots.slot_count(layout.bits, layout.steps, layout.also) + 1
        size = len(layout.groups)
        bins = layouts.BINS if layout.histogram else 0
        return RecordMomentsState(
            inner_state,
            layout.encode(),
            updates=jnp.zeros((), jnp.int32),
            steps=jnp.full(rows, -1, jnp.int32),
            learning_rate=jnp.full(rows, jnp.nan, jnp.float32),
            warmup=jnp.full((rows, 2), jnp.nan, jnp.float32),
            sums=jnp.zeros((rows, size, len(columns)), jnp.float32),
            histogram=jnp.zeros((rows, size, bins), jnp.int32),
        )

    def update_fn(
        updates: optax.Updates,
        state: RecordMomentsState,
        params: optax.Params | None = None,
        *,
        record: bool | jax.Array = True,
        **extra: Any,
    ) -> tuple[optax.Updates, RecordMomentsState]:
        if parameters and params is None:
            raise ValueError(
                f"{_OWNER}: update needs params, as in optimizer.update(grads, state, "
                f"params); or build it with record_moments(..., parameters=False)."
            )
        new_updates, inner_state = inner.update(
            updates, state.inner_state, params, **extra
        )
        new = state._replace(
            inner_state=inner_state, updates=optax.safe_increment(state.updates)
        )
        if record is False:
            return new_updates, new
        adam = moments_of(inner_state, updates, _OWNER)
        layout = layout_of(updates, adam)
        count, due, row = _place(layout, state, adam, updates)
        due &= record
        row = jnp.where(due, row, state.steps.shape[0] - 1)
        sums, histogram = measured_if(
            due,
            partial(moments.measure, layout, axis_name),
            (state.sums[-1], state.histogram[-1]),
            _zero(state),
            count,
            adam.mu,
            adam.nu,
            jax.tree.leaves(updates) if gradients else None,
            jax.tree.leaves(params) if parameters else None,
        )
        return new_updates, new._replace(
            steps=_write(state.steps, jnp.where(due, count - 1, -1), row),
            learning_rate=_write(state.learning_rate, _rate(inner_state), row),
            warmup=_write(state.warmup, automatic_warmup_of(inner_state), row),
            sums=_write(state.sums, sums, row),
            histogram=_write(state.histogram, histogram, row),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


_OWNER = "record_moments"
_BITS = 5  # 448 rows cover every step of an int32; 128 of them the first 2000


def _place(
    layout: Layout, state: RecordMomentsState, adam: Moments, tree: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Adam's count after this update, whether the update is due, and its row."""
    before: Any
    if adam.count is None:  # rmsprop does not count
        count, before = state.updates + 1, state.updates
    else:
        count, before = adam.count, moments_of(state.inner_state, tree, _OWNER).count
    due, row = slots.slot(count - 1, layout.bits, layout.steps, layout.also)
    # Under gradient accumulation Adam may stand still: that step was recorded before.
    return count, due & (count > before), row


def _zero(state: RecordMomentsState) -> jax.Array:
    """A zero that XLA takes for data: nothing but itself is written to the scratch."""
    return jnp.sum(state.sums[-1])


def _write(table: jax.Array, row: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(table, row, index, 0)


def _rate(inner_state: optax.OptState) -> jax.Array:
    """The one rate the optimizer remembers, NaN where there is none or several."""
    rates = list(applied_rates(inner_state).values())
    return jnp.float32(rates[0]) if len(rates) == 1 else jnp.float32(jnp.nan)


def _listed(
    steps: Sequence[int] | None, also: Sequence[int]
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Both lists in order, without what is recorded anyway."""
    more = {int(_check.length(_OWNER, "also", step)) for step in also}
    if steps is None:
        unusual = {step for step in more if not slots.usual(step, _BITS)}
        return None, tuple(sorted(unusual))
    listed = more | {int(_check.length(_OWNER, "steps", step)) for step in steps}
    if not listed:
        raise ValueError(f"{_OWNER}: steps must not be empty; None records the usual.")
    return tuple(sorted(listed)), ()


def _layout(
    groups: Callable[[str], str] | None,
    tree: Any,
    adam: Moments,
    *,
    b1: float,
    samples: int | None,
    **fields: Any,
) -> Layout:
    """The layout for parameters, or updates, of some tree."""
    paths = _paths(tree)
    labels = [str(groups(path)) for path in paths] if groups else paths
    names = tuple(dict.fromkeys(labels))
    leaf_groups = tuple(names.index(label) for label in labels)
    sizes, sampled = [0] * len(names), [0] * len(names)
    dtypes: list[list[jnp.dtype]] = [[] for _ in names]
    for group, v in zip(leaf_groups, adam.nu, strict=True):
        if v is not None:
            sizes[group] += math.prod(v.shape)
            sampled[group] += sample.count(math.prod(v.shape), samples)
            dtypes[group].append(v.dtype)
    averaged = any(m is not None for m in adam.mu)
    return Layout(
        groups=names,
        sizes=tuple(sizes),
        sampled=tuple(sampled),
        dtypes=tuple(_least_precise(some) for some in dtypes),
        leaf_groups=leaf_groups,
        b1=b1 if averaged else 0.0,
        corrected=adam.corrected,
        averaged=averaged,
        samples=samples,
        **fields,
    )


def _least_precise(dtypes: list[jnp.dtype]) -> str:
    return str(max(dtypes, key=lambda d: float(jnp.finfo(d).eps))) if dtypes else ""


def _paths(tree: Any) -> list[str]:
    """The path of each leaf; flax's variables do not show the key they add."""
    paths = [
        jax.tree_util.keystr(path, simple=True, separator="/") or "parameters"
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]
    if all(path.endswith("/value") for path in paths):
        return [path.removesuffix("/value") for path in paths]
    return paths

"""The wrapper that keeps a record of Adam's moments in the optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup._gate import measured_first, measured_if
from optax_warmup._record import moments, slots
from optax_warmup._record.blocks import Blocks
from optax_warmup._record.decays import Decays
from optax_warmup._record.layout import BINS, Layout
from optax_warmup._record.options import OWNER, Options
from optax_warmup._state.declared import recorded_scalars
from optax_warmup._state.find import bare, find, trained
from optax_warmup._state.finite_start import require_finite_start
from optax_warmup._state.moments import Moments, moments_of
from optax_warmup._state.order import require_one_clock, require_order
from optax_warmup._state.rates_over_time import visible_rates
from optax_warmup._transforms.arguments import require_optimizer, require_state


class RecordMomentsState(NamedTuple):
    """The state of `record_moments`: the wrapped optimizer's, and a record beside it.

    The record has a fixed size. Its last row is scratch: what an unrecorded step
    writes goes there.

    Attributes:
        inner_state: the state of the wrapped optimizer, whole.
        layout: what the axes and the sums mean, as JSON; uint8, shape (bytes,).
        updates: updates of the moments so far, int32, shape (). They are not counted
            again from 0 when the wrapped optimizer is reset.
        steps: the step of each row, -1 where it is empty, int32, shape (rows + 1,).
        counts: Adam's own count after that step, int32, shape (rows + 1,). Where it is
            less than in the row before, the moments were reset in between.
        rates: the rate of each group that the states show, by its name (see
            `learning_rates`); where they show none, the factors on it. A dictionary of
            float32 arrays, shape (rows + 1,).
        schedule_counts: for those without a rate, the updates that its schedule had
            counted, a dictionary of int32 arrays, shape (rows + 1,).
        clock: the most that any schedule or factor had counted, int32, shape
            (rows + 1,).
        scalars: what the states declare, such as the factor of a warmup: a dictionary
            of float32 arrays, shape (rows + 1,).
        sums: the sums over each group's coordinates, float32, shape
            (rows + 1, groups, columns).
        histogram: about how many coordinates have nu in each bin of two octaves,
            float32, shape (rows + 1, 32); None where it is off.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init({"w": jnp.ones(3)})
        >>> state.sums.shape
        (449, 1, 16)
    """

    inner_state: optax.OptState
    layout: jax.Array
    updates: jax.Array
    steps: jax.Array
    counts: jax.Array
    rates: dict[str, jax.Array]
    schedule_counts: dict[str, jax.Array]
    clock: jax.Array
    scalars: dict[str, jax.Array]
    sums: jax.Array
    histogram: jax.Array | None

    @property
    def watched(self) -> optax.OptState:
        """The part that training depends on."""
        return self.inner_state


def record_moments(
    inner: optax.GradientTransformation | optax.MultiSteps,
    *,
    b1: float | None = None,
    b2: float | None = None,
    eps: float = 1e-8,
    groups: Callable[[str], str] | None = None,
    steps: Sequence[int] | None = None,
    also: Sequence[int] = (),
    samples: int | None = 1024,
    histogram: bool = True,
    axis_name: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Wraps an optimizer and records how its Adam moments warm up.

    The updates are the wrapped optimizer's own, bit for bit. Every step below 32 is
    recorded and then 16 steps an octave, in a table of fixed size inside the state. A
    step that is not recorded costs two branches that are not taken; one that is
    recorded computes the update twice, once for a sample of the coordinates. Nothing is
    fetched from the device: `read_moments` does that whenever you like.

    With nu_hat = nu / (1 - b2**n) and mu_hat = mu / (1 - b1**n) after n updates, each
    group's record holds sums of nu and mu**2 and the largest nu, and from a sample of
    each parameter how Adam's direction mu_hat / (sqrt(nu_hat) + eps), the parameters,
    the final updates, and the gradients compare. The gradients are those that entered
    the moments, recovered as (mu(n) - b1 * mu(n-1)) / (1 - b1). So clipping and
    accumulation may stand inside of this wrapper or outside. The rate that was applied
    is measured from the final updates, whatever part of the optimizer scaled them.

    Recording can be left out of a step from outside: `optimizer.update(grads, state,
    params, record=False)` with Python's False compiles a step without any of it; with
    an array of bool, the device decides.

    Args:
        inner: any optimizer with Adam's moments in it (adam, adamw, nadam, amsgrad,
            radam, yogi, lamb, adabelief, rmsprop), in any nesting.
        b1, b2: the wrapped optimizer's own, in [0, 1). By default they are found by
            trying the optimizer on one number. Pass them where an error asks for them:
            moments in few bits (`mu_dtype=jnp.bfloat16`) and some optimizers (yogi,
            adabelief) do not show them. For rmsprop, b2 is its `decay`.
        eps: the wrapped optimizer's own, >= 0. It cannot be found.
        groups: maps a parameter's path, such as "layers/0/kernel", to the name of its
            group. By default each parameter is a group, and where that would take more
            than 1 MB, neighbours are merged; `lambda path: path` merges none.
        steps: the steps to record instead, whole numbers >= 0.
        also: steps to record beside the usual ones, such as that at which the warmup
            ends; each adds a row.
        samples: coordinates of each parameter, at most, in the statistics that would
            be slow to take of all (see docs/diagnostics.md). None takes all: exact,
            but expensive in time and in memory.
        histogram: whether to record a histogram of log2(nu) over all parameters.
        axis_name: inside `shard_map` or `pmap`, the axis over which all moments are
            sharded; the state must have been made outside, from whole parameters.

    Returns:
        A transform with state `RecordMomentsState`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or an argument is not a
            number.
        ValueError: a number is out of its range, or b1 or b2 contradicts what the
            optimizer shows, or it shows none and none was given; at `init`, the
            optimizer holds no Adam moments, or two of its parts hold moments of the
            same parameter.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.record_moments(optax.adam(1e-3, b2=0.99))
        >>> params = {"w": jnp.ones(3)}
        >>> state = optimizer.init(params)
        >>> for _ in range(4):
        ...     updates, state = optimizer.update(params, state, params)
        >>> history = ow.read_moments(state)
        >>> history.effective_sample_size.round(2).tolist()
        [1.0, 2.0, 3.0, 4.0]
        >>> history.learning_rate.round(6).tolist()
        [0.001, 0.001, 0.001, 0.001]

    Source: D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2015,
    arXiv:1412.6980, algorithm 1 (the moments).
    """
    inner = require_optimizer(OWNER, inner)
    options = Options.checked(
        eps=eps,
        groups=groups,
        steps=steps,
        also=also,
        samples=samples,
        histogram=histogram,
        axis_name=axis_name,
    )
    decays = Decays(inner, b1=b1, b2=b2)

    def layout_of(tree: Any, adam: Moments) -> Layout:
        averaged = any(mu is not None for mu in adam.mu)
        b1, b2 = decays.for_params(tree, averaged)
        direction = decays.direction(b1, b2, options.eps)
        return Layout.of(options, (b1, b2), direction, tree, adam)

    def init_fn(params: optax.Params) -> RecordMomentsState:
        inner_state = inner.init(params)
        require_order(OWNER, inner_state)
        require_one_clock(OWNER, inner_state)
        require_finite_start(OWNER, inner, inner_state, params)
        fast = trained(params)
        layout = layout_of(fast, moments_of(inner_state, fast, OWNER))
        return _empty(layout, inner_state)

    def update_fn(
        updates: optax.Updates,
        state: RecordMomentsState,
        params: optax.Params | None = None,
        *,
        record: bool | jax.Array = True,
        **extra: Any,
    ) -> tuple[optax.Updates, RecordMomentsState]:
        require_state(OWNER, state, RecordMomentsState)
        _require_histogram(state, options.histogram)
        adam = moments_of(state.inner_state, updates, OWNER)
        done = _progress(state.inner_state, adam)
        clock = _clock(state, done)
        if record is False:
            new_updates, inner_state = inner.update(
                updates, state.inner_state, params, **extra
            )
            new = moments_of(inner_state, updates, OWNER)
            moved = _moved(done, _progress(inner_state, new))
            return new_updates, state._replace(
                inner_state=inner_state, updates=_next(clock, moved)
            )
        layout = layout_of(updates, adam)
        blocks = Blocks.of(layout, adam.nu)
        due, row = slots.slot(clock, layout.bits, layout.steps, layout.also)
        due &= record

        def before(
            updates: optax.Updates, inner_state: optax.OptState, params: Any
        ) -> moments.Sample:
            final, _ = inner.update(updates, inner_state, params, **extra)
            adam = moments_of(inner_state, updates, OWNER)
            return moments.before(blocks, adam, trained(final), trained(params))

        # What this update overwrites is read first, and only then does it begin.
        operands = (updates, state.inner_state, params)
        sample, inner_state = measured_first(due, before, state.inner_state, *operands)
        new_updates, inner_state = inner.update(updates, inner_state, params, **extra)

        new = moments_of(inner_state, updates, OWNER)
        moved = _moved(done, _progress(inner_state, new))
        due &= moved
        count = clock + 1 if new.count is None else new.count
        sums, histogram = measured_if(
            due,
            partial(moments.after, layout, blocks, axis_name),
            jax.tree.map(lambda table: table[-1], (state.sums, state.histogram)),
            count,
            sample,
            new,
        )
        new_rows = {
            "steps": jnp.where(due, clock, -1),
            "counts": count,
            **visible_rates(inner_state)._asdict(),
            "scalars": recorded_scalars(inner_state),
            "sums": sums,
            "histogram": histogram,
        }
        row = jnp.where(due, row, state.steps.shape[0] - 1)
        tables = {
            name: jax.tree.map(partial(_write, row), getattr(state, name), value)
            for name, value in new_rows.items()
        }
        return new_updates, RecordMomentsState(
            inner_state, state.layout, updates=_next(clock, moved), **tables
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _require_histogram(state: RecordMomentsState, wanted: bool) -> None:
    if (state.histogram is None) is wanted:
        raise ValueError(
            f"{OWNER}: histogram={wanted}, but the state was made with {not wanted}. "
            "optax_warmup.adopt(optimizer, state, params) makes the state of this "
            "record from it."
        )


def _empty(layout: Layout, inner_state: optax.OptState) -> RecordMomentsState:
    """A record without rows."""
    rows, size = layout.rows, len(layout.groups)
    seen = visible_rates(inner_state)

    def nothing() -> jax.Array:  # not NaN, at which jax_debug_nans would stop
        return jnp.zeros(rows, jnp.float32)

    return RecordMomentsState(
        inner_state,
        layout.encode(),
        updates=jnp.zeros((), jnp.int32),
        steps=jnp.full(rows, -1, jnp.int32),
        counts=jnp.zeros(rows, jnp.int32),
        rates={name: nothing() for name in seen.rates},
        schedule_counts={
            name: jnp.zeros(rows, jnp.int32) for name in seen.schedule_counts
        },
        clock=jnp.zeros(rows, jnp.int32),
        scalars={name: nothing() for name in recorded_scalars(inner_state)},
        sums=jnp.zeros((rows, size, len(layout.columns)), jnp.float32),
        histogram=jnp.zeros((rows, BINS), jnp.float32) if layout.histogram else None,
    )


def _progress(inner_state: optax.OptState, adam: Moments) -> jax.Array | None:
    """How many updates the moments have seen, None where no state tells."""
    if adam.count is not None:
        return adam.count
    # rmsprop does not count, but what accumulates its gradients does
    around = find(inner_state, optax.MultiStepsState).values()
    return next((bare(node.gradient_step) for node in around), None)


def _clock(state: RecordMomentsState, done: jax.Array | None) -> jax.Array:
    """Updates of the moments before this one, int32.

    The record counts for itself, as Adam begins again from 0 when it is reset. A record
    that is put around an optimizer that has already trained begins where that one is.
    """
    return state.updates if done is None else jnp.maximum(state.updates, done)


def _moved(before: jax.Array | None, after: jax.Array | None) -> jax.Array:
    """Whether the moments have seen a gradient in this update.

    Under gradient accumulation they stand still for a while, and a reset leaves them at
    0 until the next. (One right after the first update seems to stand still, too: the
    count is 1 before and after.)
    """
    if before is None or after is None:
        return jnp.ones((), bool)
    return jnp.not_equal(before, after) & (after > 0)


def _next(clock: jax.Array, moved: jax.Array) -> jax.Array:
    return jnp.asarray(jnp.where(moved, optax.safe_increment(clock), clock))


def _write(index: jax.Array, table: jax.Array, row: jax.Array) -> jax.Array:
    row = jnp.asarray(row, table.dtype)
    return jnp.asarray(jax.lax.dynamic_update_index_in_dim(table, row, index, 0))

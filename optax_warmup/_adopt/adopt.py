"""Carries the state of a running optimizer into another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._adopt.begin import is_schedule_clock, made_at
from optax_warmup._adopt.losses import (
    OWNER,
    listed,
    require_names,
    require_nothing_lost,
    require_parameters,
    require_whole_sums,
    tell_what_changes,
)
from optax_warmup._adopt.match import matched
from optax_warmup._adopt.parts import Part, States
from optax_warmup._adopt.plain import typed
from optax_warmup._state.step import agree, clocks
from optax_warmup._transforms.arguments import require_optimizer


def adopt(
    optimizer: optax.GradientTransformation,
    old_state: optax.OptState,
    params: optax.Params,
    *,
    step: ArrayLike | None = None,
    allow: Sequence[str] = (),
) -> optax.OptState:
    """Carries the state of a running optimizer into another one.

    For a run that gets a wrapper such as `record_moments`, loses one, or has its parts
    put together differently: `optax.adamw(schedule)` becomes
    chain(scale_by_adam(), add_decayed_weights(0.01), scale_by_learning_rate(schedule)),
    clipping is added, a partition is split. Parts of the state are matched by their
    types and by the parameters they are about. Moments and counts are kept to the last
    bit. New parts begin: schedules at the run's step, wrappers with nothing seen yet.
    What does not fit raises an error that names it on both sides.

    States that were restored as plain dicts and lists, as by orbax without a target or
    by flax's msgpack, are understood; so are those inside of an `nnx.Optimizer`. The
    record of `record_moments` begins anew, with a warning, where its settings changed.

    Args:
        optimizer: the optimizer to go on with.
        old_state: the state of the one so far; or what holds it as `opt_state`.
        params: the parameters, as for `optimizer.init`.
        step: updates done so far, >= 0. By default it is read from `old_state`; an
            optimizer without schedule and moments does not count.
        allow: names of state types, such as "ScaleByAdamState", that may be lost, or
            begin from nothing.

    Returns:
        A state of `optimizer`. It shares arrays with `old_state`, so do not go on with
        both if you donate one.

    Raises:
        TypeError: `optimizer` is not a gradient transformation, `params` holds the
            state of one, or `allow` is not a collection of names.
        ValueError: a part of the old state has no place, a new part with arrays about
            the parameters has no source, two could be meant, a sum of gradients is not
            complete, or a step is needed and not known.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> schedule = ow.warmup_cosine(0.1, 2, 10)
        >>> params = {"w": jnp.ones(3)}
        >>> old = optax.adamw(schedule)
        >>> state = old.init(params)
        >>> for _ in range(3):
        ...     _, state = old.update(params, state, params)
        >>> new = ow.skip_nonfinite(ow.record_moments(optax.adamw(schedule)))
        >>> state = ow.adopt(new, state, params)
        >>> ow.runs.step_count(state), state.skipped.item()
        (3, 0)
        >>> _, state = new.update(params, state, params)
        >>> ow.read_moments(state).steps.tolist()
        [3]
    """
    inner = require_optimizer(OWNER, optimizer)
    allow = require_names(allow)
    require_parameters(params)
    among = States(params)
    if not isinstance(old_state, tuple):
        old_state = getattr(old_state, "opt_state", old_state)
    like = jax.eval_shape(inner.init, params)
    old_state = typed(old_state, like, among)
    step = _step_of(old_state) if step is None else _check.length(OWNER, "step", step)
    known = 0 if step is None else step
    fresh = made_at(inner, params, known, jnp.maximum(jnp.asarray(known) - 1, 0), among)
    old, new = among.parts(old_state), among.parts(fresh)
    taken = matched(old, new)
    require_whole_sums(old, new)
    require_nothing_lost(old, new, taken, allow)
    _require_step(step, [part for part in new if part.path not in taken])
    tell_what_changes(old, new, taken)
    return among.rebuilt(fresh, lambda part: taken.get(part.path, part.leaves))


def _step_of(old_state: Any) -> Any:
    rates, others = clocks(old_state)
    found = rates or others
    if rates and not agree(rates):
        return None
    counts = [jnp.asarray(x) for x in found.values()]
    return max(counts, key=_sortable) if counts else None


def _sortable(count: Any) -> int:
    return 0 if _check.is_traced(count) or jnp.ndim(count) else int(count)


def _require_step(step: Any, begun: list[Part]) -> None:
    lacking = [part for part in begun if is_schedule_clock(part)]
    if step is None and lacking:
        raise ValueError(
            f"{OWNER}: the step at which {listed(lacking)} begins is not known: "
            "old_state counts no updates, or its schedules count differently. Pass "
            "step=, the updates done so far."
        )

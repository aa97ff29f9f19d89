"""Nothing is lost in silence when one optimizer takes over from another."""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from optax_warmup import _check, states
from optax_warmup._adopt.begin import CLOCK_FIELDS, is_schedule_clock
from optax_warmup._adopt.parts import Part, holds_states
from optax_warmup._state.declared import declared, declares
from optax_warmup._state.step import INJECTED, is_rate_clock

OWNER = "adopt"
# Wrappers of optax, whose own numbers go and begin with the wrapper itself.
_WRAPPERS = (
    optax.ApplyIfFiniteState,
    optax.MultiStepsState,
    *INJECTED,
    optax.ConditionallyMaskState,
    optax.ConditionallyTransformState,
)


def require_names(allow: Any) -> tuple[str, ...]:
    """The names of state types that may be lost."""
    collection = isinstance(allow, tuple | list | set | frozenset)
    if not collection or not all(isinstance(name, str) for name in allow):
        raise TypeError(
            f"{OWNER}: allow must hold names of state types, such as "
            f"allow=('ScaleByAdamState',), got {allow!r}."
        )
    return tuple(allow)


def require_parameters(params: Any) -> None:
    if holds_states(params):
        raise TypeError(
            f"{OWNER}: params must be the parameters, and it holds the state of an "
            f"optimizer. The order is {OWNER}(optimizer, old_state, params)."
        )


def require_whole_sums(old: list[Part], new: list[Part]) -> None:
    """Refuses to take MultiSteps off, or put it on, in the middle of a sum."""
    if any(isinstance(part.node, optax.MultiStepsState) for part in new):
        return
    for part in old:
        if isinstance(part.node, optax.MultiStepsState):
            steps = part.leaves["mini_step"]
            if not _check.is_traced(steps) and np.any(np.asarray(steps) != 0):
                raise ValueError(
                    f"{OWNER}: {np.max(steps)} gradients wait in MultiStepsState at "
                    f"{part.path or 'the top'}, and the new optimizer accumulates "
                    "none. Adopt the state right after an update."
                )


def require_nothing_lost(
    old: list[Part], new: list[Part], taken: dict[str, Any], allow: tuple[str, ...]
) -> None:
    counts = any(name in part.leaves for part in new for name in CLOCK_FIELDS)
    left = [
        part
        for part in old
        if part.taken != set(part.leaves)
        and not _may_go(part, counts)
        and part.kind not in allow
    ]
    begun = [
        part
        for part in new
        if part.path not in taken
        and not _may_begin(part)
        and any(shape != () for shape in part.shapes.values())
        and part.kind not in allow
    ]
    if not left and not begun:
        return
    problems = []
    if left:
        problems.append(f"no place in the new optimizer is found for {listed(left)}")
    if begun:
        problems.append(f"nothing in old_state fits {listed(begun)} of the new one")
    kinds = tuple(sorted({part.kind for part in (*left, *begun)}))
    raise ValueError(
        f"{OWNER}: {', and '.join(problems)}. {_cause(old, left, begun)} If the first "
        f"may be lost and the second begin from nothing, pass allow={kinds!r}."
    )


def _cause(old: list[Part], left: list[Part], begun: list[Part]) -> str:
    """Why parts of two states do not fit, as far as it can be seen."""
    if left and not any(isinstance(part.node, tuple) for part in old):
        return (
            "old_state holds no state of an Optax transform, only bare arrays: the "
            f"order is {OWNER}(optimizer, old_state, params)."
        )
    if differences := _differences(left, begun):
        more = ", ..." if len(differences) > 4 else ""
        return f"The parameters differ: {', '.join(differences[:4])}{more}."
    return (
        "Is it another kind of optimizer, with other parameters, or in two places at "
        "once?"
    )


def _differences(left: list[Part], begun: list[Part]) -> list[str]:
    """The arrays that only one of two parts of a kind has, or with another shape."""
    found = []
    for part in begun:
        alike = [x for x in left if x.kind == part.kind]
        if len(alike) != 1:  # which one is meant is not known
            continue
        there, here = alike[0].shapes, part.shapes
        for key in dict.fromkeys([*there, *here]):
            if key in alike[0].taken:
                continue
            if key not in here:
                found.append(f"{key} is in old_state only")
            elif key not in there:
                found.append(f"{key} is in the new one only")
            elif there[key] != here[key]:
                found.append(f"{key} is {there[key]} in old_state and {here[key]} now")
    return found


def _may_begin(part: Part) -> bool:
    """Whether it begins with nothing seen: a wrapper, or anything of this package."""
    ours = type(part.node).__module__.startswith("optax_warmup.")
    return ours or isinstance(part.node, _WRAPPERS)


def _may_go(part: Part, counts: bool) -> bool:
    """Whether its numbers are of no use without the transform that made them.

    A schedule's clock is, unless something else in the new state counts.
    """
    if isinstance(part.node, states.AverageParamsState | states.AverageLatestState):
        return False  # an average of a whole run
    if isinstance(part.node, states.ReduceOnPlateauState):
        return _known_scale(part) == 1
    if isinstance(part.node, _WRAPPERS):
        return True
    return counts if is_schedule_clock(part) else _may_begin(part)


def tell_what_changes(old: list[Part], new: list[Part], taken: dict[str, Any]) -> None:
    had_one = any(map(_is_record, old))
    for part in new:
        if _is_record(part) and had_one and "sums" not in part.taken:
            warnings.warn(
                f"{OWNER}: the record of record_moments begins anew, as its settings "
                "(groups, steps, also, samples, histogram, or the scalars of other "
                "transforms) are not those of before. Save read_moments(old_state) if "
                "you need it.",
                stacklevel=3,
            )
    for part in old:
        if "scheduled" in part.leaves and is_rate_clock(part.node) and not part.taken:
            _tell_of_a_held_rate(part)
        scale = _known_scale(part)
        if not part.taken and not is_rate_clock(part.node) and scale not in (None, 1):
            if any(x.kind == part.kind and not x.taken for x in new):
                fate = "begins anew, as its arrays do not fit these parameters; it"
                then = "the new one begins with nothing seen"
            else:
                fate = "is gone, which"
                then = "the learning rate jumps to its full value"
            warnings.warn(
                f"{OWNER}: {part.kind} {fate} multiplied the updates by {scale:.3g}; "
                f"{then}.",
                stacklevel=3,
            )
        scales = _known_scales(part)
        if scales and not part.taken and not is_rate_clock(part.node):
            warnings.warn(
                f"{OWNER}: {part.kind} is gone, which multiplied the updates of "
                f"{scales}; their learning rates jump to the common one.",
                stacklevel=3,
            )


def _is_record(part: Part) -> bool:
    return isinstance(part.node, states.RecordMomentsState)


def _tell_of_a_held_rate(part: Part) -> None:
    rate, scheduled = part.leaves["learning_rate"], part.leaves["scheduled"]
    if not _check.is_traced(rate) and np.any(np.not_equal(rate, scheduled)):
        warnings.warn(
            f"{OWNER}: the learning rate {np.asarray(rate)} that was set by hand is "
            "gone; the new optimizer's own applies.",
            stacklevel=4,
        )


def _known_scale(part: Part) -> float | None:
    if not declares(part.node, "update_scale"):
        return None
    scale = declared(part.node, "update_scale")
    return None if _check.is_traced(scale) or jnp.ndim(scale) else float(scale)


def _known_scales(part: Part) -> str:
    """The scales of a state that has several, for a message; "" where all are 1."""
    if not declares(part.node, "update_scales"):
        return ""
    return ", ".join(
        f"{name} by {float(scale):.3g}"
        for name, scale in declared(part.node, "update_scales").items()
        if not (_check.is_traced(scale) or jnp.ndim(scale) or scale == 1)
    )


def listed(parts: list[Part]) -> str:
    return " and ".join(map(str, parts))

"""b1 and b2 of the wrapped optimizer: found by trying it, or given.

`decays` is all that the record asks for. Moments kept in few bits show their decay only
roughly (0.95 in bfloat16 looks like 0.953125): what they show is neither taken for the
decay nor held against the one that is given.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._record.options import OWNER
from optax_warmup._state.find import find
from optax_warmup._state.moments import moments_of

_EXACT = 1e-6  # the spacing of float32 at 1, and some room
_HOW = {
    "b1": "the decay of the first moment, 0.9 in optax.adam",
    "b2": "the decay of the second moment, 0.999 in optax.adam; rmsprop's `decay`",
}


class Shown(NamedTuple):
    """A decay as moments show it, and how far it may be from the true one."""

    value: float
    error: float


class Decays:
    """The decays of an optimizer; tried once, when they are first needed.

    An optimizer can be tried on one number unless it was made for certain parameters
    (`optax.partition`); then it is tried on few numbers in the shape of these.
    """

    def __init__(
        self, inner: optax.GradientTransformationExtraArgs, **given: float | None
    ) -> None:
        self._inner = inner
        self._given = {
            name: None
            if value is None
            else float(_check.number(OWNER, name, value, minimum=0, below=1))
            for name, value in given.items()
        }
        self._shown = shown(inner, jnp.ones(1))
        self._tried_for: list[Any] = []
        self._refuse_others()

    def for_params(self, params: Any, averaged: bool) -> tuple[float, float]:
        """(b1, b2); b1 is 0 where the optimizer keeps no first moment."""
        structure = jax.tree.structure(params)
        if not self._shown and structure not in self._tried_for:
            few = jax.tree.map(lambda p: jnp.ones((1,) * jnp.ndim(p), _wide(p)), params)
            self._shown = shown(self._inner, few)
            self._tried_for.append(structure)
            self._refuse_others()
        return (self._one("b1") if averaged else 0.0), self._one("b2")

    def _one(self, name: str) -> float:
        given, seen = self._given[name], self._shown.get(name)
        if given is not None:
            return given
        if seen is not None and seen.error <= _EXACT:
            return seen.value
        why = (
            "the optimizer does not show it when it is tried"
            if seen is None
            else f"its moments are too coarse to show it (it is about {seen.value:.3g})"
        )
        raise ValueError(
            f"{OWNER}: {name} is needed, {_HOW[name]}, as {why}. Pass {name}= with "
            "the value that the wrapped optimizer has."
        )

    def _refuse_others(self) -> None:
        for name, seen in self._shown.items():
            given = self._given[name]
            if given is None:
                continue
            allowed = 0.05 * (1 - seen.value) + seen.error
            if abs(given - seen.value) > allowed:
                raise ValueError(
                    f"{OWNER}: {name} must be the wrapped optimizer's own, got "
                    f"{given!r} where it uses {seen.value:.6g}. Leave {name} out, or "
                    f"pass {name}={seen.value:.6g}."
                )


def shown(
    inner: optax.GradientTransformationExtraArgs, params: Any
) -> dict[str, Shown]:
    """b1 and b2 as trying an optimizer shows them, without those that it does not.

    After a gradient of 1 and one of 0 the moments are b1 and b2 times what they were,
    whatever became of the first gradient on its way to Adam.
    """
    seen = []
    try:
        with jax.ensure_compile_time_eval():
            state = inner.init(params)
            for gradient in (1.0, 0.0):
                grads = jax.tree.map(lambda p, g=gradient: jnp.full_like(p, g), params)
                _, state = inner.update(grads, state, params)
                seen.append(moments_of(state, params))
            found = {
                name: _ratio(getattr(seen[0], field), getattr(seen[1], field))
                for name, field in (("b1", "mu"), ("b2", "nu"))
            }
    # Anything may go wrong in an optimizer made for other parameters: labels that fit
    # none here, hyperparameters that are traced, gradients kept back for later.
    except Exception:
        return {}
    # Yogi does not forget, and adabelief remembers the deviation instead.
    if find(state, optax.ScaleByBeliefState):
        found["b2"] = None
    return {name: decay for name, decay in found.items() if decay is not None}


def _ratio(before: list[Any], after: list[Any]) -> Shown | None:
    """How much was kept by the moments of the most precise leaf; None if unclear."""
    ratios = [
        Shown(float(jnp.ravel(b / a)[0].real), _error(a.dtype))
        for a, b in zip(before, after, strict=True)
        if a is not None and a.size
    ]
    if not ratios:
        return None
    best = min(ratios, key=lambda ratio: ratio.error)
    alike = all(abs(r.value - best.value) <= r.error + best.error for r in ratios)
    if not alike or not 0 <= best.value < 1:
        return None
    short = round(best.value, 6)  # 0.999 where float32 has 0.99900001
    near = best.error <= _EXACT and abs(short - best.value) < 1.5e-7
    return Shown(short if near else best.value, best.error)


def _error(dtype: Any) -> float:
    info = jnp.finfo(dtype)  # type: ignore[no-untyped-call]
    return 2 * float(info.eps) if dtype.itemsize < 4 else _EXACT


def _wide(param: Any) -> Any:
    """float32 where a parameter has fewer bits."""
    return jnp.promote_types(jnp.result_type(param), jnp.float32)

"""b1 and b2 of the wrapped optimizer: found by trying it, or given.

Moments kept in few bits show their decay only
roughly (0.95 in bfloat16 looks like 0.953125): what they show is neither taken for the
decay nor held against the one that is given.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._record.options import OWNER
from optax_warmup._state.probe import Decay, probe_or_none, require_agreement

# Gradients that an `optax.MultiSteps` inside may accumulate for its b1 and b2 to show.
_MOST_ACCUMULATED = 32
_HOW = {
    "b1": "the decay of the first moment, 0.9 in optax.adam",
    "b2": "the decay of the second moment, 0.999 in optax.adam; rmsprop's `decay`",
}


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
            else _check.scalar(OWNER, name, value, minimum=0, below=1)
            for name, value in given.items()
        }
        self._seen = _shown(inner, jnp.ones(1))
        self._tried_for: list[Any] = []
        self._refuse_others()

    def for_params(self, params: Any, averaged: bool) -> tuple[float, float]:
        """(b1, b2); b1 is 0 where the optimizer keeps no first moment."""
        structure = jax.tree.structure(params)
        if not self._seen and structure not in self._tried_for:
            self._seen = _shown(self._inner, params)
            self._tried_for.append(structure)
            self._refuse_others()
        return (self._one("b1") if averaged else 0.0), self._one("b2")

    def _one(self, name: str) -> float:
        given, seen = self._given[name], self._seen.get(name)
        if given is not None:
            return given
        if seen is not None and seen.exact is not None:
            return seen.exact
        why = (
            "trying the optimizer does not show it (a traced learning rate under a "
            "guard hides it, and so does a long accumulation)"
            if seen is None
            else f"its moments are too coarse to show it (it is about {seen.ratio:.3g})"
        )
        raise ValueError(
            f"{OWNER}: {name} is needed, {_HOW[name]}, as {why}. Pass {name}= with "
            "the value that the wrapped optimizer has."
        )

    def _refuse_others(self) -> None:
        for name, seen in self._seen.items():
            given = self._given[name]
            if given is not None:
                require_agreement(OWNER, name, given, seen)


def _shown(
    inner: optax.GradientTransformationExtraArgs, params: Any
) -> dict[str, Decay]:
    """b1 and b2 as trying an optimizer shows them, without those that it does not."""
    decays = probe_or_none(inner, params, OWNER, patience=_MOST_ACCUMULATED)
    if decays is None:
        return {}
    found = {"b1": _common(decays.momentum), "b2": _common(decays.second_moment)}
    return {name: decay for name, decay in found.items() if decay is not None}


def _common(decays: list[Decay | None]) -> Decay | None:
    """That of the most precise leaf; None if the leaves do not agree."""
    known = [decay for decay in decays if decay is not None]
    best = min(known, key=lambda decay: decay.error, default=None)
    if best is None or not 0 <= best.ratio < 1:
        return None
    alike = all(abs(d.ratio - best.ratio) <= d.error + best.error for d in known)
    return best if alike else None

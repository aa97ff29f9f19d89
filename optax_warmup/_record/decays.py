"""b1, b2 and the direction of the wrapped optimizer: found by trying it, or given.

Moments kept in few bits show their decay only
roughly (0.95 in bfloat16 looks like 0.953125): what they show is neither taken for the
decay nor held against the one that is given.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._record.direction import UNTRIED, direction_of, has_squares
from optax_warmup._record.options import OWNER
from optax_warmup._state.probe import Decay, decays_of, require_agreement
from optax_warmup._state.trial import Step, injected_changes, tried

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
        self._seen: dict[str, Decay] = {}
        self._trial: tuple[Any, list[Step]] | None = None
        self._failure: Exception | None = None
        self._tried_for: list[Any] = []
        few = jnp.ones(4)
        for params in (few, optax.LookaheadParams(few, few)):
            if self._trial is None:
                self._try(params)

    def for_params(self, params: Any, averaged: bool) -> tuple[float, float]:
        """(b1, b2); b1 is 0 where the optimizer keeps no first moment."""
        structure = jax.tree.structure(params)
        if not self._seen and structure not in self._tried_for:
            self._tried_for.append(structure)
            self._try(params)
        self._require_squares()
        return (self._one("b1") if averaged else 0.0), self._one("b2")

    def direction(self, b1: float, b2: float, eps: float) -> str | None:
        """The direction of which the updates are multiples; None: none that is known.

        "untried" where the optimizer could not be tried. See direction.py.
        """
        # A traced rate, as in a sweep, has traced updates.
        if self._trial is None or any(
            map(_check.is_traced, jax.tree.leaves(self._trial))
        ):
            return UNTRIED
        with jax.ensure_compile_time_eval():
            return direction_of(*self._trial, b1, b2, eps)

    def _try(self, params: Any) -> None:
        """Tries the optimizer on few numbers in the shape of some parameters.

        Anything may go wrong in an optimizer made for others: labels that fit none
        here, hyperparameters that are traced, arguments of `update` that are missing.
        """
        try:
            trial = tried(
                self._inner, params, OWNER, _MOST_ACCUMULATED, coordinates=4, updates=3
            )
            decays = decays_of(*trial, OWNER)
        except Exception as failure:
            self._failure = failure
            return
        self._refuse_schedules(*trial)
        found = {"b1": _common(decays.momentum), "b2": _common(decays.second_moment)}
        self._trial = trial
        self._seen = {name: x for name, x in found.items() if x is not None}
        self._refuse_others()

    def _require_squares(self) -> None:
        traced = any(map(_check.is_traced, jax.tree.leaves(self._trial)))
        if self._trial is None or traced:
            return
        with jax.ensure_compile_time_eval():
            if not has_squares(*self._trial):
                raise ValueError(
                    f"{OWNER}: the optimizer's nu is no mean of squared gradients. "
                    "optax.adamax keeps a maximum of their absolute values in it, to "
                    "which nothing here applies. Record optax.adam or optax.amsgrad."
                )

    def _one(self, name: str) -> float:
        given, seen = self._given[name], self._seen.get(name)
        if given is not None:
            return given
        if seen is not None and seen.exact is not None:
            return seen.exact
        failure = self._failure if self._trial is None else None
        raise ValueError(
            f"{OWNER}: {name} is needed, {_HOW[name]}, as {_why(seen, failure)}. Pass "
            f"{name}= with the value that the wrapped optimizer has."
        ) from failure

    def _refuse_schedules(self, few: Any, steps: list[Step]) -> None:
        """Refuses decays that change: the bias corrections take them as constant."""
        try:
            changes = injected_changes(self._inner, few, steps[0], _MOST_ACCUMULATED)
        except Exception:  # a schedule may know the steps of its own run alone
            return
        for name in _HOW.keys() & changes:
            first, last = changes[name]
            raise ValueError(
                f"{OWNER}: {name} must stay the same, but optax.inject_hyperparams "
                f"changes it, from {first:.6g} to {last:.6g}. Bias correction and "
                "effective sample size are those of one value. Record an optimizer "
                f"with a constant {name}."
            )

    def _refuse_others(self) -> None:
        for name, seen in self._seen.items():
            given = self._given[name]
            if given is not None:
                require_agreement(OWNER, name, given, seen)


def _why(seen: Decay | None, failure: Exception | None) -> str:
    """Why a decay is not known."""
    if seen is not None:
        return f"its moments are too coarse to show it (it is about {seen.ratio:.3g})"
    if failure is not None:
        first = (str(failure).splitlines() or [""])[0].removesuffix(".")
        return f"trying the optimizer raises {type(failure).__name__}: {first}"
    return (
        "trying the optimizer does not show it (a traced learning rate under a guard "
        "hides it, and so does a long accumulation)"
    )


def _common(decays: list[Decay | None]) -> Decay | None:
    """That of the most precise leaf; None if the leaves do not agree."""
    known = [decay for decay in decays if decay is not None]
    best = min(known, key=lambda decay: decay.error, default=None)
    if best is None or not 0 <= best.ratio < 1:
        return None
    alike = all(abs(d.ratio - best.ratio) <= d.error + best.error for d in known)
    return best if alike else None

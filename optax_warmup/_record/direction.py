"""Whether an optimizer's updates are multiples of Adam's direction, by trying it.

Only then is a rate that is measured from the updates the rate that was applied.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._record.options import OWNER
from optax_warmup._state.moments import Moments, moments_of
from optax_warmup._state.trial import Step

ADAM, NESTEROV, UNTRIED = "adam", "nesterov", "untried"


def direction_of(
    few: Any, steps: list[Step], b1: float, b2: float, eps: float
) -> str | None:
    """The direction of which each leaf's updates are multiples, decay aside.

    Args:
        few: the parameters of a trial, with several numbers in each leaf.
        steps: its updates. The first tells nothing: any Adam then follows the sign.
        b1, b2, eps: the optimizer's own.

    Returns:
        "adam", "nesterov" (nadam's look-ahead), or None if it is neither, or does not
        show: where the rate is still 0, or leaves are single numbers.
    """
    moments = [moments_of(step.after, few, OWNER) for step in steps]
    found = set()
    for number in range(1, len(steps)):
        updates = jax.tree.leaves(steps[number].updates)
        for leaf, p in enumerate(jax.tree.leaves(few)):
            old, new = (_numbers(m, leaf) for m in moments[number - 1 : number + 1])
            u = np.ravel(np.asarray(updates[leaf])).real.astype(np.float64)
            if "nu" in new and new["nu"].size > 2 and np.any(u):
                decaying = np.ravel(np.asarray(p)).real.astype(np.float64)
                both = _directions(old, new, u, b1, b2, eps)
                error = max(1e-4, 2 * float(new["epsilon"]))
                fitting = [n for n, d in both.items() if _fits(u, d, decaying, error)]
                found.add(fitting[0] if fitting else None)
    return found.pop() if len(found) == 1 else None


def has_squares(few: Any, steps: list[Step]) -> bool:
    """Whether nu is of squared gradients; adamax keeps a maximum of absolute ones."""
    moments = moments_of(steps[0].after, few, OWNER)
    for leaf in range(len(moments.nu)):
        x = _numbers(moments, leaf)
        if "mu" in x and "nu" in x and x["nu"].size > 2 and x["nu"][0] and x["mu"][2]:
            gradients = abs(x["mu"][2] / x["mu"][0])
            squares = x["nu"][2] / x["nu"][0]
            if abs(squares - gradients) < 0.1 * abs(squares - gradients**2):
                return False
    return True


def _numbers(moments: Moments, leaf: int) -> dict[str, np.ndarray]:
    """The moments of one leaf in float64, by name; without those it has not."""
    held = {
        "mu": moments.mu[leaf],
        "nu": moments.nu[leaf],
        "nu_max": moments.nu_max[leaf],
    }
    known = {name: x for name, x in held.items() if x is not None}
    coarsest = max((jnp.finfo(x.dtype).eps for x in known.values()), default=0)
    numbers = {
        name: np.ravel(np.asarray(x)).real.astype(np.float64)
        for name, x in known.items()
    }
    numbers["epsilon"] = np.asarray(coarsest, np.float64)
    if moments.count is not None:
        numbers["count"] = np.asarray(moments.count, np.float64)
    return numbers


def _directions(
    old: dict[str, np.ndarray],
    new: dict[str, np.ndarray],
    u: np.ndarray,
    b1: float,
    b2: float,
    eps: float,
) -> dict[str, np.ndarray]:
    """What the record takes for the direction, written once more in float64."""

    def corrected(moment: np.ndarray, b: float, later: int = 0) -> np.ndarray:
        return moment / (1 - b ** (new["count"] + later)) if "count" in new else moment

    root = np.sqrt(new.get("nu_max", corrected(new["nu"], b2)))
    if "mu" not in new:
        square = (new["nu"] - b2 * old["nu"]) / (1 - b2)
        size = np.sqrt(np.maximum(square, 0))
        return {ADAM: -np.sign(u) * size / np.sqrt(root**2 + eps)}
    gradient = (new["mu"] - b1 * old["mu"]) / (1 - b1)
    ahead = b1 * corrected(new["mu"], b1, 1) + (1 - b1) * corrected(gradient, b1)
    return {
        ADAM: corrected(new["mu"], b1) / (root + eps),
        NESTEROV: ahead / (root + eps),
    }


def _fits(u: np.ndarray, d: np.ndarray, p: np.ndarray, error: float) -> bool:
    columns = np.stack([d, p], axis=1)
    if not np.isfinite(columns).all() or not np.isfinite(u).all():
        return False
    rest = u - columns @ np.linalg.lstsq(columns, u)[0]
    return bool(np.linalg.norm(rest) <= error * np.linalg.norm(u))

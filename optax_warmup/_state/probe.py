"""An optimizer's decays b1 and b2, which are in no state, by trying it.

After a gradient of 1 and one of 0 a moment is its decay times what it was, whatever
became of the first gradient on its way there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup._state.find import find
from optax_warmup._state.moments import moment_nodes, moments_of
from optax_warmup._state.momentum import momentum_of
from optax_warmup._state.trial import Step, tried


class Decay(NamedTuple):
    """The decay of one leaf's moment, as it shows.

    Attributes:
        ratio: of the moment after a gradient of zero to that before.
        error: how far the ratio may be from the decay. Moments kept in bfloat16 show
            0.95 as 0.953.
    """

    ratio: float
    error: float

    @property
    def exact(self) -> float | None:
        """The decay, None where the moment's type is too coarse to tell.

        Six digits are what the rounding of two float32 moments leaves, and what people
        write.
        """
        return float(f"{self.ratio:.6g}") if self.error < 1e-6 else None


class Decays(NamedTuple):
    """The decays of an optimizer for each leaf of its parameters, None without one.

    Attributes:
        momentum: of the momentum, b1 in Adam.
        second_moment: of the second moment, b2 in Adam.
    """

    momentum: list[Decay | None]
    second_moment: list[Decay | None]


def probe(
    inner: optax.GradientTransformationExtraArgs,
    params: Any,
    owner: str,
    patience: int = 1,
) -> Decays:
    """Tries an optimizer on one number for each leaf of its parameters; see `tried`."""
    few, steps = tried(inner, params, owner, patience)
    return decays_of(few, steps, owner)


def decays_of(few: Any, steps: list[Step], owner: str) -> Decays:
    """The decays that the second update of a trial shows."""
    with jax.ensure_compile_time_eval():
        one, other = steps[0].after, steps[1].after
        first, second = (_momentum(state, few, owner) for state in (one, other))
        momentum = [_decay(*pair) for pair in zip(first, second, strict=True)]
        if not moment_nodes(other):
            return Decays(momentum, [None] * len(momentum))
        first, second = (moments_of(state, few, owner).nu for state in (one, other))
        second_moment = [_decay(*pair) for pair in zip(first, second, strict=True)]
    # Yogi does not forget, and adabelief remembers the deviation instead.
    forgets = not find(other, optax.ScaleByBeliefState)
    return Decays(
        momentum,
        [d if forgets and d and 0 < d.ratio < 1 else None for d in second_moment],
    )


def _momentum(state: Any, params: Any, owner: str) -> list[jax.Array | None]:
    """The momentum of each leaf; Adam's, where a trace behind it has another."""
    try:
        return momentum_of(state, params, owner)
    except ValueError:
        if not moment_nodes(state):
            raise
        return moments_of(state, params, owner).mu


def probe_or_none(
    inner: optax.GradientTransformationExtraArgs,
    params: Any,
    owner: str,
    patience: int = 1,
) -> Decays | None:
    """The same, None where the optimizer cannot be tried.

    Anything may go wrong in an optimizer made for other parameters: labels that fit
    none here, hyperparameters that are traced, arguments of `update` that are missing.
    """
    try:
        return probe(inner, params, owner, patience)
    except Exception:
        return None


def require_own_decays(
    owner: str, inner: optax.GradientTransformationExtraArgs, **given: float | None
) -> None:
    """Refuses a b1 or b2 that contradicts the optimizer's own, where that shows."""
    decays = probe_or_none(inner, jnp.ones(1), owner)
    if decays is None:
        return
    for name, seen in zip(("b1", "b2"), decays, strict=True):
        value = given.get(name)
        if value is not None and seen[0] is not None:
            require_agreement(owner, name, value, seen[0])


def require_agreement(owner: str, name: str, given: float, seen: Decay) -> None:
    """Refuses a decay that contradicts what was seen of the optimizer's own."""
    own = seen.ratio
    if abs(given - own) <= max(0.05 * (1 - own) + 1e-6, seen.error):
        return
    uses = f"{own:.6g}" if seen.exact else f"about {own:.2g}"
    way_out = f"Pass {name}={own:.6g} to {owner}, or leave it out."
    if not seen.exact:
        way_out = f"Pass the {name} that the optimizer was built with."
    raise ValueError(
        f"{owner}: {name} must be the wrapped optimizer's own, got {given!r} where it "
        f"uses {uses}. {way_out}"
    )


def second_moment_decays(
    owner: str, inner: optax.GradientTransformationExtraArgs, b2: float | None
) -> Callable[[Any], list[float]]:
    """A function from parameters, or updates, to the b2 of each of their leaves.

    A given b2 is used for all, and refused where it contradicts the optimizer's own.
    None stands for the optimizer's own, which may differ between the parts of an
    `optax.partition`; leaves without a second moment then get 0.

    Raises:
        ValueError: in the owner's name: at once, where a given b2 contradicts what is
            found; from the function, where b2 was not given and is not found.
    """
    require_own_decays(owner, inner, b2=b2)
    found: dict[Any, list[float]] = {}

    def decays_for(tree: Any) -> list[float]:
        leaves, structure = jax.tree.flatten(tree)
        if b2 is not None:
            return [b2] * len(leaves)
        key = structure, tuple((jnp.ndim(x), jnp.result_type(x)) for x in leaves)
        if key not in found:
            found[key] = _own_b2(owner, inner, tree)
        return found[key]

    return decays_for


def _own_b2(
    owner: str, inner: optax.GradientTransformationExtraArgs, tree: Any
) -> list[float]:
    decays = probe_or_none(inner, tree, owner)
    seen = [] if decays is None else [d for d in decays.second_moment if d]
    if decays is None or not (seen or not jax.tree.leaves(tree)):
        raise ValueError(
            f"{owner}: the optimizer's b2 cannot be found by trying it. Pass b2=..., "
            "the number that the optimizer was built with (0.999 for optax.adam)."
        )
    for decay in seen:
        if decay.exact is None:
            raise ValueError(
                f"{owner}: b2 cannot be told from second moments of so few digits, "
                f"which show it as {decay.ratio:.3g}. Pass b2=..., the number that the "
                "optimizer was built with."
            )
    return [(d.exact or 0.0) if d else 0.0 for d in decays.second_moment]


def _decay(first: jax.Array | None, second: jax.Array | None) -> Decay | None:
    if first is None or second is None:
        return None
    ratio = float(jnp.real(jnp.ravel(second / first)[0]))
    if not jnp.issubdtype(first.dtype, jnp.inexact):
        return None
    info = jnp.finfo(first.dtype)  # type: ignore[no-untyped-call]
    return Decay(ratio, 1.5 * float(info.eps))

"""Adam's moments, found by type in the state of any optimizer."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup._state.find import bare, by_leaf, find

# adam, adamw, nadam, radam, lamb and yogi keep the first; adabelief's nu is a variance
# about mu, of which the same statistics can be taken.
_CORRECTED = (
    optax.ScaleByAdamState,
    optax.ScaleByAmsgradState,
    optax.ScaleByBeliefState,
)
_UNCORRECTED = (optax.ScaleByRmsState,)


@functools.cache
def _corrected() -> tuple[type, ...]:
    """Those types, and that of rmsprop with a bias correction, which has no name."""
    rmsprop = optax.scale_by_rms(bias_correction=True)
    return (*_CORRECTED, type(jax.eval_shape(rmsprop.init, 0.0)))


class Moments(NamedTuple):
    """Adam's moments by leaf of the parameters; None where a leaf has none.

    Attributes:
        count: updates done, int32; None where the state does not count (rmsprop).
        mu: first moments; None throughout for rmsprop.
        nu: second moments.
        nu_max: amsgrad's largest, by which it divides; None throughout for others.
        corrected: whether the optimizer divides its moments by 1 - b**count.
    """

    count: jax.Array | None  # type: ignore[assignment]  # tuple.count
    mu: list[jax.Array | None]
    nu: list[jax.Array | None]
    nu_max: list[jax.Array | None]
    corrected: bool


def moments_of(opt_state: optax.OptState, tree: Any, owner: str) -> Moments:
    """The moments in an optimizer's state, for each leaf of `tree`.

    Several parts of an optimizer may hold moments (`optax.partition`), each of its own
    parameters; their counts advance together.

    Raises:
        ValueError: in the owner's name: the state holds no moments, moments of two
            kinds, or two for the same parameter.
    """
    nodes = moment_nodes(opt_state)
    _require_one_kind(nodes, owner)
    firsts = {path: node.mu for path, node in nodes.items() if hasattr(node, "mu")}
    seconds = {path: node.nu for path, node in nodes.items()}
    largest = {p: node.nu_max for p, node in nodes.items() if hasattr(node, "nu_max")}
    one = next(iter(nodes.values()))
    corrected = isinstance(one, _corrected())
    return Moments(
        count=bare(one.count) if corrected else None,
        mu=by_leaf(tree, firsts, "moments", owner),
        nu=by_leaf(tree, seconds, "moments", owner),
        nu_max=by_leaf(tree, largest, "moments", owner),
        corrected=corrected,
    )


def moment_nodes(opt_state: optax.OptState) -> dict[str, Any]:
    """The states in an optimizer's state that hold second moments, by their path."""
    return find(opt_state, moment_types())


def moment_types() -> tuple[type, ...]:
    """The types of the states that hold second moments, in their field nu."""
    return (*_corrected(), *_UNCORRECTED)


def bias_correction(decay: ArrayLike, count: jax.Array) -> jax.Array:
    """1 - decay**count, for a count of at least 1."""
    if isinstance(decay, float):
        logarithm: ArrayLike = math.log(max(decay, 1e-38))
    else:
        logarithm = jnp.log(jnp.maximum(decay, 1e-38))
    return -jnp.expm1(jnp.maximum(count, 1).astype(jnp.float32) * logarithm)


def _require_one_kind(nodes: dict[str, Any], owner: str) -> None:
    if not nodes:
        raise ValueError(
            f"{owner}: the optimizer holds no Adam moments. Use an optimizer such as "
            "optax.adam, or a chain with optax.scale_by_adam in it."
        )
    kinds = {(hasattr(n, "mu"), isinstance(n, _corrected())) for n in nodes.values()}
    if len(kinds) > 1:
        raise ValueError(
            f"{owner}: the optimizer mixes Adam and rmsprop, or rmsprop with a bias "
            f"correction and without ({', '.join(nodes)}), whose second moments do not "
            f"compare. Use {owner} for one of them at a time."
        )

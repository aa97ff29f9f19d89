"""Adam's moments, found by type in the state of any optimizer."""

from typing import Any, NamedTuple

import jax
import optax

from optax_warmup._state import bare, find

# adam, adamw, nadam, radam, lamb and yogi keep the first; adabelief's nu is a variance
# about mu, of which the same statistics can be taken.
_CORRECTED = (
    optax.ScaleByAdamState,
    optax.ScaleByAmsgradState,
    optax.ScaleByBeliefState,
)
_UNCORRECTED = (optax.ScaleByRmsState,)


class Moments(NamedTuple):
    """Adam's moments by leaf of the parameters; None where a leaf has none.

    Attributes:
        count: updates done, int32; None where the state does not count (rmsprop).
        mu: first moments; None throughout for rmsprop.
        nu: second moments.
        corrected: whether the optimizer divides its moments by 1 - b**count.
    """

    count: jax.Array | None
    mu: list[Any]
    nu: list[Any]
    corrected: bool


def moments_of(inner_state: optax.OptState, tree: Any) -> Moments:
    """The moments in an optimizer's state, for each leaf of `tree`.

    Several parts of an optimizer may hold moments (`optax.partition`), each of its own
    parameters; their counts advance together.
    """
    structure = jax.tree.structure(tree)
    mu: list[Any] = [None] * structure.num_leaves
    nu: list[Any] = [None] * structure.num_leaves
    nodes = find(inner_state, (*_CORRECTED, *_UNCORRECTED))
    _require_one_kind(nodes)
    for node in nodes.values():
        first = getattr(node, "mu", None)
        firsts = mu if first is None else structure.flatten_up_to(first)
        seconds = structure.flatten_up_to(node.nu)
        for leaf, (m, v) in enumerate(zip(firsts, seconds, strict=True)):
            if isinstance(v, optax.MaskedNode):
                continue
            if nu[leaf] is not None:
                raise ValueError(
                    f"record_moments: two parts of the optimizer ({', '.join(nodes)}) "
                    "hold moments of the same parameter. Wrap one of them alone."
                )
            mu[leaf], nu[leaf] = None if m is None else bare(m), bare(v)
    corrected = isinstance(node, _CORRECTED)
    return Moments(bare(node.count) if corrected else None, mu, nu, corrected)


def _require_one_kind(nodes: dict[str, Any]) -> None:
    if not nodes:
        raise ValueError(
            "record_moments: inner holds no Adam moments. Wrap an optimizer such as "
            "optax.adam, or a chain with optax.scale_by_adam in it."
        )
    if len({isinstance(node, _CORRECTED) for node in nodes.values()}) > 1:
        raise ValueError(
            f"record_moments: inner mixes Adam and rmsprop ({', '.join(nodes)}), whose "
            "second moments do not compare. Wrap them one by one, inside "
            "optax.partition."
        )

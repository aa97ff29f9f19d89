"""Adam's moments, found by type in the state of any optimizer."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup._state.find import bare, find

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
        corrected: whether the optimizer divides its moments by 1 - b**count.
    """

    count: jax.Array | None  # type: ignore[assignment]  # tuple.count
    mu: list[Any]
    nu: list[Any]
    corrected: bool


def moments_of(
    inner_state: optax.OptState, tree: Any, owner: str = "record_moments"
) -> Moments:
    """The moments in an optimizer's state, for each leaf of `tree`.

    Several parts of an optimizer may hold moments (`optax.partition`), each of its own
    parameters; their counts advance together.
    """
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    mu: list[Any] = [None] * len(paths)
    nu: list[Any] = [None] * len(paths)
    nodes = find(inner_state, (*_corrected(), *_UNCORRECTED))
    _require_one_kind(nodes, owner)
    for node in nodes.values():
        first = getattr(node, "mu", None)
        firsts = mu if first is None else aligned(paths, first)
        seconds = aligned(paths, node.nu)
        for leaf, (m, v) in enumerate(zip(firsts, seconds, strict=True)):
            if isinstance(v, optax.MaskedNode):
                continue
            if nu[leaf] is not None:
                raise ValueError(
                    f"{owner}: two parts of the optimizer ({', '.join(nodes)}) "
                    "hold moments of the same parameter. Wrap one of them alone."
                )
            mu[leaf], nu[leaf] = None if m is None else bare(m), bare(v)
    corrected = isinstance(node, _corrected())
    return Moments(bare(node.count) if corrected else None, mu, nu, corrected)


def aligned(paths: list[Any], moments: Any) -> list[Any]:
    """The leaf of `moments` at each path, a MaskedNode where there is none.

    A mask may cut off whole branches, and flax's variables add a key to each path.
    """
    leaves = jax.tree_util.tree_leaves_with_path(
        moments, is_leaf=lambda node: isinstance(node, optax.MaskedNode)
    )
    under = {path[:end]: leaf for path, leaf in leaves for end in range(len(path) + 1)}
    return [under.get(path, optax.MaskedNode()) for path in paths]


def _require_one_kind(nodes: dict[str, Any], owner: str) -> None:
    if not nodes:
        raise ValueError(
            f"{owner}: inner holds no Adam moments. Wrap an optimizer such as "
            "optax.adam, or a chain with optax.scale_by_adam in it."
        )
    kinds = {(hasattr(n, "mu"), isinstance(n, _corrected())) for n in nodes.values()}
    if len(kinds) > 1:
        raise ValueError(
            f"{owner}: inner mixes Adam and rmsprop, or rmsprop with a bias correction "
            f"and without ({', '.join(nodes)}), whose second moments do not compare. "
            "Wrap them one by one, inside optax.partition."
        )


def decays_of(inner: optax.GradientTransformation) -> dict[str, float]:
    """b1 and b2 of an optimizer, as far as trying it on one number shows them.

    After a gradient of 1 and one of 0 the moments are b1 and b2 times what they were,
    whatever became of the first gradient on its way to Adam.
    """
    seen: list[Any] = []
    try:
        with jax.ensure_compile_time_eval():
            param = jnp.ones(1)
            state = inner.init(param)
            for gradient in (1.0, 0.0):
                _, state = inner.update(jnp.full(1, gradient), state, param)
                seen.append(moments_of(state, param))
            ratios = {
                name: float(seen[1][field][0][0] / seen[0][field][0][0])
                for name, field in (("b1", 1), ("b2", 2))
                if seen[0][field][0] is not None
            }
    # Anything may go wrong in an optimizer made for other parameters: labels that fit
    # none here, hyperparameters that are traced, gradients kept back for later.
    except Exception:
        return {}
    # Yogi does not forget, and adabelief remembers the deviation instead.
    known = not find(state, optax.ScaleByBeliefState) and 0 < ratios["b2"] < 1
    return ratios if known else {}


def require_own_decays(
    owner: str, inner: optax.GradientTransformation, **given: float
) -> None:
    """Refuses a b1 or b2 that is not the optimizer's own, where that shows."""
    for name, own in decays_of(inner).items():
        if name in given and abs(given[name] - own) > 0.05 * (1 - own) + 1e-6:
            raise ValueError(
                f"{owner}: {name} must be the wrapped optimizer's own, got "
                f"{given[name]!r} where it uses {own:.6g}. Pass {name}={own:.6g} to "
                f"{owner}."
            )

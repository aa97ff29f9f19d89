"""A warmup without a length: it grows while gradients agree, and holds when not."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check, _sample as sample
from optax_warmup._state.momentum import momentum_decays_of, momentum_of
from optax_warmup._transforms.arguments import require_optimizer, require_params
from optax_warmup._transforms.scale_by_learning_rate import scaled

OWNER = "automatic_warmup"

# Coherence above the threshold at which the factor grows at full pace.
_WIDTH = 0.1
# Gradients explode where n grows this much in one update, though they take each other
# back: where curvature is fixed, as in regression, nothing else would stop them.
_EXPLOSION = 2.0
# Updates after which n says something about the one before, and a momentum that is not
# corrected for its start has come to most of its size.
_SETTLED = 10
# Coordinates of a large leaf from which its norms are estimated: m and n from the same.
# Drawing one costs what reading sixteen in a row does, hence the size of a large leaf.
_SAMPLES = 2**12
_LARGE = 2**16
# Root mean square below which weights count as this large (Adafactor's floor): a model
# that starts at zero could never take a step of one per cent of itself.
_SMALLEST_RMS = 1e-3


class AutomaticWarmupState(NamedTuple):
    """The state of `automatic_warmup`.

    Attributes:
        inner_state: the state of the wrapped optimizer, whole.
        count: updates since the first that was not zero, int32, shape ().
        factor: what the last update was multiplied by, in (0, 1], float32, shape ();
            0 before the first update.
        following: what the next will be, unless one of the first ten asks for less.
        coherence: of the last gradients, float32, shape (): above 1 they agree, 1 is
            noise, below 1 each takes back what the one before did. The factor grows if
            it is above the threshold.
        decay: of each leaf's momentum, float32, shape (leaves,), NaN without one.
        noise: what the square of each leaf's momentum would be, were its gradients
            uncorrelated, float32, shape (leaves,).

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> ow.automatic_warmup(optax.adam(1e-3), 100).init(jnp.ones(3)).factor.item()
        0.0
    """

    inner_state: optax.OptState
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    factor: jax.Array
    following: jax.Array
    coherence: jax.Array
    decay: jax.Array
    noise: jax.Array

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """What belongs in a record."""
        return {"warmup_factor": self.factor, "coherence": self.coherence}


def automatic_warmup(
    inner: optax.GradientTransformation,
    total_steps: ArrayLike,
    *,
    start: float = 0.007,
    growth: float = 7.0,
    power: float = 1.5,
    threshold: float = 0.65,
) -> optax.GradientTransformationExtraArgs:
    """Warms any optimizer with momentum up, for as long as its gradients ask for.

    updates = factor * inner's updates
    factor(0) = min(1, start * |params| / |inner's updates|)
    factor(t) = min(1, factor(t-1) * (1 + pace(t) * agreement(t-1)))
    pace(t) = growth / total_steps, but power / t at most unless c(t-1)**2 > 1 / (1 - b)
    agreement(t) = clip((c(t) - threshold) / 0.1, 0, 1)

    None of the first ten updates moves the parameters by more than `start` of their
    norm, for which the factor falls where it must. From the first on it grows for as
    long as successive gradients agree, and holds when they do not. The sign is the
    coherence c of the gradients that the momentum m averages:

    c(t)**2 = |m(t)|**2 / n(t)
    n(t) = b**2 * n(t-1) + |m(t) - b * m(t-1)|**2

    where n is what |m|**2 would be if these gradients were uncorrelated. So c is 1 for
    noise, whatever its size and however sparse; sqrt((1 + b) / (1 - b)) at most, when
    all gradients are the same; and below 1 when each takes back what the last step did,
    which is how a rate beyond what the loss surface bears shows. How fast it grows is a
    matter of the length of the run: what a high rate spoils early is never made up for,
    and a longer run has the time to be careful. After the first power / growth of the
    run the factor grows like t**power at most, since a rate that is too high is found
    out late; but not while gradients hold more signal than noise, where c**2 is above
    1 / (1 - b). It does not fall with a low coherence, which is normal in the noise
    that training ends in; but it is halved where n has more than doubled in one update
    while m turned round: gradients explode.

    Give it a schedule without a warmup: the peak from the first step on, then whatever
    decay. A peak that is far too high is not reached: the run then trains at the rate
    that it bears. `MultiSteps` belongs outside of it, and so does `skip_nonfinite`.

    It needs no memory beyond some numbers a leaf, since the gradients are recovered
    from the momentum before and after the update; and little time, since of a leaf of
    more than 65,536 coordinates it looks at a sample of 4,096. Groups of parameters
    warm up on their own if each is wrapped on its own, inside `optax.partition`.

    Args:
        inner: a complete optimizer, learning rate included, that keeps a momentum:
            Adam and its relatives, Lion, Muon, SGD with momentum.
        total_steps: updates in the run, >= 1, those that its schedule counts; inside of
            `MultiSteps`, not the batches. A rough estimate will do. May be traced.
        start: the largest of the first updates, relative to the norm of the parameters,
            > 0.
        growth: of the logarithm of the factor, were a run at full pace to its end, > 0.
        power: of the number of updates, as which the factor grows at most, > 0.
        threshold: coherence up to which the factor holds, >= 0.

    Returns:
        A transform with state `AutomaticWarmupState`. Updates keep their types; an
        update needs the parameters.

    Raises:
        TypeError: `inner` is not an optimizer, or another argument is not a number.
        ValueError: an argument is out of its range, or `total_steps` not whole; at
            `init`, where `inner` keeps no momentum, or a gradient does not reach it at
            every update.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.automatic_warmup(optax.adam(1e-1), 100)
        >>> params = jnp.ones(4)
        >>> state = optimizer.init(params)
        >>> updates, state = optimizer.update(params, state, params)
        >>> round(state.factor.item(), 3), round(updates[0].item(), 3)
        (0.07, -0.007)

    Source: this library; its tests against tuned warmups are in docs/automatic.md.
    """
    inner = require_optimizer(OWNER, inner)
    total_steps = _check.length(OWNER, "total_steps", total_steps, minimum=1)
    start = _check.number(OWNER, "start", start, above=0)
    growth = _check.number(OWNER, "growth", growth, above=0)
    power = _check.number(OWNER, "power", power, above=0)
    threshold = _check.number(OWNER, "threshold", threshold, minimum=0)
    full = growth / total_steps

    def init_fn(params: optax.Params) -> AutomaticWarmupState:
        inner_state = inner.init(params)
        decay = _decays(inner, inner_state, params)
        return AutomaticWarmupState(
            inner_state,
            count=jnp.zeros((), jnp.int32),
            factor=jnp.zeros((), jnp.float32),
            following=jnp.zeros((), jnp.float32),
            coherence=jnp.ones((), jnp.float32),
            decay=decay,
            noise=jnp.zeros_like(decay),
        )

    def update_fn(
        updates: optax.Updates,
        state: AutomaticWarmupState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, AutomaticWarmupState]:
        require_params(OWNER, params)
        before = momentum_of(state.inner_state, params, OWNER)
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        after = momentum_of(inner_state, params, OWNER)
        # Nothing of this update's size but a sample stands between it and the weights,
        # so that it is scaled where it is computed: factor(t) asks for c(t-1).
        small = start * _size(params, _SMALLEST_RMS) / _size(updates)
        factor = jnp.where(state.following > 0, state.following, small)
        early = (state.count < _SETTLED) & jnp.isfinite(small)
        factor = jnp.where(early, jnp.minimum(factor, small), factor)
        # Until a first update is neither zero nor NaN, there is nothing to scale.
        factor = jnp.minimum(1, jnp.where(jnp.isfinite(factor), factor, 0))
        squares, noise = _powers(before, after, state)
        ratio = jnp.sum(squares) / jnp.sum(noise)
        finite = jnp.isfinite(ratio)
        coherence = jnp.where(finite, jnp.sqrt(ratio), state.coherence)
        agreement = jnp.clip((coherence - threshold) / _WIDTH, 0, 1)
        agreeing = jnp.sum(squares) > _total(noise / (1 - state.decay))
        slowing = jnp.minimum(full, power / (state.count + 1))
        pace = jnp.where(agreeing, full, slowing)
        growing = 1 + pace * agreement
        # Where m turns round and grows by `swing` each time, |m|**2 / n is
        # (1 - b / swing) / (1 + b / swing); after an odd gradient as large it is 1.
        # Halfway between:
        swing = jnp.sqrt(jnp.sum(noise) / jnp.sum(state.noise))
        exploded = (
            (state.count >= _SETTLED)
            & (swing**2 > _EXPLOSION)
            & (jnp.sum(squares) < _total(noise / (1 + state.decay / swing)))
        )
        growing = jnp.where(exploded, 0.5, growing)
        return scaled(updates, factor), AutomaticWarmupState(
            inner_state,
            count=jnp.where(factor > 0, optax.safe_increment(state.count), 0),
            factor=factor,
            following=factor * jnp.where(finite, growing, 1),
            coherence=coherence,
            decay=state.decay,
            noise=jnp.where(finite, noise, state.noise),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _decays(inner: Any, inner_state: Any, params: Any) -> jax.Array:
    """Each leaf's decay of momentum; refuses an optimizer that shows none."""
    momentum = momentum_of(inner_state, params, OWNER)
    # No leaves: optax.tree.map_params asks what a state looks like around parameters.
    if momentum and not any(m is not None for m in momentum):
        raise ValueError(
            f"{OWNER}: inner keeps no momentum, by which alone it is seen whether "
            "gradients agree. Wrap an optimizer that does, such as optax.adam(1e-3) or "
            "optax.sgd(0.1, momentum=0.9)."
        )
    decays = momentum_decays_of(inner, params, OWNER)
    known = [float("nan") if decay is None else decay for decay in decays]
    if any(decay is not None and not 0 <= decay < 1 for decay in decays):
        raise ValueError(
            f"{OWNER}: the momentum of inner does not follow its gradients (decays "
            f"{sorted(set(known))}). Put {OWNER} inside of optax.MultiSteps and of "
            "whatever else withholds gradients, around the optimizer itself."
        )
    return jnp.asarray(known, jnp.float32)


def _powers(
    before: list[Any], after: list[Any], state: AutomaticWarmupState
) -> tuple[jax.Array, jax.Array]:
    """|m|**2 of each leaf, and what it would be for uncorrelated gradients."""
    power, news = [], []
    for leaf, (old, new) in enumerate(zip(before, after, strict=True)):
        if new is None or not new.size:
            power.append(jnp.zeros(()))
            news.append(jnp.zeros(()))
            continue
        size, old, new = new.size, _drawn(old), _drawn(new)
        power.append(size * jnp.mean(jnp.square(new)))
        news.append(size * jnp.mean(jnp.square(new - state.decay[leaf] * old)))
    remembered = jnp.nan_to_num(jnp.square(state.decay)) * state.noise
    return jnp.stack(power), remembered + jnp.stack(news)


def _total(of_leaves: jax.Array) -> jax.Array:
    """The sum over the leaves that have a momentum."""
    return jnp.sum(jnp.nan_to_num(of_leaves))


def _size(tree: Any, smallest_rms: float = 0.0) -> jax.Array:
    """About the norm of all leaves together, at least that of a smallest RMS."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
    squares = sum(x.size * jnp.mean(jnp.square(_drawn(x))) for x in leaves)
    smallest = sum(x.size for x in leaves) * smallest_rms**2
    return jnp.sqrt(jnp.maximum(squares, smallest))


def _drawn(x: Any) -> jax.Array:
    """A leaf in float32, or a sample of it if it is large."""
    x = jnp.asarray(x)
    samples = _SAMPLES if x.size > _LARGE else None
    return sample.draw(x, samples).astype(jnp.float32)

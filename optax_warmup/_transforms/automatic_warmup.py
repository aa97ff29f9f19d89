"""A warmup without a length: it grows while gradients agree, and holds otherwise."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._state.momentum import momentum_of
from optax_warmup._state.order import require_order
from optax_warmup._state.probe import probe
from optax_warmup._transforms import automatic_rule as rule
from optax_warmup._transforms.arguments import require_optimizer, require_params
from optax_warmup._transforms.scale_by_learning_rate import scaled

_OWNER = "automatic_warmup"


class AutomaticWarmupState(NamedTuple):
    """The state of `automatic_warmup`.

    Attributes:
        inner_state: the state of the wrapped optimizer.
        count: updates since the first that was not zero, int32, shape ().
        factor: what the last update was multiplied by, in (0, 1], float32, shape ();
            0 before the first update.
        following: the factor of the next update; one of the first ten may be smaller.
        coherence: of the last gradients, float32, shape (): above 1 they agree, 1 is
            noise, below 1 each undoes the one before. The factor grows while it is
            above the threshold.
        decay: of each leaf's momentum, float32, shape (leaves,), NaN without one.
        noise: what the squared norm of each leaf's momentum would be if its gradients
            were uncorrelated, float32, shape (leaves,).

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
    def update_scale(self) -> jax.Array:
        """What the last update was multiplied by; 1 as long as that is not known."""
        return jnp.where(self.factor > 0, self.factor, 1)

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
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
    """Warms up any momentum optimizer automatically.

    updates = factor * inner's updates
    factor(0) = min(1, start * |params| / |inner's updates|)
    factor(t) = min(1, factor(t-1) * (1 + pace(t) * agreement(t-1)))
    pace(t) = growth / total_steps, but power / t at most unless c(t-1)**2 > 1 / (1 - b)
    agreement(t) = clip((c(t) - threshold) / 0.1, 0, 1)

    None of the first ten updates moves the parameters by more than `start` of their
    norm; the factor is lowered where that takes it. From the first update on it grows
    while successive gradients agree, and holds while they do not. The sign of that is
    the coherence c of the gradients that the momentum m averages:

    c(t)**2 = |m(t)|**2 / n(t)
    n(t) = b**2 * n(t-1) + |m(t) - b * m(t-1)|**2

    where n is what |m|**2 would be if these gradients were uncorrelated. So c is 1 for
    noise, whatever its size and however sparse; at most sqrt((1 + b) / (1 - b)), when
    all gradients are equal; and below 1 when each undoes the last step, which is how a
    learning rate too high for the curvature shows up.

    The pace is set by the length of the run: what a high rate spoils early is never
    made up for, and a longer run has the time to be careful. After the first power /
    growth of the run the factor grows at most like t**power, since a rate that is too
    high is noticed late; but not while gradients hold more signal than noise, where
    c**2 is above 1 / (1 - b). A low coherence does not lower the factor, since it is
    normal in the noise at the end of training. The factor is halved when gradients
    explode: when n more than doubles in one update while m turns round.

    Give it a schedule without a warmup, at its peak from the first step on. A peak that
    is far too high is not reached, and the run trains at the rate that it can bear. Put
    `MultiSteps` outside of it, and `skip_nonfinite` too.

    It keeps some numbers for each leaf, as the gradients are recovered from the
    momentum before and after the update. It takes little time: of a leaf with more than
    65,536 coordinates it reads a sample of 4,096. Groups of parameters warm up on their
    own if each is wrapped on its own, inside `optax.partition`. Inside `shard_map` or
    `pmap` every device must hold all parameters and the mean of the gradients: norms
    are those of what a device holds.

    Args:
        inner: a complete optimizer, learning rate included, with momentum: Adam and its
            relatives, Lion, Muon, SGD with momentum.
        total_steps: updates in the run, >= 1, as its schedule counts them; inside of
            `MultiSteps`, not the batches. A rough estimate is enough. May be traced.
        start: the largest of the first updates, relative to the norm of the parameters,
            > 0.
        growth: of the logarithm of the factor in a whole run at full pace, > 0.
        power: of the number of updates, as which the factor grows at most, > 0.
        threshold: coherence up to which the factor holds, >= 0.

    Returns:
        A transform with state `AutomaticWarmupState`. Updates keep their dtypes; an
        update needs the parameters.

    Raises:
        TypeError: `inner` is not an optimizer, or an argument is not a number.
        ValueError: an argument is out of its range, or `total_steps` is not whole; at
            `init`, if `inner` has no momentum, or does not take every gradient into it.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.automatic_warmup(optax.adam(1e-1), 100)
        >>> params = jnp.ones(4)
        >>> state = optimizer.init(params)
        >>> updates, state = optimizer.update(params, state, params)
        >>> round(state.factor.item(), 3), round(updates[0].item(), 3)
        (0.07, -0.007)

    Source: this library; docs/automatic.md compares it with tuned warmups.
    """
    inner = require_optimizer(_OWNER, inner)
    total_steps = _check.length(_OWNER, "total_steps", total_steps, minimum=1)
    growth = _check.number(_OWNER, "growth", growth, above=0)
    settings = rule.Settings(
        start=_check.number(_OWNER, "start", start, above=0),
        full_pace=growth / total_steps,
        power=_check.number(_OWNER, "power", power, above=0),
        threshold=_check.number(_OWNER, "threshold", threshold, minimum=0),
    )

    def init_fn(params: optax.Params) -> AutomaticWarmupState:
        inner_state = inner.init(params)
        require_order(_OWNER, inner_state)
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
        require_params(_OWNER, params)
        before = momentum_of(state.inner_state, params, _OWNER)
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        after = momentum_of(inner_state, params, _OWNER)
        # Only a sample of this update is read before it is scaled, so that XLA scales
        # it where it is computed: factor(t) depends on c(t-1).
        largest = settings.start * rule.norm(params, rule.SMALLEST_RMS)
        limit = largest / rule.norm(updates)
        factor = rule.factor_now(state.following, limit, state.count)
        powers = rule.powers_of(before, after, state.decay, state.noise)
        return scaled(updates, factor), _after_update(
            settings, state._replace(inner_state=inner_state), factor, powers
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _after_update(
    settings: rule.Settings,
    state: AutomaticWarmupState,
    factor: jax.Array,
    powers: rule.Powers,
) -> AutomaticWarmupState:
    """The state after an update with some factor and momentum.

    An update whose gradients are zero or not finite leaves coherence and noise alone.
    """
    ratio = jnp.sum(powers.momentum) / jnp.sum(powers.noise)
    finite = jnp.isfinite(ratio)
    coherence = jnp.where(finite, jnp.sqrt(ratio), state.coherence)
    growing = jnp.where(
        rule.has_exploded(powers, state.noise, state.decay, state.count),
        0.5,
        rule.growth(settings, coherence, powers, state.decay, state.count),
    )
    return state._replace(
        count=jnp.where(factor > 0, optax.safe_increment(state.count), 0),
        factor=factor,
        following=factor * jnp.where(finite, growing, 1),
        coherence=coherence,
        noise=jnp.where(finite, powers.noise, state.noise),
    )


def _decays(
    inner: optax.GradientTransformationExtraArgs, inner_state: Any, params: Any
) -> jax.Array:
    """Each leaf's decay of momentum; refuses an optimizer that shows none."""
    momentum = momentum_of(inner_state, params, _OWNER)
    # No leaves: optax.tree.map_params asks what a state looks like around parameters.
    if momentum and not any(m is not None for m in momentum):
        raise ValueError(
            f"{_OWNER}: inner keeps no momentum, which is needed to see whether "
            "gradients agree. Wrap an optimizer that does, such as optax.adam(1e-3) or "
            "optax.sgd(0.1, momentum=0.9)."
        )
    found = probe(inner, params, _OWNER).momentum
    decays = [float("nan") if decay is None else decay.ratio for decay in found]
    if any(decay is not None and not 0 <= decay.ratio < 1 for decay in found):
        raise ValueError(
            f"{_OWNER}: the momentum of inner does not follow its gradients (decays "
            f"{sorted(set(decays))}). Put {_OWNER} inside of optax.MultiSteps and of "
            "whatever else withholds gradients, around the optimizer itself."
        )
    return jnp.asarray(decays, jnp.float32)

"""A warmup without a length: it measures a safe start, and rises like the root of t."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._gate import measured_first, measured_if
from optax_warmup._state.find import find
from optax_warmup._state.order import require_order
from optax_warmup._state.probe import probe_or_none
from optax_warmup._transforms import automatic_rule as rule
from optax_warmup._transforms.arguments import require_optimizer, require_params
from optax_warmup._transforms.automatic_sample import BLOCK, draw, layout_of
from optax_warmup._transforms.scale_by_learning_rate import scaled

_OWNER = "automatic_warmup"


class AutomaticWarmupState(NamedTuple):
    """The state of `automatic_warmup`.

    Attributes:
        inner_state: the state of the wrapped optimizer.
        count: updates that moved the parameters by finite numbers, int32, shape ().
            As long as it is 0 no start was found. Without feedback the count stands
            still once the factor has arrived at 1; with feedback, only updates count
            that a gradient has judged.
        factor: what the last update was multiplied by, in [0, 1], float32, shape ();
            0 before the first update.
        coherence: with feedback, the cosine between the last descent direction,
            -gradient, and the update before it, float32, shape (). Below 0 that update
            was too long, and the factor falls. 0 as long as it is not measured, and
            without feedback.
        momentum: the decay of a momentum that adds gradients up, as SGD's does; 0 for
            one that averages them. float32, shape ().
        size: the relative size S of the largest of the first updates before they were
            scaled, float32, shape ().
        gradient: with feedback, about the norm of the last gradient, float32, shape ();
            otherwise 0.
        params: a sample of the parameters before the last update, float32, shape
            (blocks, 64). Without feedback it is not renewed once the factor has arrived
            at 1.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> ow.automatic_warmup(optax.adam(1e-3)).init(jnp.ones(3)).factor.item()
        0.0
    """

    inner_state: optax.OptState
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    factor: jax.Array
    coherence: jax.Array
    momentum: jax.Array
    size: jax.Array
    gradient: jax.Array
    params: jax.Array

    @property
    def update_scale(self) -> jax.Array:
        """What the last update was multiplied by; 1 as long as that is not known."""
        return jnp.where(self.factor > 0, self.factor, 1)

    @property
    def recorded(self) -> dict[str, jax.Array]:
        """Scalars for a diagnostic record."""
        return {
            "warmup_factor": self.factor,
            "coherence": self.coherence,
            "relative_size": self.size,
        }


def automatic_warmup(
    inner: optax.GradientTransformation,
    total_steps: None = None,
    *,
    start: float = 0.07,
    feedback: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Warms up any optimizer without being told a length or anything else.

    updates = factor(t) * updates
    factor(t) = min(1, start * sqrt(t + 1) / S)

    S is the relative size of an update before it is scaled: the sum over parameter
    arrays of RMS(update) / RMS(parameters), of the coordinates that move; the largest
    of the first 20 updates. So a first update moves a network of many layers less than
    one of few. Parameters count as at least as large as a usual initialization makes
    them, 1 / sqrt(fan-in) in matrices and 1 in vectors. A momentum that adds gradients
    up, as SGD's does, is expected to come to its full size: S is divided by 1 - b**t,
    and the largest of 2 / (1 - b) updates.

    Give the optimizer a schedule without a warmup, at its peak from the first step on.
    A peak that needs no warmup gets none; one that is far too high is not reached in a
    run that decays.

    With `feedback`, each gradient judges the update before it, and the factor above is
    the largest one that is allowed:

    factor(t) = min(1, factor(t-1) * change(t), start * sqrt(t + 1) / S)
    change(t) = exp(gain(t)) if c(t) > 0, or else exp(-0.95 * gain(t))
    gain(t) = min(0.1, 8 / (t + 1))

    c(t) is the cosine between the descent direction at step t and the way that the
    parameters went in update t - 1. Below 0 that update went past the minimum on its
    line, as data say that it was not made from. Where c is below -1/2 and gradients
    have grown by a fifth the factor is halved. So the factor falls while updates are
    too long, and a rate that is too high falls by itself. Use it without a decay, or
    with a rate that may be ten times too high. Under a decay and at a good peak it
    costs some loss, since it prefers what is best for the next update alone:
    docs/automatic.md has the numbers.

    It needs no momentum: it sees where the parameters went, and with feedback the
    gradients, in a sample of about 16,384 coordinates and a few of each array. Once the
    factor is 1 it reads nothing any more, unless there is feedback. Updates that are
    zero or not finite are passed over, with feedback those of such gradients too.
    Groups of parameters warm up on their own if each is wrapped on its own, inside
    `optax.partition`. Put `MultiSteps` outside, and
    `skip_nonfinite` inside, which takes less memory than outside. In `shard_map` or
    `pmap` every device must hold all parameters and the mean of the gradients. Layers
    that are stacked in one array, for a scan, count as one: divide `start` by their
    number, for the same factor.

    Args:
        inner: a complete optimizer, learning rate included.
        total_steps: what the first version asked for; must be left out.
        start: the relative size of the first update, a sum over arrays, > 0.
        feedback: whether gradients may lower the factor.

    Returns:
        A transform with state `AutomaticWarmupState`. Updates keep their dtypes; an
        update needs the parameters.

    Raises:
        TypeError: `inner` is not an optimizer, `start` is not a number, `feedback` is
            not True or False, or `total_steps` is given.
        ValueError: `start` is out of its range; at `init`, if `inner` has two learning
            rates in a row, or one in front of Adam.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.automatic_warmup(optax.adam(1e-1))
        >>> params = jnp.ones(4)
        >>> state = optimizer.init(params)
        >>> updates, state = optimizer.update(params, state, params)
        >>> round(state.factor.item(), 3), round(updates[0].item(), 3)
        (0.7, -0.07)

    Source: this library; docs/automatic.md compares it with tuned warmups.
    """
    inner = require_optimizer(_OWNER, inner)
    _require_no_length(total_steps)
    start = _check.scalar(_OWNER, "start", start, above=0)
    _check.flag(_OWNER, "feedback", feedback)

    def init_fn(params: optax.Params) -> AutomaticWarmupState:
        inner_state = inner.init(params)
        require_order(_OWNER, inner_state)
        blocks = len(layout_of(_leaves(params)).owner)
        return AutomaticWarmupState(
            inner_state,
            count=jnp.zeros((), jnp.int32),
            factor=jnp.zeros((), jnp.float32),
            coherence=jnp.zeros((), jnp.float32),
            momentum=jnp.float32(_accumulation(inner, inner_state, params)),
            size=jnp.zeros((), jnp.float32),
            gradient=jnp.zeros((), jnp.float32),
            params=jnp.zeros((blocks, BLOCK), jnp.float32),
        )

    def update_fn(
        updates: optax.Updates,
        state: AutomaticWarmupState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, AutomaticWarmupState]:
        require_params(_OWNER, params)
        known = rule.Known(*state[1:])
        gradients, leaves = _leaves(updates), _leaves_at(updates, params)
        layout = layout_of(leaves)

        def coming(grads: Any, inner_state: Any, params: Any) -> Any:
            """How the first update, before it is made, moves what has a gradient."""
            first, _ = inner.update(grads, inner_state, params, **extra)
            moves = jax.tree.map(_where_nonzero, grads, first, is_leaf=_is_none)
            return draw(_leaves(moves), layout)

        def seen(leaves: Any, first: Any) -> Any:
            """The size of the last update, or of the first, and where parameters are"""
            at = draw(leaves, layout)
            moved = jnp.where(known.count > 0, at - known.params, first)
            return rule.relative_size(moved, at, layout), at

        # Moments are overwritten in place, by what the gradients are added to: not
        # before the measurement has read them.
        operands = (updates, state.inner_state, params)
        first, updates = measured_first(known.count == 0, coming, updates, *operands)
        if feedback:
            size, at = seen(leaves, first)
            judged = rule.judged(draw(gradients, layout), at, known, layout)
        else:
            judged = None
            nothing = jnp.zeros((), jnp.float32), known.params
            size, at = measured_if(~rule.arrived(known), seen, nothing, leaves, first)
        known = rule.started(rule.after(known, size, at, start, judged), size, start)
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        return scaled(updates, known.factor), AutomaticWarmupState(inner_state, *known)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _require_no_length(total_steps: Any) -> None:
    if total_steps is not None:
        raise TypeError(
            f"{_OWNER}: the length of the run is not needed any more, got total_steps "
            f"{total_steps!r}. Write {_OWNER}(optimizer); growth, power and threshold "
            "are gone too, and start is a sum over leaves now."
        )


def _accumulation(
    inner: optax.GradientTransformationExtraArgs, inner_state: Any, params: Any
) -> float:
    """The decay of a momentum that adds gradients up; 0 without one."""
    if not find(inner_state, optax.TraceState):
        return 0.0
    found = probe_or_none(inner, params, _OWNER)
    decays = [d.ratio for d in found.momentum if d] if found else [rule.USUAL_MOMENTUM]
    return max((d for d in decays if 0 <= d < 1), default=0.0)


def _leaves(tree: Any) -> list[Any]:
    return jax.tree.leaves(tree, is_leaf=_is_none)


def _leaves_at(places: Any, tree: Any) -> list[Any]:
    """The leaves of a tree in the places of another's, where that may have None."""
    return _leaves(jax.tree.map(lambda _, leaf: leaf, places, tree, is_leaf=_is_none))


def _where_nonzero(gradient: Any, update: Any) -> Any:
    if gradient is None or update is None:
        return update
    return jnp.where(gradient != 0, update, jnp.zeros_like(update))


def _is_none(leaf: Any) -> bool:
    return leaf is None

"""A warmup without a length: each gradient says if the last update went too far."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._gate import after, measured_if
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
        count: updates with a gradient and an update that are finite and not zero,
            int32, shape (). As long as it is 0 no start was found.
        factor: what the last update was multiplied by, in [0, 1], float32, shape ();
            0 before the first update.
        coherence: the cosine between the last descent direction, -gradient, and the
            update before it, float32, shape (). The factor rises where it is above 0
            and falls where it is below.
        momentum: the decay of a momentum that adds gradients up, as SGD's does; 0 for
            one that averages them. float32, shape ().
        size: the relative size S of the largest of the first updates before they were
            scaled, float32, shape ().
        gradient: about the norm of the last gradient, float32, shape ().
        params: a sample of the parameters before the last update, float32, shape
            (blocks, 64).

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
        return {"warmup_factor": self.factor, "coherence": self.coherence}


def automatic_warmup(
    inner: optax.GradientTransformation,
    total_steps: None = None,
    *,
    start: float = 0.05,
) -> optax.GradientTransformationExtraArgs:
    """DOC"""
    inner = require_optimizer(_OWNER, inner)
    _require_no_length(total_steps)
    start = float(_check.number(_OWNER, "start", start, above=0))

    def init_fn(params: optax.Params) -> AutomaticWarmupState:
        inner_state = inner.init(params)
        require_order(_OWNER, inner_state)
        blocks = len(layout_of(jax.tree.leaves(params)).owner)
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
        layout = layout_of(jax.tree.leaves(params))
        gradients, structure = jax.tree.flatten(updates, is_leaf=_is_none)
        drawn = draw(gradients, layout)
        at = draw(structure.flatten_up_to(params), layout)

        def first_size(grads: Any, inner_state: Any, params: Any) -> Any:
            """The relative size of the update that comes, as long as there was none."""
            first, _ = inner.update(grads, inner_state, params, **extra)
            moved = draw(structure.flatten_up_to(first), layout)
            moves = (drawn != 0) & (moved != 0)
            return rule.relative_size(moved, at, moves, layout)

        known = rule.after(rule.Known(*state[1:]), drawn, at, layout, start)
        size = measured_if(
            state.count == 0, first_size, None, updates, state.inner_state, params
        )
        known = rule.started(known, size, start)
        # Moments are overwritten in place: not before the measurement has read them.
        inner_state = after(size, state.inner_state)
        updates, inner_state = inner.update(updates, inner_state, params, **extra)
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


def _is_none(leaf: Any) -> bool:
    return leaf is None

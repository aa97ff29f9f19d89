"""The first version of the automatic warmup, for comparison: a measured start, then a
curve that needs the length of the run. Its momentum is computed here, not read."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

START, GROWTH, POWER, THRESHOLD, SETTLED = 0.007, 7.0, 1.5, 0.65, 10


class State(NamedTuple):
    inner_state: Any
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    factor: jax.Array  # of the last update
    following: jax.Array  # of the next one
    momentum: Any
    noise: jax.Array  # |momentum|**2 of uncorrelated gradients


def automatic_warmup(
    inner: optax.GradientTransformation, steps: int, decay: float
) -> optax.GradientTransformation:
    def init_fn(params: Any) -> State:
        zero = jnp.zeros(())
        momentum = optax.tree.zeros_like(params)
        return State(
            inner.init(params), jnp.zeros((), jnp.int32), zero, zero, momentum, zero
        )

    def update_fn(grads: Any, state: State, params: Any) -> tuple[Any, State]:
        updates, inner_state = inner.update(grads, state.inner_state, params)
        size = optax.tree.size(params)
        norm = jnp.maximum(optax.tree.norm(params), 1e-3 * size**0.5)
        limit = START * norm / optax.tree.norm(updates)
        t = state.count
        factor = jnp.where(t == 0, limit, state.following)
        factor = jnp.where(t < SETTLED, jnp.minimum(factor, limit), factor)
        factor = jnp.minimum(1, factor)
        momentum = jax.tree.map(lambda m, g: decay * m + g, state.momentum, grads)
        noise = decay**2 * state.noise + optax.tree.norm(grads) ** 2
        power = optax.tree.norm(momentum) ** 2
        agreement = jnp.clip((jnp.sqrt(power / noise) - THRESHOLD) / 0.1, 0, 1)
        slow = jnp.minimum(GROWTH / steps, POWER / (t + 1))
        pace = jnp.where(power > noise / (1 - decay), GROWTH / steps, slow)
        swing = jnp.sqrt(noise / state.noise)
        exploded = (t >= SETTLED) & (swing**2 > 2)
        exploded &= power < noise / (1 + decay / swing)
        growth = jnp.where(exploded, 0.5, 1 + pace * agreement)
        updates = jax.tree.map(lambda u: factor * u, updates)
        return updates, State(
            inner_state, t + 1, factor, factor * growth, momentum, noise
        )

    return optax.GradientTransformation(init_fn, update_fn)

"""The control: the curve of the automatic warmup without what it learns on its way.

Written again, over whole arrays, since the library has no switch for it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

START, EARLY = 0.07, 20


class State(NamedTuple):
    inner_state: Any
    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    size: jax.Array  # the largest of the first updates
    factor: jax.Array


def open_loop(
    inner: optax.GradientTransformation, momentum: float
) -> optax.GradientTransformation:
    """`momentum` is the decay of one that adds gradients up, else 0."""

    def init_fn(params: Any) -> State:
        return State(inner.init(params), *(jnp.zeros(()) for _ in range(3)))

    def update_fn(grads: Any, state: State, params: Any) -> tuple[Any, State]:
        updates, inner_state = inner.update(grads, state.inner_state, params)
        sizes = jax.tree.map(relative_size, updates, grads, params)
        size = sum(jax.tree.leaves(sizes)) / (1 - momentum ** (state.count + 1))
        early = state.count < max(EARLY, 2 / (1 - momentum))
        size = jnp.where(early, jnp.maximum(size, state.size), state.size)
        factor = jnp.minimum(1, START * jnp.sqrt(state.count + 1) / size)
        updates = jax.tree.map(lambda u: factor * u, updates)
        return updates, State(inner_state, state.count + 1, size, factor)

    return optax.GradientTransformation(init_fn, update_fn)


def relative_size(update: jax.Array, gradient: jax.Array, param: jax.Array) -> Any:
    moves = (update != 0) & (gradient != 0)
    floor = (param.size / param.shape[-1]) ** -0.5 if param.ndim > 1 else 1.0
    own = jnp.maximum(rms(param, moves), floor)
    return rms(update, moves) / own


def rms(x: jax.Array, where: jax.Array) -> jax.Array:
    squares = jnp.sum(jnp.where(where, jnp.square(x), 0))
    return jnp.sqrt(squares / jnp.maximum(jnp.sum(where), 1))

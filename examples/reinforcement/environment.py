"""Gymnasium's CartPole as pure functions of arrays, to run inside a jitted program.

An episode ends when the pole falls, or after 500 steps. The next one starts by itself.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from gymnasium.envs.phys2d.cartpole import CartPoleFunctional

LONGEST = 500  # steps of an episode, and so the largest return; as in CartPole-v1
OBSERVATION, ACTIONS = 4, 2

cartpole = CartPoleFunctional()


class EnvState(NamedTuple):
    """One environment; a batch of them has a leading axis."""

    physics: jax.Array  # position, velocity, angle, angular velocity
    steps: jax.Array  # since the episode began; also its return so far


class Outcome(NamedTuple):
    """The result of a step."""

    reward: jax.Array
    fell: jax.Array  # the episode is over, since the pole fell
    cut: jax.Array  # the episode is over, but only because of its length
    final: jax.Array  # the observation after the step, before any restart
    episode_return: jax.Array  # of the episode that ended; NaN if none did


def begin(key: jax.Array) -> EnvState:
    return EnvState(cartpole.initial(key), jnp.zeros((), jnp.int32))


def step(
    state: EnvState, action: jax.Array, key: jax.Array
) -> tuple[EnvState, Outcome]:
    """One step, and the start of the next episode if this one is over."""
    physics = cartpole.transition(state.physics, action)
    reward = jnp.float32(cartpole.reward(state.physics, action, physics, None))
    steps = state.steps + 1
    fell = cartpole.terminal(physics, None)
    cut = (steps >= LONGEST) & ~fell
    over = fell | cut
    following = jax.tree.map(
        lambda new, old: jnp.where(over, new, old),
        begin(key),
        EnvState(physics, steps),
    )
    returned = jnp.where(over, steps.astype(jnp.float32), jnp.nan)
    return following, Outcome(reward, fell, cut, physics, returned)

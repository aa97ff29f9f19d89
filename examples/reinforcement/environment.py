"""Gymnasium's CartPole as pure functions of arrays: it runs inside the program.

Episodes end where the pole falls, and after 500 steps. An environment whose episode is
over begins the next one by itself.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from gymnasium.envs.phys2d.cartpole import CartPoleFunctional

LONGEST = 500  # steps of an episode, and so the largest return, as in CartPole-v1
OBSERVATION, ACTIONS = 4, 2

cartpole = CartPoleFunctional()


class EnvState(NamedTuple):
    """One environment; a batch of them has a leading axis."""

    physics: jax.Array  # position, velocity, angle, angular velocity
    steps: jax.Array  # since the episode began; also its return so far


class Outcome(NamedTuple):
    """What a step leads to."""

    reward: jax.Array
    fell: jax.Array  # the episode is over, and nothing would have followed
    cut: jax.Array  # the episode is over, but only for its length
    final: jax.Array  # the observation at its end, before the next one begins
    episode_return: jax.Array  # of the episode that is over; NaN where none is


def begin(key: jax.Array) -> EnvState:
    return EnvState(cartpole.initial(key), jnp.zeros((), jnp.int32))


def step(
    state: EnvState, action: jax.Array, key: jax.Array
) -> tuple[EnvState, Outcome]:
    """One step, and the next episode's beginning where this one is over."""
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

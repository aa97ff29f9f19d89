"""Proximal policy optimization, from the seed to the return, as a traceable function.

Schulman et al., "Proximal Policy Optimization Algorithms", 2017, arXiv:1707.06347.
Shapes are in the names: T steps of a rollout, E environments, M a minibatch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import agent, environment
from .environment import EnvState


class Size(NamedTuple):
    """The sizes of a training. Each size is a program of its own."""

    width: int = 64
    environments: int = 16
    rollout: int = 64
    iterations: int = 50
    epochs: int = 4
    minibatches: int = 4

    @property
    def total_steps(self) -> int:
        """Updates of the parameters."""
        return self.iterations * self.epochs * self.minibatches


class Curves(NamedTuple):
    """The curves of a training. A sweep adds a leading axis."""

    loss: jax.Array  # of each update, float32, shape (total_steps,)
    entropy: jax.Array  # of the policy at each update, in nats, shape (total_steps,)
    steps: jax.Array  # of the evaluations, in updates, int32, shape (iterations,)
    # Moving mean over finished episodes, float32, shape (iterations,).
    episode_return: jax.Array


class Batch(NamedTuple):
    observation: jax.Array
    action: jax.Array
    log_probability: jax.Array
    advantage: jax.Array
    target: jax.Array  # of the value


Carry = tuple[Any, Any]  # parameters, optimizer state

DISCOUNT, TRACE, CLIP, VALUE_WEIGHT = 0.99, 0.95, 0.2, 0.5
MEMORY = 0.9  # decay rate per iteration of the moving mean of returns


def train(
    optimizer: optax.GradientTransformation,
    exploration: optax.Schedule,
    size: Size,
    *,
    seed: jax.Array | int,
) -> Curves:
    """Trains an agent.

    Args:
        optimizer: an optimizer with its learning rate.
        exploration: a schedule of the entropy's weight in the loss, by update.
        size: the sizes of the training.
        seed: of the initial parameters, the game and the minibatches.
    """
    key, first, begin = jax.random.split(jax.random.key(seed), 3)
    apply, params = agent.init(size.width, first)
    envs = jax.vmap(environment.begin)(jax.random.split(begin, size.environments))
    update = make_update(apply, optimizer, exploration)

    def iterate(carry: tuple, iteration: jax.Array) -> tuple[tuple, tuple]:
        params, opt_state, envs, mean = carry
        acting, mixing = jax.random.split(jax.random.fold_in(key, iteration))
        envs, batch, returns = collect(apply, params, envs, acting, size)
        step = iteration * size.epochs * size.minibatches
        (params, opt_state), (losses, entropies) = improve(
            update, (params, opt_state), batch, size, mixing, step
        )
        mean = remembered(mean, returns)
        lost = ~jnp.all(jnp.isfinite(losses))  # a NaN policy goes on playing
        shown = jnp.where(lost, jnp.nan, mean)
        return (params, opt_state, envs, mean), (losses, entropies, shown)

    start = params, optimizer.init(params), envs, jnp.float32(jnp.nan)
    iterations = jnp.arange(size.iterations)
    _, (losses, entropies, returns) = jax.lax.scan(iterate, start, iterations)
    steps = (iterations + 1) * size.epochs * size.minibatches
    return Curves(losses.reshape(-1), entropies.reshape(-1), steps, returns)


def remembered(mean: jax.Array, returns: jax.Array) -> jax.Array:
    """The moving mean of the returns of finished episodes; NaN before the first."""
    ended = jnp.sum(jnp.isfinite(returns))
    new = jnp.nansum(returns) / jnp.maximum(ended, 1)
    updated = jnp.where(jnp.isnan(mean), new, MEMORY * mean + (1 - MEMORY) * new)
    return jnp.where(ended > 0, updated, mean)


def collect(
    apply: Callable, params: Any, envs: EnvState, key: jax.Array, size: Size
) -> tuple[EnvState, Batch, jax.Array]:
    """Plays T steps in E environments; also gives the returns of finished episodes."""

    def play(envs: EnvState, key: jax.Array) -> tuple[EnvState, tuple]:
        acting, beginning = jax.random.split(key)
        logits, value = apply(params, envs.physics)
        action = jax.random.categorical(acting, logits)
        keys = jax.random.split(beginning, size.environments)
        following, outcome = jax.vmap(environment.step)(envs, action, keys)
        _, next_value = apply(params, outcome.final)
        chosen = log_probability(logits, action)
        return following, (envs.physics, action, chosen, value, next_value, outcome)

    envs, (observation, action, chosen, value, next_value, outcome) = jax.lax.scan(
        play, envs, jax.random.split(key, size.rollout)
    )
    advantage = advantages(value, next_value, outcome)
    batch = Batch(observation, action, chosen, advantage, advantage + value)
    flat = jax.tree.map(lambda x_TxE: x_TxE.reshape(-1, *x_TxE.shape[2:]), batch)
    return envs, flat, outcome.episode_return


def log_probability(logits: jax.Array, action: jax.Array) -> jax.Array:
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)
    return chosen[..., 0]


def advantages(
    value: jax.Array, next_value: jax.Array, outcome: environment.Outcome
) -> jax.Array:
    """Generalized advantage estimation: Schulman et al., 2015, arXiv:1506.02438.

    An episode that was cut off could have gone on: its last state's value counts.
    """
    surprise = outcome.reward + DISCOUNT * next_value * ~outcome.fell - value

    def back(later: jax.Array, now: tuple) -> tuple[jax.Array, jax.Array]:
        surprise, over = now
        advantage = surprise + DISCOUNT * TRACE * later * ~over
        return advantage, advantage

    _, result = jax.lax.scan(
        back,
        jnp.zeros_like(surprise[0]),
        (surprise, outcome.fell | outcome.cut),
        reverse=True,
    )
    return result


def make_update(
    apply: Callable,
    optimizer: optax.GradientTransformation,
    exploration: optax.Schedule,
) -> Callable:
    """(carry, minibatch, step) -> (carry, (loss, entropy))."""

    def update(
        carry: Carry, minibatch: Batch, step: jax.Array
    ) -> tuple[Carry, tuple[jax.Array, jax.Array]]:
        params, opt_state = carry
        (loss, entropy), grads = jax.value_and_grad(objective, has_aux=True)(
            params, apply, minibatch, exploration(step)
        )
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), (loss, entropy)

    return update


def improve(
    update: Callable,
    carry: Carry,
    batch: Batch,
    size: Size,
    key: jax.Array,
    step: jax.Array,
) -> tuple[Carry, tuple[jax.Array, jax.Array]]:
    """Several epochs of updates on one rollout; returns losses and entropies."""
    count = size.environments * size.rollout
    keys = jax.random.split(key, size.epochs)
    orders = jax.vmap(lambda key: jax.random.permutation(key, count))(keys)
    chosen = orders.reshape(size.epochs * size.minibatches, -1)

    def on_minibatch(carry: Carry, inputs: tuple) -> tuple[Carry, tuple]:
        indices, step = inputs
        return update(carry, jax.tree.map(lambda x: x[indices], batch), step)

    return jax.lax.scan(on_minibatch, carry, (chosen, step + jnp.arange(len(chosen))))


def objective(
    params: Any, apply: Callable, batch: Batch, entropy_weight: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """The clipped surrogate loss with value error and entropy bonus; the entropy."""
    logits, value = apply(params, batch.observation)
    ratio = jnp.exp(log_probability(logits, batch.action) - batch.log_probability)
    spread = jnp.std(batch.advantage) + 1e-8
    advantage = (batch.advantage - jnp.mean(batch.advantage)) / spread
    clipped = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
    gain = jnp.minimum(ratio * advantage, clipped * advantage).mean()
    error = 0.5 * jnp.square(value - batch.target).mean()
    log_probabilities = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1).mean()
    return VALUE_WEIGHT * error - gain - entropy_weight * entropy, entropy

"""Runs that several tests of the automatic warmup look at."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from compiled import quickly

PARAMS = {"w": jnp.linspace(-1, 2, 40).reshape(8, 5), "b": jnp.zeros(3)}


def gradients_of(params, steps, seed=0):
    """Noise around a constant, for each step."""
    keys = jax.random.split(jax.random.key(seed), steps)
    leaves, structure = jax.tree.flatten(params)
    return jax.vmap(
        lambda key: jax.tree.unflatten(
            structure,
            [
                0.5 + jax.random.normal(jax.random.fold_in(key, i), jnp.shape(x))
                for i, x in enumerate(leaves)
            ],
        )
    )(keys)


def run(optimizer, params, gradients):
    """The parameters in the end, and the updates and states of each step, stacked."""
    return go_on(optimizer, params, optimizer.init(params), gradients)


def go_on(optimizer, params, state, gradients):
    """The same from a state."""

    @quickly
    def train(params, state, gradients):
        def step(carry, grads):
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), (updates, state)

        return jax.lax.scan(step, (params, state), gradients)

    (params, _), (updates, states) = train(params, state, gradients)
    return params, updates, states


def descent(optimizer, loss, params, steps=300):
    """Parameters and state in the end, and the loss before each step."""

    @quickly
    def train(params):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), loss(params)

        return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)

    (params, state), losses = train(params)
    return params, state, losses


def quadratic(optimizer, steps=300):
    """The losses on a quadratic, curvatures 0.01 to 100."""
    curvature = jnp.logspace(-2, 2, 30)

    def loss(x):
        return 0.5 * jnp.sum(curvature * x * x)

    x, state, losses = descent(optimizer, loss, jnp.ones(30), steps)
    return np.append(losses, loss(x)), state

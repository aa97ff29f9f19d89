"""The policy and the value function: two small networks in Flax nnx."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from .environment import ACTIONS, OBSERVATION


class Network(nnx.Module):
    """Two hidden tanh layers and a linear output, scaled by `gain` at first."""

    def __init__(self, width: int, outputs: int, gain: float, *, rngs: nnx.Rngs):
        def layer(inputs: int, outputs: int, gain: float) -> nnx.Linear:
            init = nnx.initializers.variance_scaling(gain**2, "fan_in", "normal")
            return nnx.Linear(inputs, outputs, kernel_init=init, rngs=rngs)

        self.first = layer(OBSERVATION, width, 2**0.5)
        self.second = layer(width, width, 2**0.5)
        self.output = layer(width, outputs, gain)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.output(jax.nn.tanh(self.second(jax.nn.tanh(self.first(x)))))


class Agent(nnx.Module):
    """Maps observations to the logits of the two actions, and to the value."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.policy = Network(width, ACTIONS, 0.01, rngs=rngs)
        self.value = Network(width, 1, 1.0, rngs=rngs)

    def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self.policy(observation), self.value(observation)[..., 0]


def init(width: int, key: jax.Array) -> tuple[Callable, Any]:
    """Returns (params, observation) -> (logits, value), and initial parameters."""
    graphdef, params = nnx.split(Agent(width, rngs=nnx.Rngs(key)))

    def apply(params: Any, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        return nnx.merge(graphdef, params)(observation)

    return apply, nnx.as_pure(params)

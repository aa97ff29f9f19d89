"""Whether the sharpness is a linear function of the loss.

F. Alimisis et al., "Why Do We Need Warm-up? A Theoretical Perspective", 2025,
arXiv:2510.03164: the curvature is at most H0 + H1 (loss - least loss).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optax_warmup as ow

from .networks import losses, network

POINTS, EVERY = 60, 10  # points, and updates between them
SEEDS = 3
CASES = {  # activation, gain of the weights, rate: far below the edge of stability
    "tanh, squared": (jnp.tanh, 1.0, 0.02),
    "relu, squared": (jax.nn.relu, 2**0.5, 0.01),
    "tanh, cross-entropy": (jnp.tanh, 1.0, 0.05),
    "relu, cross-entropy": (jax.nn.relu, 2**0.5, 0.02),
}


def correlations(case: str, points: int = POINTS) -> list[float]:
    """Of the two along gradient descent, by seed."""
    activation, gain, rate = CASES[case]
    loss = losses(activation)[case.split(", ")[1]]

    def update(params: Any, _: None) -> tuple[Any, None]:
        gradients = jax.grad(loss)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, gradients), None

    def measure(params: Any, _: None) -> tuple[Any, Any]:
        found = ow.curvature.sharpness(loss, params, iterations=24).value
        later, _ = jax.lax.scan(update, params, length=EVERY)
        return later, (loss(params), found)

    def run(seed: jax.Array) -> Any:
        params = network(jax.random.key(seed), gain)
        return jax.lax.scan(measure, params, length=points)[1]

    values, sharpness = map(np.asarray, jax.jit(jax.vmap(run))(jnp.arange(SEEDS)))
    return [
        float(np.corrcoef(one, other)[0, 1])
        for one, other in zip(values, sharpness, strict=True)
    ]

"""Where full-batch Adam settles: its rate times its sharpness.

A small version of figure 1 of J. Cohen et al., "Adaptive Gradient Methods at the Edge
of Stability", 2022, arXiv:2207.14484.
"""

from typing import Any

import jax
import numpy as np
import optax

import optax_warmup as ow

from .networks import losses, network

UPDATES, EVERY = 8000, 250
LAST = 8  # of the measurements, that count
CASES = (  # b1, b2, rate
    (0.9, 0.99, 1e-3),
    (0.9, 0.999, 1e-3),
    (0.9, 0.99, 3e-4),
    (0.5, 0.99, 1e-3),
    (0.0, 0.99, 1e-3),
)


def at_the_end(
    b1: float, b2: float, rate: float, updates: int = UPDATES
) -> list[float]:
    """The rate times the sharpness that Adam sees, at the last measurements."""
    optimizer, loss = optax.adam(rate, b1=b1, b2=b2), losses()["squared"]

    def update(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    def measure(carry: Any, _: None) -> tuple[Any, jax.Array]:
        carry, _ = jax.lax.scan(update, carry, length=EVERY)
        found = ow.curvature.sharpness(loss, *carry, b1=b1, b2=b2, iterations=24)
        return carry, found.value

    params = network(jax.random.key(0))
    begin = params, optimizer.init(params)
    train = jax.jit(lambda begin: jax.lax.scan(measure, begin, length=updates // EVERY))
    _, sharpness = train(begin)
    last: list[float] = (rate * np.asarray(sharpness, float)[-LAST:]).tolist()
    return last

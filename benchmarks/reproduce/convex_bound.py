"""The bound of a schedule from convex optimization.

Theorem 1 of F. Schaipp et al., "The Surprising Agreement Between Convex Optimization
Theory and Learning-Rate Scheduling for Large Model Training", 2025, arXiv:2501.18965,
for gradients and a distance of norm 1.
"""

import jax
import jax.numpy as jnp
import optax

import optax_warmup as ow

STEPS = 100
SCHEDULES = {
    "linear": ow.transition(1.0, 0.0, STEPS),
    "cosine": ow.transition(1.0, 0.0, STEPS, ow.shapes.cosine),
    "WSD, 20 %": ow.wsd(1.0, 0, STEPS, STEPS // 5),
    "constant": ow.constant(1.0),
}


def parts(rates: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What falls with the rates, and what grows with them."""
    rest = jnp.cumsum(rates[::-1])[::-1]  # rates from each update on
    squares = jnp.cumsum((rates**2)[::-1])[::-1]
    later = jnp.sum(rates[:-1] / rest[1:] * squares[:-1] / rest[:-1])
    return 1 / (2 * rest[0]), squares[0] / (2 * rest[0]) + later / 2


def tuned(schedule: ow.Schedule, steps: int = STEPS) -> float:
    """The bound of a schedule at the peak rate that makes it least."""
    falls, grows = parts(schedule(jnp.arange(steps)))
    return float(2 * jnp.sqrt(falls * grows))


def optimised(updates: int = 4000) -> tuple[float, list[float]]:
    """Gradient descent on the rates, from a constant: the bound, and the rates at 25,
    50 and 75 % of the run as shares of the first."""
    optimizer = optax.adam(ow.warmup_cosine(0.02, 0, updates))

    def bound(logs: jax.Array) -> jax.Array:
        return sum(parts(jnp.exp(logs)), start=jnp.float32(0))

    def update(carry: tuple, _: None) -> tuple[tuple, None]:
        logs, state = carry
        updates, state = optimizer.update(jax.grad(bound)(logs), state)
        return (optax.apply_updates(logs, updates), state), None

    @jax.jit
    def descend(logs: jax.Array) -> jax.Array:
        begin = logs, optimizer.init(logs)
        (logs, _), _ = jax.lax.scan(update, begin, length=updates)
        return logs

    logs = descend(jnp.full(STEPS, jnp.log(0.05)))
    shares = jnp.exp(logs - logs[0])[jnp.array([25, 50, 75])]
    return float(bound(logs)), shares.tolist()

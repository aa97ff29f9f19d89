"""The model problem: the exact risk of one-pass SGD on linear regression.

Inputs x are Gaussian, with eigenvalues lambda_j = j**-beta of their covariance. Targets
are <w, x> plus noise of variance 1, with lambda_j w_j**2 = j**-(s beta + 1). SGD from 0
sees each example once. The expected square v_j of each coordinate's error then follows,
exactly,

    v_j <- (1 - rate lambda_j)**2 v_j
           + rate**2 lambda_j (lambda_j v_j + sum_k lambda_k v_k + 1) / batch

and the excess risk is sum_k lambda_k v_k. Without noise in the gradient it falls like
(sum of rates)**-s: the smaller the source exponent s, the harder the task.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Task(NamedTuple):
    """The exponents of a task.

    Attributes:
        beta: the capacity exponent, > 1: how fast the eigenvalues fall.
        s: the source exponent, > 0: how much of the target lies in the first of them.
    """

    beta: float
    s: float

    @property
    def hard(self) -> bool:
        """Whether learning the signal limits the risk, and not forgetting the noise."""
        return self.s < 1 - 1 / self.beta

    @property
    def power(self) -> float:
        """The exponent of the best decay of an easy task, for long runs."""
        return 2 * self.beta - 1

    def __str__(self) -> str:
        kind = "hard" if self.hard else "easy"
        return f"{kind}, beta {self.beta:g}, s {self.s:g}"


def risk(
    task: Task, rates: jax.Array, dimension: int, batch_size: int = 1
) -> jax.Array:
    """The excess risk after updates with these rates, shape (steps,)."""
    index = jnp.arange(1, dimension + 1, dtype=jnp.float32)
    eigenvalues = index**-task.beta
    start = index ** -(task.s * task.beta + 1) / eigenvalues

    def update(errors: jax.Array, rate: jax.Array) -> tuple[jax.Array, None]:
        noise = jnp.sum(eigenvalues * errors) + 1
        spread = eigenvalues * (eigenvalues * errors + noise) / batch_size
        return (1 - rate * eigenvalues) ** 2 * errors + rate**2 * spread, None

    errors, _ = jax.lax.scan(update, start, rates)
    return jnp.sum(eigenvalues * errors)

"""Learning rates that the curvature allows: thresholds, and a search on a line."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check


def stability_threshold(
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
    *,
    averaged: bool = True,
    nesterov: bool = False,
) -> ArrayLike:
    """The sharpness beyond which training is unstable at a learning rate.

    With eta = learning_rate and b = momentum, for a quadratic loss:
    averaged momentum, as in Adam (m <- b m + (1 - b) g):  (2 + 2 b) / ((1 - b) eta)
    heavy ball, as in optax.trace (m <- b m + g):          (2 + 2 b) / eta
    the same with Nesterov's step:                         (2 + 2 b) / ((1 + 2 b) eta)
    no momentum:                                           2 / eta

    Compare it with `sharpness`: with that of the preconditioned Hessian for Adam. With
    small batches training swings well below the edge, so far below is no proof.

    Args:
        learning_rate: > 0; may be traced or an array.
        momentum: b (b1 of Adam), in [0, 1); may be traced or an array.
        averaged: whether the momentum is an average, as Adam's is, or a sum.
        nesterov: whether a sum takes Nesterov's step; an average does not.

    Returns:
        The threshold, of the arguments' shape.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range; `nesterov` with `averaged`.

    Example:
        >>> import optax_warmup as ow
        >>> round(ow.curvature.stability_threshold(1.0, 0.9), 6)  # Adam
        38.0
        >>> ow.curvature.stability_threshold(0.5)  # gradient descent
        4.0

    Source: J. Cohen et al., "Adaptive Gradient Methods at the Edge of Stability", 2022,
    arXiv:2207.14484, section 2.
    """
    owner = "stability_threshold"
    learning_rate = _check.number(owner, "learning_rate", learning_rate, above=0)
    momentum = _check.number(owner, "momentum", momentum, minimum=0, below=1)
    if nesterov and averaged:
        raise ValueError(
            f"{owner}: nesterov=True is for momentum that is a sum; pass averaged=False"
            " with it (optax.sgd(..., nesterov=True))."
        )
    if averaged:
        return (2 + 2 * momentum) / ((1 - momentum) * learning_rate)
    return (2 + 2 * momentum) / ((1 + 2 * momentum * nesterov) * learning_rate)


class CriticalRate(NamedTuple):
    """What `critical_learning_rate` found.

    Attributes:
        critical: the rate from which on a step along the update would raise the loss;
            `largest` where none up to it does; 0 where the smallest does. Shape ().
        best: of the rates that were tried, the one with the lowest loss. Shape ().
        loss: the loss before the step. Shape ().

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> params = jnp.float32(1)
        >>> found = ow.curvature.critical_learning_rate(jnp.square, params, -params)
        >>> round(found.critical.item(), 2)
        2.0
    """

    critical: jax.Array
    best: jax.Array
    loss: jax.Array


def critical_learning_rate(
    loss_fn: Callable[[Any], jax.Array],
    params: optax.Params,
    updates: optax.Updates,
    *,
    smallest: float = 1e-6,
    largest: float = 1e3,
    refinements: int = 8,
) -> CriticalRate:
    """The rate from which on a step along an update raises the loss.

    It takes forward passes only. The rate doubles from `smallest` until
    loss(params + rate * updates) exceeds loss(params), and is then found by bisection.
    The rates that are useful in training lie below it, for Adam far below; `best` is
    the better guide there.

    Args:
        loss_fn: maps parameters to a loss of shape (), on data of your choice.
        params: where to start, a tree of floating arrays.
        updates: a tree like it, pointing downhill: what the optimizer would add at a
            learning rate of 1.
        smallest: the first rate, > 0.
        largest: the search ends there, > smallest.
        refinements: bisections, >= 0; each halves the error, of at most a factor of 2
            before.

    Returns:
        A `CriticalRate`.

    Raises:
        TypeError: a number is none.
        ValueError: a number is out of its range.

    Example:
        >>> import jax, jax.numpy as jnp, optax_warmup as ow
        >>> loss = lambda p: jnp.sum(p**2)
        >>> params = jnp.ones(3)
        >>> found = ow.curvature.critical_learning_rate(loss, params, -jax.grad(loss)(params))
        >>> round(found.critical.item(), 2)  # gradient descent: 2 / sharpness
        1.0

    Source: D. Kalra and M. Barkeshli, "Why Warmup the Learning Rate? Underlying
    Mechanisms and Improvements", 2024, arXiv:2406.09405, section 6.
    """
    owner = "critical_learning_rate"
    smallest = float(_check.number(owner, "smallest", smallest, above=0))
    largest = float(_check.number(owner, "largest", largest, above=smallest))
    refinements = int(_check.length(owner, "refinements", refinements))
    before = loss_fn(params)

    def loss_at(rate: jax.Array) -> jax.Array:
        moved = jax.tree.map(
            lambda p, u: p + (rate * u).astype(p.dtype), params, updates
        )
        return loss_fn(moved)

    def better(best: Any, rate: jax.Array, loss: jax.Array) -> Any:
        return jax.tree.map(
            lambda old, new: jnp.where(loss < best[1], new, old), best, (rate, loss)
        )

    def below(loss: jax.Array) -> jax.Array:
        return loss <= before  # a NaN is above

    def grow(carry: Any) -> Any:
        rate, _, best = carry
        loss = loss_at(2 * rate)
        return 2 * rate, loss, better(best, 2 * rate, loss)

    first = jnp.float32(smallest)
    loss = loss_at(first)
    start = (first, loss, better((jnp.float32(0), before), first, loss))
    rate, loss, best = jax.lax.while_loop(
        lambda carry: below(carry[1]) & (2 * carry[0] <= largest), grow, start
    )

    def bisect(carry: Any, _: None) -> tuple[Any, None]:
        low, high, best = carry
        middle = (low + high) / 2
        loss = loss_at(middle)
        low = jnp.where(below(loss), middle, low)
        high = jnp.where(below(loss), high, middle)
        return (low, high, better(best, middle, loss)), None

    low = jnp.where(rate > first, rate / 2, 0)
    (low, high, best), _ = jax.lax.scan(
        bisect, (low, rate, best), None, length=refinements
    )
    never = below(loss)
    at_once = (rate == first) & ~never
    critical = jnp.where(never, largest, jnp.where(at_once, 0, (low + high) / 2))
    return CriticalRate(critical, best[0], before)

"""Learning rates that the curvature allows: thresholds, and a line search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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
    """Returns the sharpness above which training is unstable at a learning rate.

    With eta = learning_rate and b = momentum, for a quadratic loss:
    averaged momentum, as in Adam (m <- b m + (1 - b) g):  (2 + 2 b) / ((1 - b) eta)
    heavy ball, as in optax.trace (m <- b m + g):          (2 + 2 b) / eta
    the same with Nesterov's step:                         (2 + 2 b) / ((1 + 2 b) eta)
    no momentum:                                           2 / eta

    Compare it with `sharpness`, for Adam with that of the preconditioned Hessian. With
    small batches training can oscillate well below the threshold, so a low sharpness
    does not prove that the rate is harmless.

    Args:
        learning_rate: > 0; may be traced or an array.
        momentum: b (b1 of Adam), in [0, 1); may be traced or an array.
        averaged: whether the momentum is an average, as in Adam, or a sum.
        nesterov: whether a sum takes Nesterov's step; only with averaged=False.

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
    _check.flag(owner, "averaged", averaged)
    _check.flag(owner, "nesterov", nesterov)
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


def require_alike(owner: str, params: Any, name: str, other: Any) -> None:
    """Refuses parameters that are no arrays, and a tree that is not like them."""
    for leaf in jax.tree.leaves(params):
        if not (hasattr(leaf, "dtype") and _check.is_real(leaf.dtype)):
            raise TypeError(
                f"{owner}: params must be a tree of arrays of real numbers, got "
                f"{leaf!r}."
            )
    shapes, others = (jax.tree.map(np.shape, tree) for tree in (params, other))
    if shapes != others:
        raise ValueError(
            f"{owner}: {name} must be a tree like params, with arrays of the same "
            f"shapes, got shapes {others} for {shapes}."
        )


class CriticalRate(NamedTuple):
    """What `critical_learning_rate` found.

    Attributes:
        critical: the rate above which a step along the update raises the loss;
            `largest` if no rate up to that does; 0 if the smallest does. Shape ().
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
    """Returns the learning rate above which a step along an update raises the loss.

    It needs forward passes only. The rate doubles from `smallest` until
    loss(params + rate * updates) exceeds loss(params), and is then found by bisection.
    Useful rates for training lie below it, for Adam far below; `best` is the better
    guide there.

    Args:
        loss_fn: maps parameters to a loss of shape (), on data of your choice.
        params: the point to start from, a tree of floating-point arrays.
        updates: a tree like it, pointing downhill: what the optimizer would add at a
            learning rate of 1.
        smallest: the first rate, > 0.
        largest: where the search ends, > smallest.
        refinements: bisections, >= 0; each halves the error, which is at most a factor
            of 2 before them.

    Returns:
        A `CriticalRate`.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range.

    Example:
        >>> import jax, jax.numpy as jnp, optax_warmup as ow
        >>> loss = lambda p: jnp.sum(p**2)
        >>> params = jnp.ones(3)
        >>> downhill = -jax.grad(loss)(params)
        >>> found = ow.curvature.critical_learning_rate(loss, params, downhill)
        >>> round(found.critical.item(), 2)  # gradient descent: 2 / sharpness
        1.0

    Source: D. Kalra and M. Barkeshli, "Why Warmup the Learning Rate? Underlying
    Mechanisms and Improvements", 2024, arXiv:2406.09405, section 6.
    """
    owner = "critical_learning_rate"
    smallest = _check.scalar(owner, "smallest", smallest, above=0)
    largest = _check.scalar(owner, "largest", largest, above=0)
    _check.ordered(owner, "smallest", smallest, "largest", largest)
    refinements = _check.count(owner, "refinements", refinements)
    _check.function(owner, "loss_fn", loss_fn, "params")
    require_alike(owner, params, "updates", updates)
    loss_at = _loss_on_line(loss_fn, params, updates)
    before = loss_fn(params)
    bracket = doubled(loss_at, before, smallest, largest)
    bracket = bisected(loss_at, before, bracket, refinements)
    critical = (bracket.low + bracket.high) / 2
    critical = jnp.where(bracket.never, largest, critical)
    critical = jnp.where(bracket.at_once, 0, critical)
    return CriticalRate(critical, bracket.best, before)


class Bracket(NamedTuple):
    """Where the critical rate lies, and the best of the rates that were tried.

    Attributes:
        low: a rate that does not raise the loss.
        high: a larger one that does, unless `never`.
        best: the rate with the lowest loss so far.
        best_loss: that loss.
        never: whether no rate up to the largest raised the loss.
        at_once: whether the smallest did.
    """

    low: jax.Array
    high: jax.Array
    best: jax.Array
    best_loss: jax.Array
    never: jax.Array
    at_once: jax.Array

    def tried(self, rate: jax.Array, loss: jax.Array) -> Bracket:
        """The same, with a rate whose loss is known."""
        better = loss < self.best_loss
        return self._replace(
            best=jnp.where(better, rate, self.best),
            best_loss=jnp.where(better, loss, self.best_loss),
        )


def _loss_on_line(
    loss_fn: Callable[[Any], jax.Array], params: Any, updates: Any
) -> Callable[[jax.Array], jax.Array]:
    """The loss after a step along the updates, as a function of the rate."""

    def loss_at(rate: jax.Array) -> jax.Array:
        moved = jax.tree.map(
            lambda p, u: p + (rate * u).astype(p.dtype), params, updates
        )
        return loss_fn(moved)

    return loss_at


def doubled(
    loss_at: Callable[[jax.Array], jax.Array],
    before: jax.Array,
    smallest: float,
    largest: float,
) -> Bracket:
    """Doubles the rate until the loss exceeds that before; a NaN exceeds it too."""

    def grow(carry: tuple[Bracket, jax.Array]) -> tuple[Bracket, jax.Array]:
        bracket, _ = carry
        rate = 2 * bracket.high
        loss = loss_at(rate)
        return bracket._replace(low=bracket.high, high=rate).tried(rate, loss), loss

    def may_grow(carry: tuple[Bracket, jax.Array]) -> jax.Array:
        bracket, loss = carry
        return (loss <= before) & (2 * bracket.high <= largest)

    first = jnp.float32(smallest)
    loss = loss_at(first)
    zero, no = jnp.zeros_like(first), jnp.zeros((), bool)
    start = Bracket(zero, first, zero, before, no, ~(loss <= before))
    bracket, loss = jax.lax.while_loop(may_grow, grow, (start.tried(first, loss), loss))
    return bracket._replace(never=loss <= before)


def bisected(
    loss_at: Callable[[jax.Array], jax.Array],
    before: jax.Array,
    bracket: Bracket,
    refinements: int,
) -> Bracket:
    """Halves the bracket some times."""

    def bisect(bracket: Bracket, _: None) -> tuple[Bracket, None]:
        middle = (bracket.low + bracket.high) / 2
        loss = loss_at(middle)
        below = loss <= before
        bracket = bracket.tried(middle, loss)
        return bracket._replace(
            low=jnp.where(below, middle, bracket.low),
            high=jnp.where(below, bracket.high, middle),
        ), None

    bracket, _ = jax.lax.scan(bisect, bracket, None, length=refinements)
    return bracket

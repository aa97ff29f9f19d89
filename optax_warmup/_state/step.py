"""How many updates an optimizer has done, read from its state."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_warmup import _check
from optax_warmup._state.declared import declared, declares
from optax_warmup._state.find import bare, children, find
from optax_warmup._state.passed import require_state

INJECTED = (optax.InjectHyperparamsState, optax.InjectStatefulHyperparamsState)
# Fields that count updates; what else is called "count" may count other things.
_COUNTS = ("count", "gradient_step")


def step_count(opt_state: optax.OptState) -> jax.Array | int:
    """Returns the number of updates that an optimizer has done.

    That is the count of its learning rate's schedule, or else that of its moments.
    Inside `optax.MultiSteps` updates are counted, not the gradients.

    Args:
        opt_state: the state of an optimizer, or what holds it, such as a flax
            `nnx.Optimizer` or `TrainState`.

    Returns:
        A Python int; where the state is traced, or has axes of a `vmap`, an int32 array
        of shape () or with these axes.

    Raises:
        ValueError: nothing in the state counts updates, or two schedules of learning
            rates count differently.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = optax.adamw(ow.warmup_cosine(0.1, 2, 10))
        >>> params = jnp.ones(3)
        >>> _, state = optimizer.update(params, optimizer.init(params), params)
        >>> ow.runs.step_count(state)
        1
    """
    require_state("step_count", opt_state)
    rates, others = clocks(opt_state)
    found = rates or others
    if not found:
        raise ValueError(
            "step_count: nothing in opt_state counts updates, as the optimizer has "
            "neither a schedule nor moments with a count. Put optax_warmup."
            "scale_by_learning_rate(rate) in place of its constant learning rate."
        )
    if rates and not agree(rates):
        counts = ", ".join(f"{int(n)} at {path}" for path, n in rates.items())
        raise ValueError(
            f"step_count: the schedules in opt_state count differently: {counts}. Pass "
            "the part of the state that you want."
        )
    return _readable(next(iter(rates.values())) if rates else _largest(others))


def clocks(opt_state: Any) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """The counts of learning rates' schedules, and all others, by path."""
    accumulating = find(opt_state, optax.MultiStepsState)
    if accumulating:  # outside of it, gradients are counted
        steps = {path: bare(x.gradient_step) for path, x in accumulating.items()}
        return steps, {}
    rates: dict[str, jax.Array] = {}
    others: dict[str, jax.Array] = {}
    _collect(opt_state, "", rates, others)
    return rates, others


def agree(counts: dict[str, jax.Array]) -> bool:
    """Whether all counts are the same, as far as their values are known."""
    known = [x for x in counts.values() if not _check.is_traced(x) and jnp.ndim(x) == 0]
    return len({int(x) for x in known}) <= 1


def is_injected(node: Any) -> bool:
    """Whether a state is that of `optax.inject_hyperparams`."""
    return isinstance(node, INJECTED)


def is_rate_clock(node: Any) -> bool:
    """Whether a state counts the steps of a learning rate's schedule."""
    if declares(node, "is_learning_rate"):
        return bool(declared(node, "is_learning_rate"))
    return isinstance(node, optax.ScaleByScheduleState) or is_injected(node)


def _collect(node: Any, path: str, rates: Any, others: Any) -> None:
    for name in getattr(node, "_fields", ()):
        value = getattr(node, name)
        if name in _COUNTS and len(jax.tree.leaves(value)) == 1:
            count = bare(value)
            if jnp.issubdtype(jnp.result_type(count), jnp.integer):
                (rates if is_rate_clock(node) else others)[path] = count
    for name, child in children(node).items():
        if child is not node:
            _collect(child, f"{path}/{name}" if path else name, rates, others)


def _largest(counts: dict[str, jax.Array]) -> jax.Array:
    largest, *more = (jnp.asarray(count) for count in counts.values())
    for count in more:
        largest = jnp.maximum(largest, count)
    return largest


def _readable(count: Any) -> jax.Array | int:
    if _check.is_traced(count) or jnp.ndim(count):
        return jnp.asarray(count)
    return int(count)

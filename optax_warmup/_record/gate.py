"""The gate: measure where a step is due, and cost nothing where it is not."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def measured_if(
    due: jax.Array, measure: Callable[..., Any], old: Any, *operands: Any
) -> Any:
    """measure(*operands) where `due`, else `old`, of the same structure.

    Three things keep the step that is not due free:
    - the branch not taken returns an operand; zeros built there would let XLA turn the
      conditional into a select, which measures at every step;
    - under vmap a conditional becomes a select as well, so the batching rule asks
      whether any replica is due and measures all of them then, or none;
    - no derivative flows through a record, and a custom batching rule has none.
    """
    old, operands = jax.lax.stop_gradient((old, operands))

    @jax.custom_batching.custom_vmap
    def gated(due: jax.Array, old: Any, operands: Any) -> Any:
        return jax.lax.cond(
            due, lambda old, ops: measure(*ops), lambda old, ops: old, old, operands
        )

    @gated.def_vmap
    def gated_replicas(
        size: int, batched: Any, due: jax.Array, old: Any, operands: Any
    ) -> tuple[Any, Any]:
        axes = jax.tree.map(lambda b: 0 if b else None, batched[2])
        due = jnp.broadcast_to(due, (size,)) if not batched[0] else due
        old = jax.tree.map(
            lambda x, b: x if b else jnp.broadcast_to(x, (size, *x.shape)),
            old,
            batched[1],
        )

        def measure_all(old: Any, operands: Any) -> Any:
            new = jax.vmap(lambda ops: measure(*ops), (axes,), axis_size=size)(operands)
            return jax.tree.map(lambda n, o: jax.vmap(jnp.where)(due, n, o), new, old)

        rows = jax.lax.cond(
            jnp.any(due), measure_all, lambda old, ops: old, old, operands
        )
        return rows, jax.tree.map(lambda _: True, rows)

    return gated(due, old, operands)

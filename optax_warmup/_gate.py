"""The gate: measure where a step is due, and cost nothing where it is not."""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp

from optax_warmup import _check


def measured_if(
    due: jax.Array, measure: Callable[..., Any], old: Any, *operands: Any
) -> Any:
    """measure(*operands) where `due`, else `old`, of the same structure; None: zeros.

    Three things keep the step that is not due free:
    - the branch not taken returns an operand; zeros built there would let XLA turn the
      conditional into a select, which measures at every step;
    - under vmap a conditional becomes a select as well, so the batching rule asks
      whether any replica is due and measures all of them then, or none;
    - no derivative flows through a record, and a custom batching rule has none.
    """
    if not _check.is_traced(due) and not due:
        # Called outside of jit, where a conditional would be compiled at every call.
        return old if old is not None else _zeros(jax.eval_shape(measure, *operands))
    old, operands = jax.lax.stop_gradient((old, operands))
    if not _check.is_traced(due):
        return measure(*operands)
    measure, shape, operands = _without_closure(measure, operands)
    if old is None:
        old = _zeros(shape)

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


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def _without_closure(
    measure: Callable[..., Any], operands: tuple[Any, ...]
) -> tuple[Callable[..., Any], Any, tuple[Any, ...]]:
    """The same measurement with all that it closes over among its operands.

    And the shapes of its result.

    A custom batching rule must be told of every traced value, and an optimizer may
    close over some: the rates of a sweep, for example.
    """
    traced, shape = jax.make_jaxpr(measure, return_shape=True)(*operands)
    structure = jax.tree.structure(shape)
    jaxpr = _needed(traced.jaxpr)

    def explicit(consts: list[Any], *operands: Any) -> Any:
        core: Any = jax.extend.core  # jax 0.12 has it there, but not for a type checker
        closed = core.ClosedJaxpr(jaxpr, consts)
        values = jax.extend.core.jaxpr_as_fun(closed)(*jax.tree.leaves(operands))
        return jax.tree.unflatten(structure, values)

    return explicit, shape, (jax.lax.stop_gradient(traced.consts), *operands)


def _needed(jaxpr: jax.extend.core.Jaxpr) -> jax.extend.core.Jaxpr:
    """The operations that the result needs: XLA would find them as well, but later."""
    needed = {id(var) for var in jaxpr.outvars}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if any(id(var) in needed for var in equation.outvars):
            needed |= {id(var) for var in equation.invars}
            kept.append(equation)
    shorter: jax.extend.core.Jaxpr
    shorter = jaxpr.replace(eqns=kept[::-1])  # type: ignore[no-untyped-call]
    return shorter


_LARGE = 2**14  # coordinates; a copy of fewer costs nothing


def measured_first(
    due: jax.Array, measure: Callable[..., Any], tree: Any, *operands: Any
) -> tuple[Any, Any]:
    """`measured_if` with zeros, and `tree`, bit for bit, for what must come after it.

    Where something reads an array that an update overwrites in place, XLA copies the
    array unless the data say which comes first; a barrier does not (XLA:CPU drops it
    too early). So the array is made to depend on the measurement, which also says
    whether a number has fewer than 0 leading zeros: XLA does not know that none has.
    It is subtracted: a choice by it would change how XLA:CPU rounds what comes next.
    """

    def measure_and_say(*operands: Any) -> tuple[Any, jax.Array]:
        measured = measure(*operands)
        return measured, _never(jax.tree.leaves(measured))

    measured, never = measured_if(due, measure_and_say, None, *operands)

    def tied(x: Any) -> Any:
        if not isinstance(x, jax.Array) or not jnp.issubdtype(x.dtype, jnp.inexact):
            return x  # no update overwrites a number or an array of NumPy
        return x - _if_large(never, x.size).astype(x.dtype)

    return measured, jax.tree.map(tied, tree)


def _if_large(never: jax.Array, size: int) -> jax.Array:
    """`never` for an array of so many coordinates in all replicas, 0 for a small one.

    XLA drops the 0.
    """

    @jax.custom_batching.custom_vmap
    def chosen(never: jax.Array) -> jax.Array:
        return never if size >= _LARGE else jnp.zeros_like(never)

    @chosen.def_vmap
    def of_replicas(
        replicas: int, batched: Any, never: jax.Array
    ) -> tuple[jax.Array, bool]:
        return _if_large(never, size * replicas), True

    result: jax.Array = chosen(never)
    return result


def _never(arrays: list[jax.Array]) -> jax.Array:
    first = next((x for x in arrays if x.size), jnp.zeros(()))
    number = jnp.ravel(first)[0].real.astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(number, jnp.int32)
    return jnp.less(jax.lax.clz(bits), 0)

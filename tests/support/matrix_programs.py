"""What a program of the matrix carries from step to step, and on which devices."""

import contextlib
import dataclasses
import functools
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from compiled import quickly
from flax import nnx
from flax.training.train_state import TrainState
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from matrix_cases import name_of


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["w", "rest"], meta_fields=["name"]
)
@dataclasses.dataclass
class Layer:
    """As Equinox makes them: a tree with a static field."""

    w: Any
    rest: dict
    name: str = "layer"


class Model(nnx.Module):
    def __init__(self, params):
        for name, x in params.items():
            setattr(self, name, nnx.Param(x))


class Carry(NamedTuple):
    """What a step takes and gives, and how to read it.

    Attributes:
        first: that of before the first update.
        step: (carry, gradients, extra) -> carry, updates or None.
        parameters: of a carry, by name.
        state: the optimizer's state of a carry, or what holds it.
    """

    first: Any
    step: Any
    parameters: Any
    state: Any


def bare(optimizer, params, into=lambda tree: tree, out=lambda tree: tree):
    def step(carry, grads, extra):
        params, state = carry
        updates, state = optimizer.update(into(grads), state, params, **extra)
        return (optax.apply_updates(params, updates), state), out(updates)

    tree = into(params)
    return Carry(
        (tree, optimizer.init(tree)), step, lambda c: out(c[0]), lambda c: c[1]
    )


def dataclass(optimizer, params):
    def into(tree):
        rest = {name: x for name, x in tree.items() if name != "w"}
        return Layer(tree.get("w"), rest)

    def out(layer):
        return ({} if layer.w is None else {"w": layer.w}) | layer.rest

    return bare(optimizer, params, into, out)


def linen(optimizer, params):
    def step(carry, grads, extra):
        updates, state = carry.tx.update(grads, carry.opt_state, carry.params, **extra)
        params = optax.apply_updates(carry.params, updates)
        carry = carry.replace(step=carry.step + 1, params=params, opt_state=state)
        return carry, updates

    first = TrainState.create(apply_fn=None, params=params, tx=optimizer)
    first = first.replace(step=jnp.int32(0))
    return Carry(first, step, lambda c: c.params, lambda c: c)


def flax_nnx(optimizer, params):
    model = Model(params)
    holder = nnx.Optimizer(model, optimizer, wrt=nnx.Param)
    graph, first = nnx.split((model, holder))

    def step(carry, grads, extra):
        model, holder = nnx.merge(graph, carry)
        like = nnx.state(model, nnx.Param)
        leaves = [grads[name] for name in sorted(grads)]
        holder.update(
            model, jax.tree.unflatten(jax.tree.structure(like), leaves), **extra
        )
        return nnx.split((model, holder))[1], None

    def parameters(carry):
        model, _ = nnx.merge(graph, carry)
        return {name: getattr(model, name)[...] for name in params}

    return Carry(first, step, parameters, lambda c: nnx.merge(graph, c)[1])


CONTAINERS = {
    "bare": bare,
    "dataclass": dataclass,
    "linen": linen,
    "nnx": flax_nnx,
}


# Meshes


def placed(case, mesh, tree):
    """Arrays on their devices: "w" by rows or by columns, all others everywhere."""
    if case["mesh"] in ("one", "manual"):
        return jax.tree.map(jnp.asarray, tree)
    rows = zlib.crc32(name_of(case).encode()) % 2
    specs = {"w": P("d") if rows else P(None, "d")}
    return {
        name: x
        if x is None
        else jax.device_put(x, NamedSharding(mesh, specs.get(name, P())))
        for name, x in tree.items()
    }


def everywhere(case, mesh, tree):
    """The carry of a manual program begins on all its devices."""
    if case["mesh"] != "manual":
        return tree
    return jax.device_put(tree, NamedSharding(mesh, P()))


def compiled(case, mesh, step):
    if case["mesh"] == "manual":

        def replica(carry, grads, extra):
            mean = jax.tree.map(lambda g: jax.lax.pmean(g[0], "d"), grads)
            return step(carry, mean, extra)

        def step_of_all(carry, grads, extra):
            each = jax.tree.map(lambda g: jnp.broadcast_to(g, (4, *g.shape)), grads)
            return jax.shard_map(
                replica, mesh=mesh, in_specs=(P(), P("d"), P()), out_specs=P()
            )(carry, each, extra)
    else:
        step_of_all = step
    return quickly(step_of_all, donate_argnums=0)


@contextlib.contextmanager
def around(case):
    """The mesh of a case, and 64 bits where it asks for them."""
    kinds = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
    with jax.enable_x64(case["dtype"] == "float64"):
        if case["mesh"] == "one":
            yield None
            return
        kind = kinds.get(case["mesh"], AxisType.Auto)
        mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,))
        if case["mesh"] == "manual":
            yield mesh
            return
        with jax.set_mesh(mesh):
            yield mesh

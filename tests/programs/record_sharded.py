"""The record on four virtual devices: run by tests/test_record_sharded.py."""

import collections
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import optax_warmup as ow

STEPS = 6
MESH = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
KEYS = jax.random.split(jax.random.key(0), STEPS)
SAMPLES = 512
PARAMS = {f"w{i}": jnp.full((16, 8), 0.1 + i) for i in range(5)} | {"b": jnp.ones(8)}
PARAMS |= {"rows": jnp.full((128, 96), 0.1), "columns": jnp.full((96, 128), 0.1)}
SPECS = {name: P("data") if x.ndim == 2 else P() for name, x in PARAMS.items()}
SPECS["columns"] = P(None, "data")
# Rate and decay are solved for; nothing in these parameters tells them well apart.
ATOL = collections.defaultdict(
    lambda: 1e-5, applied_decay=1e-4, applied_rate=1e-5, update_explained=1e-4
)


def gradients(step):
    return jax.tree.map(lambda x: x * jax.random.normal(KEYS[step], x.shape), PARAMS)


def adam():
    return optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(1e-3))


def train(optimizer, params, state, update):
    for step in range(STEPS):
        _, state = update(gradients(step), state, params)
    return ow.read_moments(state)


def assert_same(got, wanted):
    assert got.steps.tolist() == wanted.steps.tolist() == list(range(STEPS))
    for name, values in wanted.statistics.items():
        np.testing.assert_allclose(
            got.statistics[name], values, rtol=1e-5, atol=ATOL[name], err_msg=name
        )
    assert np.abs(got.histogram - wanted.histogram).max() <= 1


def fully_sharded(optimizer, wanted):
    """Parameters and moments sharded, the compiler places the collectives."""
    sharding = jax.tree.map(lambda spec: NamedSharding(MESH, spec), SPECS)
    replicated = NamedSharding(MESH, P())
    params = jax.device_put(PARAMS, sharding)
    state = optimizer.init(PARAMS)
    places = optax.tree.map_params(
        optimizer,
        lambda _, place: place,
        state,
        sharding,
        transform_non_params=lambda _: replicated,
    )
    state = jax.device_put(state, places)
    update = jax.jit(optimizer.update, out_shardings=(sharding, places))
    assert_same(train(optimizer, params, state, update), wanted)
    text = update.lower(params, state, params).compile().as_text()
    entry = text[text.index("\nENTRY") :]
    collectives = "all-reduce all-gather all-to-all collective-permute reduce-scatter"
    for name in collectives.split():
        assert f" {name}(" not in entry and f" {name}-start(" not in entry, name
    inside = re.findall(r" (all-\w+|collective-\w+|reduce-scatter)(?:-start)?\(", text)
    # of the sample before the update, of the sums and of the maxima after it
    assert inside == ["all-reduce"] * len(inside) and 1 <= len(inside) <= 3, inside
    # Of the matrices larger than SAMPLES only the sample travels.
    for line in text.splitlines():
        if " all-reduce(" in line:
            sizes = re.findall(r"f32\[([\d,]+)\]", line.split(" all-reduce(")[0])
            for size in sizes:
                assert np.prod(list(map(int, size.split(",")))) <= SAMPLES, line[:300]


def by_hand(wanted):
    """Inside shard_map, with the name of the axis."""
    params = {name: x for name, x in PARAMS.items() if name.startswith("w")}
    optimizer = ow.record_moments(adam(), axis_name="data")
    state = optimizer.init(params)
    specs = optax.tree.map_params(
        optimizer,
        lambda _, spec: spec,
        state,
        {name: SPECS[name] for name in params},
        transform_non_params=lambda _: P(),
    )
    sharded = {name: SPECS[name] for name in params}
    update = jax.jit(
        jax.shard_map(
            optimizer.update,
            mesh=MESH,
            in_specs=(sharded, specs, sharded),
            out_specs=(sharded, specs),
            check_vma=False,
        )
    )
    for step in range(STEPS):
        grads = {name: gradients(step)[name] for name in params}
        _, state = update(grads, state, params)
    history = ow.read_moments(state)
    for name, values in wanted.statistics.items():
        of_matrices = values[:, [wanted.groups.index(g) for g in history.groups]]
        np.testing.assert_allclose(
            history.statistics[name],
            of_matrices,
            rtol=1e-5,
            atol=ATOL[name],
            err_msg=name,
        )
    counted = history.histogram.sum(axis=-1)
    np.testing.assert_array_equal(counted, len(params) * 16 * 8)


def explicit(wanted, specs):
    """The default axes of `jax.make_mesh`: the type of an array says where it lies."""
    with jax.set_mesh(jax.make_mesh((4,), ("data",))):

        def placed(tree):
            return {name: jax.device_put(x, specs[name]) for name, x in tree.items()}

        params = placed(PARAMS)
        optimizer = ow.record_moments(adam(), samples=SAMPLES)
        update, state = jax.jit(optimizer.update), optimizer.init(params)
        for step in range(STEPS):
            updates, state = update(placed(gradients(step)), state, params)
        for name, x in params.items():
            assert updates[name].sharding.is_equivalent_to(x.sharding, x.ndim), name
        assert_same(ow.read_moments(state), wanted)


def replicas(wanted):
    """pmap: each device has all, and a record of its own."""
    optimizer = ow.record_moments(adam(), samples=SAMPLES)

    def everywhere(tree):
        return jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 4), tree)

    params, state = everywhere(PARAMS), everywhere(optimizer.init(PARAMS))
    update = jax.pmap(optimizer.update, axis_name="data")
    for step in range(STEPS):
        _, state = update(everywhere(gradients(step)), state, params)
    assert_same(ow.read_moments(jax.tree.map(lambda x: x[3], state)), wanted)


def main():
    assert jax.device_count() == 4
    optimizer = ow.record_moments(adam(), samples=SAMPLES)
    update = jax.jit(optimizer.update)
    wanted = train(optimizer, PARAMS, optimizer.init(PARAMS), update)
    fully_sharded(optimizer, wanted)
    by_hand(wanted)
    rows = {name: P("data") for name in PARAMS}
    last = {n: P(*[None] * (x.ndim - 1), "data") for n, x in PARAMS.items()}
    for specs in (rows, last, SPECS, dict.fromkeys(PARAMS, P())):
        explicit(wanted, specs)
    replicas(wanted)
    print("ok")


if __name__ == "__main__":
    main()

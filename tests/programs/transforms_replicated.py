"""All transforms in pmap and in two processes: run by tests/test_transform_modes.py.

transforms_replicated.py pmap               on four devices of one process
transforms_replicated.py process PORT N     on one device of each of two processes
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec as P

import optax_warmup as ow

STEPS, BAD = 7, 4
WHOLE = {
    "w": np.linspace(0.5, 2.0, 32, dtype=np.float32).reshape(8, 4),
    "b": np.linspace(-1.0, 1.0, 8, dtype=np.float32),
}


def optimizer():
    """Everything that the public transforms do, in the order that the docs advise."""
    adam = ow.clip_outliers(
        ow.clip_update_rms(ow.init_second_moment_from_gradient(optax.scale_by_adam()))
    )
    inner = optax.chain(
        optax.clip_by_global_norm(1.0),
        adam,
        optax.add_decayed_weights(0.1),
        ow.scale_by_learning_rate(ow.warmup_cosine(0.1, 3, 20, offset=1)),
        ow.restart_on_spike(ow.scale_by_warmup(ow.warmup(1.0, 4, offset=1))),
        ow.reduce_on_plateau(0.5, 1, rtol=0.0),
    )
    return ow.skip_nonfinite(ow.record_moments(ow.automatic_warmup(inner)))


def gradients(n):
    """Of all examples; at one step they are not finite."""
    grads = {name: np.cos(x + n).astype(np.float32) for name, x in WHOLE.items()}
    if n == BAD:
        grads["w"][1, 2] = np.nan
    return grads


def step(params, state, grads, loss):
    updates, state = optimizer().update(grads, state, params, value=loss)
    return optax.apply_updates(params, updates), state


def alone():
    """Parameters, rates and the record of one device."""
    params = jax.tree.map(jnp.asarray, WHOLE)
    state, rates = optimizer().init(params), []
    for n in range(STEPS):
        params, state = jax.jit(step)(params, state, gradients(n), jnp.float32(n))
        rates.append(ow.learning_rate(state))
    assert len(set(rates)) > STEPS - 3 and state.skipped == 1
    return params, rates, ow.read_moments(state)


def require_equal(history, wanted):
    np.testing.assert_array_equal(history.steps, wanted.steps)
    np.testing.assert_allclose(history.learning_rate, wanted.learning_rate, rtol=1e-5)
    for name, x in wanted.overall.items():
        np.testing.assert_allclose(
            history.overall[name], x, rtol=1e-3, atol=1e-5, err_msg=name
        )


def in_pmap():
    wanted, wanted_rates, record = alone()
    devices = jax.device_count()
    assert devices == 4

    def replica(params, state, grads, loss):
        grads = jax.tree.map(lambda g: jax.lax.pmean(g, "d"), grads)
        return step(params, state, grads, jax.lax.pmean(loss, "d"))

    train = jax.pmap(replica, axis_name="d")

    def copies(tree):
        return jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * devices), tree)

    params = copies(WHOLE)
    state = jax.pmap(optimizer().init)(params)
    for n in range(STEPS):
        # What a device sees differs from the mean.
        shares = jnp.arange(devices, dtype=jnp.float32) / 1.5
        grads = jax.tree.map(
            lambda g, shares=shares: jnp.tensordot(shares, g, axes=0), gradients(n)
        )
        params, state = train(params, state, grads, jnp.full(devices, float(n)))
        rates = ow.learning_rate(state)
        assert rates.shape == (devices,)
        np.testing.assert_allclose(rates, wanted_rates[n], rtol=1e-5)
    for name, x in wanted.items():
        np.testing.assert_allclose(params[name], np.stack([x] * devices), rtol=1e-4)
    require_equal(ow.read_moments(jax.tree.map(lambda x: x[0], state)), record)


def in_a_process(port, process):
    jax.distributed.initialize(
        f"127.0.0.1:{port}", 2, int(process), initialization_timeout=60
    )
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, everywhere = NamedSharding(mesh, P("d")), NamedSharding(mesh, P())

    def placed(tree, place):
        return jax.tree.map(
            lambda x: jax.make_array_from_callback(x.shape, place, lambda i: x[i]),
            tree,
        )

    params = placed(WHOLE, rows)

    def meet():
        jax.block_until_ready(jax.jit(lambda x: jnp.sum(x["b"]))(params))

    meet()  # before they compile: for the first time they wait 30 s at most
    state = jax.jit(optimizer().init)(params)
    train, rates = jax.jit(step, out_shardings=(rows, None)), []
    for n in range(STEPS):
        loss = placed(np.float32(n), everywhere)
        params, state = train(params, state, placed(gradients(n), rows), loss)
        rates.append(ow.learning_rate(state))
    history = ow.read_moments(state)
    own = {
        name: [(shard.index, np.asarray(shard.data)) for shard in x.addressable_shards]
        for name, x in params.items()
    }
    meet()  # as the shutdown does not wait long, either
    jax.distributed.shutdown()
    # What takes its time comes after what the other process waits for.
    with jax.default_device(jax.local_devices()[0]):
        wanted, wanted_rates, record = alone()
    np.testing.assert_allclose(rates, wanted_rates, rtol=1e-5)
    for name, x in wanted.items():
        for index, shard in own[name]:
            np.testing.assert_allclose(shard, np.asarray(x)[index], rtol=1e-4)
    require_equal(history, record)


if __name__ == "__main__":
    run = {"pmap": in_pmap, "process": in_a_process}[sys.argv[1]]
    run(*sys.argv[2:])
    print("ok")

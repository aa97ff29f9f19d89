"""Transforms on a mesh with explicit, auto and manual axes.

Run by tests/test_transform_modes.py, on four virtual devices.
"""

import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import optax_warmup as ow

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from compiled import quickly  # noqa: E402

PARAMS = {
    "w": jnp.linspace(0.5, 2.0, 32).reshape(8, 4),
    "b": jnp.linspace(-1.0, 1.0, 8),
}
SPECS = {
    "rows": {"w": P("d"), "b": P("d")},
    "columns": {"w": P(None, "d"), "b": P()},
    "replicated": {"w": P(), "b": P()},
    "mixed": {"w": P("d", None), "b": P()},
}
B2 = 0.95


def adam():
    return optax.scale_by_adam(b2=B2)


def chain():
    """Everything that acts on the updates, with clocks and factors."""
    return optax.chain(
        ow.clip_outliers(
            ow.clip_update_rms(
                ow.init_second_moment_from_gradient(adam()), threshold=0.9
            ),
            theta=2.0,
        ),
        ow.restart_on_spike(ow.scale_by_warmup(ow.warmup(1.0, 4, offset=1))),
        ow.scale_by_learning_rate(ow.warmup_cosine(0.1, 2, 10)),
        ow.reduce_on_plateau(0.5, 1),
    )


def rules():
    """Rows of w as stacked layers, on devices of their own where rows are split."""
    layers = ow.groups.layerwise_decay(0.5, embed=None, head="b", stacked="w")
    return optax.chain(
        adam(),
        ow.groups.scale_by_rules(
            layers, ow.warmup_cosine(0.1, 2, 10, offset=1), weight_decay=0.1
        ),
    )


OPTIMIZERS = {
    "rules": rules,
    "chain": chain,
    "skip": lambda: ow.skip_nonfinite(optax.adam(0.1)),
    "skip, accumulate": lambda: ow.skip_nonfinite(optax.MultiSteps(chain(), 2)),
    "restart": lambda: ow.restart_if(chain(), lambda state, **_: state.count == 2),
    "automatic": lambda: ow.automatic_warmup(optax.adam(0.1)),
}


def gradients():
    """Of every step; the third is not finite in a part that one device has."""
    grads = [
        jax.tree.map(lambda x, n=n: jnp.cos(x * (n + 1)), PARAMS) for n in range(4)
    ]
    grads[2]["b"] = grads[2]["b"].at[-1].set(jnp.nan)
    return grads


def train(optimizer, params, grads, compiled=quickly):
    @compiled
    def step(params, state, g):
        updates, state = optimizer.update(g, state, params, value=jnp.float32(1))
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for g in grads:
        params, state = step(params, state, g)
    return params, state


def main():
    assert jax.device_count() == 4
    for name, make in OPTIMIZERS.items():
        grads = gradients() if "skip" in name else gradients()[:2]
        wanted, wanted_state = train(make(), PARAMS, grads)
        for kind, placing in places_of(name):
            mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,))
            places = {n: NamedSharding(mesh, s) for n, s in SPECS[placing].items()}
            with jax.set_mesh(mesh):
                params, state = train(
                    make(),
                    jax.device_put(PARAMS, places),
                    [jax.device_put(g, places) for g in grads],
                )
            for got, want in ((params, wanted), (state, wanted_state)):
                chex.assert_trees_all_close(
                    jax.device_get(got), jax.device_get(want), rtol=2e-5
                )
            for leaf, place in places.items():
                kept = params[leaf].sharding
                assert kept.is_equivalent_to(place, PARAMS[leaf].ndim), (name, kept)
    manual()
    print("ok")


def places_of(name):
    """All on explicit axes for what once failed there, else some of each."""
    if name == "skip":
        return [(AxisType.Explicit, placing) for placing in SPECS]
    return [
        (AxisType.Explicit, "rows"),
        (AxisType.Explicit, "columns" if name == "chain" else "mixed"),
        (AxisType.Auto, "mixed"),
    ]


def manual():
    """Replicas inside shard_map, each with all parameters and the mean gradient."""
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    shares = jnp.array([0.5, 1.0, 1.5, 1.0])
    for name in ("rules", "chain", "skip, accumulate", "automatic"):
        make = OPTIMIZERS[name]
        grads = gradients() if "skip" in name else gradients()[:2]

        def replica(share, params, grads, make=make):
            mean = jax.tree.map(lambda g: jax.lax.pmean(share[0] * g, "d"), grads)
            return train(make(), params, mean, compiled=lambda step: step)

        run = jax.shard_map(
            replica, mesh=mesh, in_specs=(P("d"), P(), P()), out_specs=P()
        )
        got = quickly(run)(shares, PARAMS, grads)
        chex.assert_trees_all_close(got, train(make(), PARAMS, grads), rtol=2e-5)
    # Shards of the parameters, too, for what looks at single coordinates.
    run = jax.shard_map(
        lambda p, g: train(OPTIMIZERS["skip"](), p, g, lambda step: step)[0],
        mesh=mesh,
        in_specs=(SPECS["rows"], [SPECS["rows"]] * 2),
        out_specs=SPECS["rows"],
    )
    wanted, _ = train(OPTIMIZERS["skip"](), PARAMS, gradients()[:2])
    got = quickly(run)(PARAMS, gradients()[:2])
    chex.assert_trees_all_close(got, wanted, rtol=2e-5)


if __name__ == "__main__":
    main()

"""Every transform in every mode: jit, scan, vmap, bfloat16, donated, nnx, sharded."""

import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from devices import environment
from flax import nnx
from selection import parametrize

import optax_warmup as ow

pytestmark = pytest.mark.train

STEPS, B2 = 6, 0.95
PARAMS = {"w": jnp.linspace(0.5, 2.0, 6).reshape(2, 3), "b": jnp.ones(3)}
FACTOR = ow.warmup(1.0, 4, offset=1)


def adam():
    return optax.scale_by_adam(b2=B2)


TRANSFORMS = {
    "scale_by_warmup": lambda: optax.chain(adam(), ow.scale_by_warmup(FACTOR)),
    "rules": lambda: optax.chain(
        adam(),
        ow.groups.scale_by_rules(
            [
                ow.groups.Rule("b", decay_multiplier=0, multiplier=FACTOR),
                ow.groups.Rule("w", learning_rate=ow.warmup_cosine(0.1, 2, 100)),
            ],
            0.1,
            weight_decay=0.1,
        ),
    ),
    "seed": lambda: ow.init_second_moment_from_gradient(adam()),
    "clip_rms": lambda: ow.clip_update_rms(adam(), b2=B2, threshold=0.9),
    "clip_outliers": lambda: ow.clip_outliers(adam(), b2=B2, theta=2.0),
    "skip": lambda: ow.skip_nonfinite(adam()),
    "restart_if": lambda: ow.restart_if(
        optax.chain(adam(), ow.scale_by_warmup(FACTOR)),
        lambda state, **extra: state.count == 3,
    ),
    "restart_on_spike": lambda: ow.restart_on_spike(
        optax.chain(adam(), ow.scale_by_warmup(FACTOR)), decay=0.5
    ),
    "plateau": lambda: optax.chain(adam(), ow.reduce_on_plateau(0.5, 2)),
    "automatic": lambda: ow.automatic_warmup(
        optax.chain(adam(), ow.scale_by_learning_rate(0.5))
    ),
    "everything": lambda: ow.skip_nonfinite(
        optax.chain(
            optax.clip_by_global_norm(1.0),
            ow.clip_outliers(
                ow.clip_update_rms(ow.init_second_moment_from_gradient(adam()), b2=B2),
                b2=B2,
            ),
            optax.add_decayed_weights(0.1),
            ow.scale_by_learning_rate(ow.warmup_cosine(0.1, 2, 100)),
            ow.restart_on_spike(ow.scale_by_warmup(FACTOR), decay=0.5),
            ow.reduce_on_plateau(0.5, 2),
        )
    ),
}
composed = parametrize(
    "name", ["restart_if", "automatic", "everything"], quick=["everything"]
)


def gradients(dtype=jnp.float32, seed=0):
    """Of every step, stacked; the values spike at the fourth step."""
    keys = jax.random.split(jax.random.key(seed), 2)
    grads = {
        name: jax.random.normal(key, (STEPS, *x.shape), dtype)
        for key, (name, x) in zip(keys, PARAMS.items(), strict=True)
    }
    return grads, jnp.array([1.0, 1.1, 1.05, 9.0, 1.0, 1.0])


def cast(tree, dtype):
    return jax.tree.map(lambda x: x.astype(dtype), tree)


def scanned(optimizer, params, grads, values):
    def step(carry, now):
        params, state = carry
        updates, state = optimizer.update(now[0], state, params, value=now[1])
        return (optax.apply_updates(params, updates), state), updates

    return jax.lax.scan(step, (params, optimizer.init(params)), (grads, values))


@parametrize("name", TRANSFORMS, quick=5)
def test_steps_donated_one_by_one_equal_the_scan(name):
    """One structure from init on, one trace, and no buffer in it twice."""
    optimizer, (grads, values) = TRANSFORMS[name](), gradients()
    traces = []

    def step(params, state, g, value):
        traces.append(value)
        updates, state = optimizer.update(g, state, params, value=value)
        return optax.apply_updates(params, updates), state

    donating = quickly(step, donate_argnums=(0, 1))
    params = jax.tree.map(jnp.copy, PARAMS)
    state = first = optimizer.init(params)
    structure = jax.tree.structure(first)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), first)
    for n in range(STEPS):
        g = jax.tree.map(lambda g, n=n: g[n], grads)
        params, state = donating(params, state, g, values[n])
        assert jax.tree.structure(state) == structure
        assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == shapes
    assert len(traces) == 1
    (wanted, wanted_state), _ = quickly(
        lambda: scanned(optimizer, PARAMS, grads, values)
    )()
    chex.assert_trees_all_close(params, wanted, rtol=1e-5)
    chex.assert_trees_all_close(state, wanted_state, rtol=1e-5)


AROUND = {
    "record": lambda: ow.record_moments(optax.adamw(FACTOR)),
    "record_of_rmsprop": lambda: ow.record_moments(optax.rmsprop(FACTOR)),
    "skip_spikes": lambda: ow.guards.skip_spikes(adam(), window=8),
    "clip_norm": lambda: optax.chain(adam(), ow.guards.clip_update_norm(window=8)),
    "protect": lambda: ow.guards.protect(optax.adamw(FACTOR)),
    "average": lambda: ow.averages.average_params(adam(), 0.9),
    "feedback": lambda: ow.automatic_warmup(optax.adamw(FACTOR), feedback=True),
}


@parametrize(
    "name",
    [*TRANSFORMS, *AROUND],
    quick=["record", "record_of_rmsprop", "skip_spikes", "clip_norm"],
)
def test_debug_nans_does_not_stop_a_run_in_which_all_is_well(name):
    optimizer, (grads, values) = (TRANSFORMS | AROUND)[name](), gradients()
    with jax.debug_nans(True):
        state = optimizer.init(PARAMS)
        update = quickly(optimizer.update)
        for n in range(2):
            g = jax.tree.map(lambda g, n=n: g[n], grads)
            _, state = update(g, state, PARAMS, value=values[n])
        with pytest.raises(FloatingPointError):
            jax.block_until_ready(quickly(jnp.log)(-values))


def test_a_record_without_parameters_holds_no_nan():
    optimizer = ow.record_moments(optax.adam(FACTOR))
    with jax.debug_nans(True):
        _, state = quickly(optimizer.update)(PARAMS, optimizer.init(PARAMS))
    history = ow.read_moments(state)
    assert np.isnan(history.overall["parameter_rms"]).all()
    assert np.isnan(history.overall["update_to_weight"]).all()
    assert np.isfinite(history.overall["applied_rate"]).all()


@composed
def test_replicas_are_trained_as_if_alone(name):
    optimizer = TRANSFORMS[name]()
    runs = [gradients(seed=seed) for seed in (0, 1)]
    runs[1] = (runs[1][0], jnp.ones(STEPS))  # without a spike
    both = jax.tree.map(lambda *x: jnp.stack(x), *runs)
    run = quickly(lambda g, v: scanned(optimizer, PARAMS, g, v)[0])
    together = quickly(jax.vmap(lambda g, v: scanned(optimizer, PARAMS, g, v)[0]))(
        *both
    )
    for index, alone in enumerate(runs):
        one = jax.tree.map(lambda x, index=index: x[index], together)
        chex.assert_trees_all_close(one, run(*alone), rtol=1e-5)


@composed
def test_parameters_in_bfloat16(name):
    optimizer = TRANSFORMS[name]()
    params = cast(PARAMS, jnp.bfloat16)
    grads, values = gradients(jnp.bfloat16)
    (_, state), updates = quickly(lambda: scanned(optimizer, params, grads, values))()
    for leaf in jax.tree.leaves(updates):
        assert leaf.dtype == jnp.bfloat16
    chex.assert_tree_all_finite(cast(updates, jnp.float32))
    wide, _ = scanned(
        TRANSFORMS[name](), cast(params, jnp.float32), cast(grads, jnp.float32), values
    )
    assert jax.tree.structure(wide[1]) == jax.tree.structure(state)
    for field in ("factor", "scale", "normalized_gradient_rms", "learning_rate"):
        for got, wanted in zip(
            optax.tree.get_all_with_path(state, field),
            optax.tree.get_all_with_path(wide[1], field),
            strict=True,
        ):
            assert got[1].dtype == jnp.float32
            np.testing.assert_allclose(got[1], wanted[1], rtol=0.05)


@pytest.mark.parametrize("name", ["scale_by_warmup", "seed", "restart_if"])
def test_what_fuses_into_the_update_takes_no_memory(name):
    params = {"w": jnp.ones((256, 256)), "v": jnp.ones((256, 128))}
    optimizer = TRANSFORMS[name]()

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.eval_shape(optimizer.init, params)
    program = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params)
    assert program.compile().memory_analysis().temp_size_in_bytes < 4096


def test_inside_an_nnx_optimizer():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, TRANSFORMS["everything"](), wrt=nnx.Param)
    grads = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model)
    for _ in range(3):
        optimizer.update(model, grads, value=1.0)
    states = optimizer.opt_state
    assert states.inner_state[4].inner_state.factor[...] == 0.75
    schedule = float(ow.warmup_cosine(0.1, 2, 100)(2))
    assert ow.learning_rate(optimizer, factors=False) == schedule
    applied = schedule * 0.75 * 0.5  # the warmup's factor, and one plateau
    np.testing.assert_allclose(ow.learning_rate(optimizer), applied, rtol=1e-6)


@parametrize(
    "command",
    ["transforms_sharded", "transforms_meshes", "transforms_replicated pmap"],
    quick={"transforms_sharded"},
)
def test_four_devices_train_as_one(command):
    name, *arguments = command.split()
    program = Path(__file__).parent / "programs" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, program, *arguments],
        env=environment(4),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0 and done.stdout.endswith("ok\n"), done.stderr

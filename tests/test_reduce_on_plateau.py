"""A rate that falls when the loss stands still, and accumulation that grows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle_transforms as oracle
import pytest

import optax_warmup as ow

PARAMS = {"w": jnp.arange(4.0)}
USUAL = {
    "factor": 0.5,
    "patience": 3,
    "rtol": 1e-2,
    "atol": 0.0,
    "warmup_steps": 0,
    "cooldown": 0,
    "accumulation_size": 1,
    "min_scale": 0.0,
}


def scales(values, make=ow.reduce_on_plateau, **options):
    """The scale of each update, and the last state."""
    optimizer = make(**options)

    @jax.jit
    def run(values):
        def step(state, value):
            updates, state = optimizer.update(PARAMS, state, PARAMS, value=value)
            return state, updates["w"][1]

        return jax.lax.scan(step, optimizer.init(PARAMS), values)

    state, seen = run(jnp.asarray(values, jnp.float32))
    return np.asarray(seen), state


def losses(steps=120):
    """Falls, stands, falls again and stands, with a little noise."""
    rng = np.random.default_rng(0)
    stairs = np.interp(np.arange(steps), [0, 20, 60, 70, 120], [3, 2, 2, 1, 1])
    return stairs + 0.002 * rng.normal(size=steps)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 5, "cooldown": 4},
        {"warmup_steps": 30, "atol": 0.01, "rtol": 0.0},
        {"accumulation_size": 4, "patience": 2, "cooldown": 1},
        {"min_scale": 0.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("shift", [0.0, -10.0])
def test_scales_equal_the_oracle(options, shift):
    values = losses() + shift
    values[[0, 25, 26]] = np.nan, np.inf, np.nan
    options = USUAL | options
    wanted = oracle.plateau_scales(
        values,
        **{"size" if k == "accumulation_size" else k: v for k, v in options.items()},
    )
    got, state = scales(values, **options)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert got[-1] < 1 and state.scale == got[-1]
    assert state.count == len(values)


def test_positive_losses_are_judged_as_optax_judges_them():
    options = {"factor": 0.3, "patience": 4, "cooldown": 2, "accumulation_size": 3}
    got, state = scales(losses(), **options)
    wanted, theirs = scales(losses(), optax.contrib.reduce_on_plateau, **options)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    np.testing.assert_allclose(state.best_value, theirs.best_value, rtol=1e-6)


def test_a_negative_loss_that_rises_does_not_improve():
    """In optax each loss is "better" than 0.99 times the best, and nothing happens."""
    rising = np.linspace(-10.0, -9.95, 40)
    options = {"factor": 0.5, "patience": 10, "rtol": 1e-2}
    got, _ = scales(rising, **options)
    assert got[-1] == 0.125
    theirs, _ = scales(rising, optax.contrib.reduce_on_plateau, **options)
    assert theirs[-1] == 1.0


def test_the_scale_stays_float32_and_updates_keep_their_type():
    optimizer = ow.reduce_on_plateau(0.1, 1)
    grads = {"w": jnp.ones(3, jnp.bfloat16)}
    state = optimizer.init(grads)
    for _ in range(3):
        updates, state = optimizer.update(grads, state, value=jnp.bfloat16(1.0))
    assert updates["w"].dtype == jnp.bfloat16
    assert state.scale.dtype == jnp.float32
    np.testing.assert_allclose(state.scale, 0.01, rtol=1e-6)


def test_it_waits_for_the_warmup_in_a_chain():
    schedule = ow.warmup_constant(1.0, 8)
    optimizer = optax.chain(
        optax.sgd(schedule), ow.reduce_on_plateau(0.5, 2, warmup_steps=8)
    )
    state, sizes = optimizer.init(PARAMS), []
    for _ in range(14):
        updates, state = optimizer.update(PARAMS, state, PARAMS, value=2.0)
        sizes.append(-float(updates["w"][1]))
    np.testing.assert_allclose(sizes[:10], np.minimum(np.arange(10) / 8, 1))
    np.testing.assert_allclose(sizes[10:], [0.5, 0.5, 0.25, 0.25])


def test_bad_arguments_are_refused():
    for name, value in [
        ("factor", 1.0),
        ("factor", 0.0),
        ("patience", 0),
        ("patience", 1.5),
        ("rtol", -1e-3),
        ("rtol", 1.0),
        ("atol", -1.0),
        ("warmup_steps", -1),
        ("cooldown", -1),
        ("accumulation_size", 0),
        ("min_scale", 2.0),
    ]:
        with pytest.raises(ValueError, match=f"reduce_on_plateau: {name} must be"):
            ow.reduce_on_plateau(**{name: value})
    optimizer = ow.reduce_on_plateau()
    with pytest.raises(ValueError, match=r"reduce_on_plateau: update needs the loss"):
        optimizer.update(PARAMS, optimizer.init(PARAMS))


BATCH = ow.join([(2, 32), (1, 64)], last=96)


def test_accumulation_counts_the_updates_made():
    """1, 1, 2, 3, 3, ... gradients for an update, and a rate for each update."""
    every_k = ow.accumulation_steps(BATCH, microbatch_size=32)
    assert every_k(jnp.arange(5)).tolist() == [1, 1, 2, 3, 3]
    assert every_k(0).dtype == jnp.int32
    inner = ow.scale_by_learning_rate(ow.transition(0.0, 1.0, 10))
    optimizer = optax.MultiSteps(inner, every_k)
    state, update, emitted = optimizer.init(PARAMS), jax.jit(optimizer.update), []
    for _ in range(10):
        updates, state = update(PARAMS, state, PARAMS)
        emitted.append(-float(updates["w"][1]))
    np.testing.assert_allclose(
        emitted, [0, 0.1, 0, 0.2, 0, 0, 0.3, 0, 0, 0.4], rtol=1e-6
    )
    assert state.gradient_step == 5


def test_a_growing_batch_and_its_accumulation_agree_on_the_data_seen():
    every_k = ow.accumulation_steps(BATCH, microbatch_size=16)
    clock = ow.growing_batch(ow.transition(0.0, 1e6, 10**6), BATCH, base=16)
    microbatches = np.concatenate([[0], np.cumsum(every_k(jnp.arange(9)))])
    np.testing.assert_array_equal(clock(jnp.arange(10)), microbatches)


def test_optax_accepts_what_never_emits_and_we_refuse_it():
    for never in (0, -1):
        optimizer = optax.MultiSteps(optax.sgd(1.0), lambda step, k=never: k)
        state = optimizer.init(PARAMS)
        for _ in range(5):
            updates, state = optimizer.update(PARAMS, state, PARAMS)
            assert not updates["w"].any()
        with pytest.raises(ValueError, match="batch_size.* must be"):
            ow.accumulation_steps(never, microbatch_size=1)
        with pytest.raises(
            ValueError, match="accumulation_steps: microbatch_size must"
        ):
            ow.accumulation_steps(32, microbatch_size=never)
    with pytest.raises(ValueError, match=r"must divide every batch size.*divisor is 8"):
        ow.accumulation_steps(ow.join([(5, 32)], last=40), microbatch_size=16)
    with pytest.raises(TypeError, match="batch_size must be a number or a join"):
        ow.accumulation_steps(ow.transition(32, 64, 10), microbatch_size=16)
    assert ow.accumulation_steps(64, microbatch_size=16)(7) == 4

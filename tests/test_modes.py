"""One schedule, one number: eager, jitted, vmapped, scanned, differentiated, in x64."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from cases import CASES, MAX_STEP, draw, example

import optax_warmup as ow

STEPS = [0, 1, 2, 9, 10, 11, 29, 30, 31, 44, 45, 46, 1000, 2**24 + 1, MAX_STEP]
TRACEABLE = [name for name in CASES if CASES[name].traceable]
every_case = pytest.mark.parametrize("name", CASES)
traceable_case = pytest.mark.parametrize("name", TRACEABLE)


def build(name, **changes):
    return CASES[name].build(ow, SimpleNamespace(**{**vars(example()), **changes}))


def host(schedule, steps=STEPS):
    """The values one by one, as a training loop would log them."""
    return np.array([schedule(step) for step in steps])


def same(actual, desired):
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(desired), strict=True)


@every_case
def test_jit_as_closure_and_as_argument_agree_with_eager_to_the_last_bit(name):
    schedule, steps = build(name), jnp.array(STEPS)
    expected = host(schedule)
    same(schedule(steps), expected)
    same(jax.jit(lambda step: schedule(step))(steps), expected)
    same(jax.jit(lambda schedule, step: schedule(step))(schedule, steps), expected)
    closure = jax.jit(lambda step: schedule(step))
    same([closure(step) for step in STEPS], expected)


@every_case
def test_vmap_is_a_loop(name):
    schedule = build(name)
    same(jax.vmap(schedule)(jnp.array(STEPS)), host(schedule))


@every_case
def test_scan_is_a_loop(name):
    schedule = build(name)
    steps = jnp.arange(50)
    _, values = jax.lax.scan(lambda _, step: (None, schedule(step)), None, steps)
    same(values, host(schedule, range(50)))


@every_case
def test_result_has_the_steps_shape_and_a_strong_type(name):
    schedule = build(name)
    for shape in ((), (3,), (2, 0), (2, 3)):
        steps = jax.ShapeDtypeStruct(shape, jnp.int32)
        out = jax.eval_shape(schedule, steps)
        assert out.shape == shape
        assert out.dtype == jnp.float32
        assert not out.weak_type
        assert schedule(np.zeros(shape, int)).shape == shape


@every_case
def test_one_trace_serves_other_numbers(name):
    traces = []

    @jax.jit
    def evaluate(schedule, step):
        traces.append(step)
        return schedule(step)

    rng = np.random.default_rng(5)
    for _ in range(6):
        schedule = CASES[name].build(ow, draw(rng))
        step = int(rng.integers(1000))
        same(evaluate(schedule, jnp.int32(step)), schedule(step))
    assert len(traces) == 1


@every_case
def test_strict_promotion_rank_promotion_and_nan_checks(name):
    schedule, steps = build(name), jnp.array(STEPS)
    expected = host(schedule)
    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.debug_nans(True),
    ):
        same(schedule(steps), expected)
        same(jax.jit(lambda step: schedule(step))(steps), expected)
        same(jax.vmap(schedule)(steps), expected)


@every_case
def test_x64_is_float64(name):
    numbers = example()
    with jax.enable_x64(True):
        values = CASES[name].build(ow, numbers)(jnp.array(STEPS, jnp.int32))
        single = CASES[name].build(ow, numbers)(7)
    assert values.dtype == single.dtype == np.float64
    reference = CASES[name].build(oracle, numbers)
    wanted = [reference(step) for step in STEPS]
    np.testing.assert_allclose(values, wanted, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(single, reference(7), rtol=1e-13)


@every_case
def test_one_value_serves_both_precisions_in_turn(name):
    schedule = build(name)
    before = schedule(7)
    with jax.enable_x64(True):
        assert schedule(7).dtype == np.float64
    same(schedule(7), before)


@traceable_case
def test_traced_numbers_give_what_known_ones_give(name):
    @jax.jit
    def evaluate(numbers, steps):
        return CASES[name].build(ow, SimpleNamespace(**numbers))(steps)

    rng, steps = np.random.default_rng(11), jnp.array(STEPS)
    for numbers in (example(), draw(rng), draw(rng), draw(rng)):
        expected = CASES[name].build(ow, numbers)(steps)
        # Presets compute a root or a quotient in float32 where it is traced.
        np.testing.assert_allclose(evaluate(vars(numbers), steps), expected, rtol=1e-6)


@traceable_case
def test_lengths_under_vmap(name):
    lengths = jnp.array([0, 1, 2, 10, 2**24 + 1])
    values = jax.vmap(lambda n: build(name, n0=n)(jnp.array(STEPS)))(lengths)
    expected = [build(name, n0=int(n))(jnp.array(STEPS)) for n in lengths]
    np.testing.assert_allclose(values, np.array(expected), rtol=1e-6)


@traceable_case
def test_gradients_are_finite_in_every_branch(name):
    """With respect to every number, lengths too, at and around every joint."""

    @jax.jit
    def slopes(numbers, steps):
        def value(numbers, step):
            return CASES[name].build(ow, SimpleNamespace(**numbers))(step)

        return jax.vmap(jax.grad(value), (None, 0))(numbers, steps)

    usual = vars(example())
    for change in (
        {},
        {"n0": 0},
        {"n1": 0},
        {"n0": 0, "n1": 0, "n2": 0},
        {"n0": 1, "n1": 1, "n2": 1},
        {"v0": 0, "v1": 0, "v2": 0, "v3": 0},
        {"v0": 1, "v2": 1, "v3": 1},
        {"e": 0.1},
        {"e": 1},
        {"r": 1},
        {"k": 50},
    ):
        numbers = {key: float(x) for key, x in {**usual, **change}.items()}
        found = slopes(numbers, jnp.array(STEPS))
        for key, slope in found.items():
            assert np.isfinite(slope).all(), (name, change, key, slope)


def test_gradients_are_the_derivatives():
    """Against differences of the oracle, away from the joints."""

    def value(m, peak, init, exponent, step):
        decay = m.transition(peak, 0.2, 40, m.shapes.power(exponent))
        return m.warmup(decay, 10, init_value=init)(step)

    at = (1.3, 0.1, 1.7)
    for step in (3, 9, 20, 49):
        found = jax.grad(lambda at, step=step: value(ow, *at, step))(at)
        for i in range(3):
            up, down = list(at), list(at)
            up[i] += 1e-6
            down[i] -= 1e-6
            wanted = (value(oracle, *up, step) - value(oracle, *down, step)) / 2e-6
            np.testing.assert_allclose(found[i], wanted, rtol=1e-4, atol=1e-6)


def test_a_known_step_inside_a_traced_function():
    """Nothing traced is kept for the next call."""
    schedule = ow.transition(1.0, 0.0, 10)
    with jax.checking_leaks():
        assert jax.jit(lambda x: x * schedule(4))(1.0) == schedule(4)
    fresh = ow.transition(1.0, 0.5, 10)
    jax.vmap(lambda x: x * fresh(4))(jnp.ones(2))
    assert fresh(5).item() == 0.75


def test_threads_agree():
    schedule = ow.warmup_cosine(1.0, 10, 100)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(schedule, range(101)))
    same(values, host(schedule, range(101)))


PARAMS = {"w": jnp.ones((4, 3), jnp.bfloat16), "b": jnp.ones(3, jnp.bfloat16)}


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda schedule: optax.adamw(schedule),
        lambda schedule: optax.inject_hyperparams(optax.sgd)(schedule),
        # Without the dtype optax rounds b2 to bfloat16, which is 1 (optax#1414).
        lambda schedule: optax.inject_hyperparams(
            optax.adamw, hyperparam_dtype=jnp.float32
        )(schedule),
        lambda schedule: optax.chain(
            optax.scale_by_adam(), optax.scale_by_schedule(schedule), optax.scale(-1)
        ),
    ],
)
def test_inside_optax_with_bfloat16_parameters(optimizer):
    optimizer = optimizer(ow.warmup_cosine(0.1, 2, 6))
    update = jax.jit(optimizer.update)
    state, moved = optimizer.init(PARAMS), []
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    for _ in range(8):
        updates, state = update(grads, state, PARAMS)
        chex.assert_trees_all_equal_shapes(updates, PARAMS)
        moved.append(float(jnp.abs(updates["w"]).max()))
    assert moved[0] == 0 and moved[6] == 0  # the first update, and past the end
    assert moved[1] > 0 and max(moved) == moved[2]


def test_injected_rate_is_the_schedules_own():
    schedule = ow.warmup_cosine(1e-3, 5, 50)
    optimizer = optax.inject_hyperparams(optax.adam)(schedule)
    state = optimizer.init(PARAMS)
    for step in range(8):
        _, state = optimizer.update(PARAMS, state)
        same(state.hyperparams["learning_rate"], schedule(step))


def test_schedule_as_argument_of_a_training_step():
    """A sweep over peak and warmup length: one program, and vmap over both."""

    traces = []

    @jax.jit
    def train(schedule):
        traces.append(schedule)
        optimizer = optax.sgd(schedule)
        x = jnp.float32(1.0)
        state = optimizer.init(x)
        for _ in range(3):
            updates, state = optimizer.update(x, state)
            x = optax.apply_updates(x, updates)
        return x

    results = [
        train(ow.warmup_cosine(peak, n, 6)) for peak in (0.1, 0.3) for n in (0, 1, 4)
    ]
    assert len({float(x) for x in results}) == 6
    assert len(traces) == 1

    def swept(peak, n):
        return ow.warmup_cosine(peak, n, 6)(jnp.arange(8))

    peaks, lengths = jnp.array([0.1, 0.3]), jnp.array([0, 1, 4])
    grid = jax.vmap(jax.vmap(swept, (None, 0)), (0, None))(peaks, lengths)
    assert grid.shape == (2, 3, 8)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(
            grid[i, j], swept(float(peaks[i]), int(lengths[j])), rtol=1e-6
        )

"""One schedule, one number: eager, jitted, vmapped, scanned, differentiated, in x64."""

import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from cases import CASES, MAX_STEP, draw, example
from compiled import quickly
from selection import KINDS, few_of_the_cases, one_case_a_kind, parametrize

import optax_warmup as ow

STEPS = [0, 1, 2, 9, 10, 11, 29, 30, 31, 44, 45, 46, 1000, 2**24, 2**24 + 1, MAX_STEP]

TRACEABLE = [name for name in CASES if CASES[name].traceable]
every_case = pytest.mark.parametrize("name", CASES)
few_cases = pytest.mark.parametrize("name", ["warmup_cosine", "piecewise", "cycle"])
traceable_case = parametrize("name", TRACEABLE, quick=KINDS)


def build(name, **changes):
    return CASES[name].build(ow, SimpleNamespace(**{**vars(example()), **changes}))


def host(schedule, steps=STEPS):
    """The values one by one, as a training loop would log them."""
    return np.array([schedule(step) for step in steps])


def same(actual, desired):
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(desired), strict=True)


def as_good_as_same(actual, desired):
    """Equal but for the last bit, which a compiler may round in another way."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.dtype == desired.dtype
    np.testing.assert_array_max_ulp(actual, desired, maxulp=1)


def eager_jitted_and_scanned(name, agree):
    """One by one, all at once (an argument of a program), as a closure in a scan."""
    schedule, steps = build(name), jnp.array(STEPS)
    expected = host(schedule)
    agree(schedule(steps), expected)
    _, scanned = jax.lax.scan(lambda _, step: (None, schedule(step)), None, steps)
    agree(scanned, expected)


@few_of_the_cases
def test_eager_jitted_and_scanned_agree_but_for_the_last_bit(name):
    eager_jitted_and_scanned(name, as_good_as_same)


@one_case_a_kind
def test_they_agree_to_the_last_bit_where_that_is_asked_for(name):
    with ow.bit_exact():
        eager_jitted_and_scanned(name, same)


@pytest.mark.parametrize("exact", [False, True])
@parametrize("name", ["warmup_cosine", "piecewise", "cycle"], quick=3)
def test_vmap_is_a_loop_and_so_are_closures_of_one_step(name, exact):
    agree = same if exact else as_good_as_same
    schedule, steps = build(name), jnp.array(STEPS)
    with ow.bit_exact() if exact else contextlib.nullcontext():
        expected = host(schedule)
        agree(jax.vmap(schedule)(steps), expected)
        agree(jax.jit(lambda step: schedule(step))(steps), expected)
        agree(jax.jit(lambda schedule, step: schedule(step))(schedule, steps), expected)
        closure = jax.jit(lambda step: schedule(step))
        agree([closure(step) for step in STEPS], expected)
        with jax.debug_nans(True):
            agree(jax.jit(jax.vmap(lambda step: schedule(step)))(steps), expected)


def test_bit_exact_is_known_to_the_caches_of_jax():
    schedule = ow.warmup_cosine(1e-3, 7, 100)
    program = jax.jit(lambda step: schedule(step))
    text = program.lower(jnp.int32(3)).as_text()
    with ow.bit_exact():
        exact = program.lower(jnp.int32(3)).as_text()
    assert "optimization_barrier" in exact and "optimization_barrier" not in text
    assert program.lower(jnp.int32(3)).as_text() == text


@every_case
def test_result_has_the_steps_shape_and_a_strong_type(name):
    schedule = build(name)
    wanted = jnp.int32 if CASES[name].whole else jnp.float32
    for shape, dtype in (((), jnp.int32), ((2, 3), jnp.float32)):
        out = jax.eval_shape(schedule, jax.ShapeDtypeStruct(shape, dtype))
        assert (out.shape, out.dtype, out.weak_type) == (shape, wanted, False)


@few_cases
def test_empty_steps_have_empty_values(name):
    assert build(name)(np.zeros((2, 0), int)).shape == (2, 0)


@every_case
def test_other_numbers_are_the_same_program(name):
    """What a jitted function compares: structure, and the type of each number."""
    rng, kinds = np.random.default_rng(5), set()
    for _ in range(10):
        leaves, structure = jax.tree.flatten(CASES[name].build(ow, draw(rng)))
        kinds.add((structure, tuple(map(type, leaves))))
    assert len(kinds) == 1


@few_cases
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
def test_strict_dtype_promotion_and_rank_promotion(name):
    """Both are decided when a function is traced: nothing needs to run."""
    for wide in (False, True):
        with (
            jax.enable_x64(wide),
            jax.numpy_dtype_promotion("strict"),
            jax.numpy_rank_promotion("raise"),
        ):
            schedule = build(name)
            for dtype in (jnp.int32, jnp.float32 if wide else jnp.bfloat16):
                steps = jax.ShapeDtypeStruct((4,), dtype)
                assert jax.eval_shape(schedule, steps).shape == (4,)


def test_whole_values_are_floating_point_inside_other_schedules():
    """And at fractional steps they stay whole, also where types must not mix."""
    whole = ow.round_to(ow.transition(32, 256, 4), multiple=32)
    for step in (1.5, np.float32(1.5), jnp.bfloat16(1.5), jnp.array([1.5])):
        with jax.numpy_dtype_promotion("strict"):
            assert whole(step).dtype == np.int32
            assert np.all(whole(step) == 128)
            for outer in (
                ow.warmup(whole, 0),
                ow.multiply(whole, 1.0),
                ow.join([(9, whole)], last=1.0),
                ow.clip(whole, minimum=1.0),
            ):
                assert outer(step).dtype == np.float32
                assert np.all(outer(step) == 128)


@few_cases
def test_strict_promotion_changes_no_value(name):
    schedule, steps = build(name), (7, 7.5, np.float16(7.5), jnp.bfloat16(7.5))
    expected = [schedule(step) for step in (*steps, np.array([7, 8]))]
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for step, value in zip((*steps, np.array([7, 8])), expected, strict=True):
            same(schedule(step), value)


@one_case_a_kind
def test_x64_is_float64(name):
    numbers, case = example(), CASES[name]
    with jax.enable_x64(True):
        values = case.build(ow, numbers)(jnp.array(STEPS, jnp.int32))
    assert values.dtype == (np.int32 if case.whole else np.float64)
    reference = case.build(oracle, numbers)
    wanted = [reference(step) for step in STEPS]
    np.testing.assert_allclose(values, wanted, rtol=1e-13, atol=1e-300)


@few_cases
def test_one_value_serves_both_precisions_in_turn(name):
    schedule = build(name)
    before = schedule(7)
    with jax.enable_x64(True):
        assert schedule(7).dtype == np.float64
    same(schedule(7), before)


@traceable_case
def test_traced_numbers_give_what_known_ones_give(name):
    """Numbers of ordinary size, extreme ones, and all kinds of lengths under vmap."""
    rng = np.random.default_rng(11)
    rows = [example(), draw(rng), draw(rng), draw(rng)]
    for length in (0, 1, 2, 2**24 + 1):
        rows.append(SimpleNamespace(**{**vars(example()), "n0": length}))
    steps = jnp.array(STEPS)

    @quickly
    @jax.vmap
    def evaluate(numbers):
        return CASES[name].build(ow, SimpleNamespace(**numbers))(steps)

    stacked = jax.tree.map(lambda *x: np.array(x), *map(vars, rows))
    expected = [CASES[name].build(ow, numbers)(steps) for numbers in rows]
    # Presets compute a root or a quotient in float32 where it is traced.
    tolerance = max(1e-6, CASES[name].tolerance)
    np.testing.assert_allclose(evaluate(stacked), expected, rtol=tolerance, atol=1e-36)


@traceable_case
def test_gradients_are_finite_in_every_branch(name):
    """With respect to every number, lengths too, at and around every joint."""

    @quickly
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
        {"f": 1},
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


# Those that select, stack or walk, and one that does none of it.
ON_MESHES = ("warmup_cosine", "piecewise", "join", "rewarm", "cycle_growing")


@pytest.mark.parametrize(
    "names", [ON_MESHES, pytest.param(tuple(CASES), marks=pytest.mark.slow)]
)
def test_steps_may_be_sharded_over_explicit_auto_and_manual_axes(names):
    program = Path(__file__).parent / "programs" / "schedules_sharded.py"
    done = subprocess.run(
        [sys.executable, program, *names], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"tried {len(names)}\n", done.stdout


def test_the_step_of_a_flax_optimizer_is_a_step():
    from flax import nnx

    schedule = ow.warmup_cosine(1e-3, 2, 10)
    optimizer = nnx.Optimizer(
        nnx.Linear(2, 2, rngs=nnx.Rngs(0)), optax.adamw(schedule), wrt=nnx.Param
    )
    assert schedule(optimizer.step) == schedule(0)
    assert nnx.jit(lambda o: schedule(o.step))(optimizer) == schedule(0)

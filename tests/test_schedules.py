"""Values against the oracle at golden steps, and every kind of step there is."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from cases import CASES, MAX_STEP, draw, example, steps
from hypothesis import given, settings, strategies as st
from selection import few_of_the_cases, parametrize

import optax_warmup as ow

GOLDEN = [0, 1, 9, 10, 11, 29, 30, 31, 44, 45, 46, 10**6, 2**24 + 1, MAX_STEP]
FAR = 2**24 + 1
every_case = pytest.mark.parametrize("name", CASES)


class Asked:
    """A vocabulary that remembers which of its names were asked for."""

    def __init__(self, module, names, prefix=""):
        self.module, self.names, self.prefix = module, names, prefix

    def __getattr__(self, name):
        self.names.add(f"{self.prefix}{name}")
        found = getattr(self.module, name)
        if inspect.ismodule(found):
            return Asked(found, self.names, f"{self.prefix}{name}.")
        return found


def test_every_builder_is_in_a_case():
    """A builder is what is public and gives a schedule or a shape."""
    asked, builders = set(), set()
    for case in CASES.values():
        case.build(Asked(ow, asked), example())
    rooms = {
        "": ow,
        "shapes.": ow.shapes,
        "factors.": ow.factors,
        "compat.optax.": ow.compat.optax,
        "compat.transformers.": ow.compat.transformers,
    }
    for prefix, room in rooms.items():
        for name, x in vars(room).items():
            if name.startswith("_") or not callable(x) or x in ABSTRACT:
                continue
            kind = x if isinstance(x, type) else type(x)
            gives = inspect.signature(x).return_annotation
            if issubclass(kind, ow.Schedule | ow.shapes.Shape) or (
                gives in ("Schedule", "Shape", ow.Schedule, ow.shapes.Shape)
            ):
                builders.add(f"{prefix}{name}")
    assert len(builders) > 55
    assert builders <= asked, f"add cases of {sorted(builders - asked)}"


# accumulation_steps, which rounds, has tests of its own beside the transforms.
ABSTRACT = (ow.Schedule, ow.shapes.Shape, ow.from_config, ow.accumulation_steps)


@every_case
def test_golden_steps(name):
    numbers = example()
    ours, theirs = CASES[name].build(ow, numbers), CASES[name].build(oracle, numbers)
    for step in GOLDEN:
        np.testing.assert_allclose(ours(step), theirs(step), rtol=1e-6, err_msg=step)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(CASES)), st.integers(0, 2**32 - 1))
def test_single_calls_are_as_exact_as_stacked_ones(name, seed):
    rng = np.random.default_rng(seed)
    numbers = draw(rng)
    ours, theirs = CASES[name].build(ow, numbers), CASES[name].build(oracle, numbers)
    for step in rng.choice(steps(numbers, rng), 5):
        wanted = theirs(int(step))
        error = abs(ours(int(step)).item() - wanted)
        assert error <= max(CASES[name].tolerance * abs(wanted), 2e-38), (ours, step)


@few_of_the_cases
def test_before_the_start_and_past_the_last_step(name):
    """Before the start it counts as the start, past 2**31 - 1 the value holds."""
    schedule = CASES[name].build(ow, example())
    start, end = schedule(0), schedule(MAX_STEP)
    for before in (-1, -100, -(2**31), -(2**40), -(10**30), -0.5, -1e30, -np.inf):
        assert schedule(before) == start
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        assert schedule(dtype(-1)) == schedule(np.iinfo(dtype).min) == start
    for past in (2**31, 2**32 - 1, 2**40, 2**63, 10**30, 1e30, np.inf):
        assert schedule(past) == end
    for past in (np.uint32(2**32 - 1), np.int64(2**40), np.uint64(2**64 - 1)):
        assert schedule(past) == end


few_cases = parametrize("name", ["warmup_cosine", "delay"], quick=2)
INTEGERS = [np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32]
INTEGERS += [jnp.int4, jnp.uint4]
WIDE = [np.int64, np.uint64, np.float64]  # JAX has them in 64-bit mode alone
FLOATS = [np.float16, jnp.bfloat16, np.float32]


@few_cases
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS, ids=lambda x: np.dtype(x).name)
def test_every_type_counts_the_same(name, dtype):
    schedule = CASES[name].build(ow, example())
    for step in (0, 1, 7):
        wanted = schedule(step)
        assert schedule(np.asarray(step, dtype)) == wanted
        assert schedule(jnp.asarray(step, dtype)) == wanted
        assert jax.jit(schedule)(jnp.asarray(step, dtype)) == wanted
        assert schedule(np.full(3, step, dtype)).tolist() == [wanted] * 3


@few_cases
@pytest.mark.parametrize("dtype", WIDE, ids=lambda x: np.dtype(x).name)
def test_every_wide_type_counts_the_same(name, dtype):
    schedule = CASES[name].build(ow, example())
    for step in (0, 7, FAR):
        assert schedule(dtype(step)) == schedule(step)
        assert schedule(np.full(3, step, dtype)).tolist() == [schedule(step)] * 3
    with jax.enable_x64(True):
        for step in (0, 7, FAR):
            assert schedule(jnp.asarray(step, dtype)) == schedule(step)


@few_cases
def test_steps_out_of_range_inside_jax_and_in_arrays(name):
    schedule = CASES[name].build(ow, example())
    start, end = schedule(0), schedule(MAX_STEP)
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        assert schedule(np.array([-1, -100], dtype))[1] == start
    for past in (np.uint32(2**32 - 1), np.int64(2**40), np.uint64(2**64 - 1)):
        assert schedule(np.array([past]))[0] == end
    assert schedule(jnp.int32(-1)) == start
    assert jax.jit(schedule)(jnp.int32(-(2**31))) == start
    assert schedule(jnp.uint32(2**32 - 1)) == end
    assert jax.jit(schedule)(jnp.uint32(2**32 - 1)) == end
    with jax.enable_x64(True):
        assert schedule(jnp.int64(2**40)) == schedule(MAX_STEP)
        assert jax.jit(schedule)(jnp.uint64(2**64 - 1)) == schedule(MAX_STEP)


@few_of_the_cases
def test_fractional_steps_lie_between(name):
    schedule = CASES[name].build(ow, example())
    whole = np.array([0, 1, 5, 6, 10, 30, 44, 45, 1000])
    exact = schedule(whole)
    np.testing.assert_allclose(schedule(whole.astype(np.float32)), exact, rtol=1e-6)
    traced = jax.jit(schedule)(jnp.asarray(whole, jnp.float32))
    np.testing.assert_allclose(traced, exact, rtol=1e-6)
    middle = schedule(5.5)
    assert middle.dtype == (np.int32 if CASES[name].whole else np.float32)
    if CASES[name].monotone:
        assert min(exact[2], exact[3]) <= middle <= max(exact[2], exact[3])


def test_exact_beyond_what_float32_counts():
    """2**24 + 1 is no float32; a step too late would be a step lost."""
    at_once = ow.join([(FAR, 1.0)], last=0.0)
    assert [at_once(FAR + by).item() for by in (-1, 0, 1)] == [1.0, 0.0, 0.0]
    assert jax.jit(at_once)(jnp.int32(FAR)) == 0.0
    assert jax.jit(at_once)(jnp.uint32(FAR)) == 0.0
    assert at_once(float(FAR)) == 0.0
    assert at_once(np.float64(FAR)) == 0.0
    ramp = ow.cooldown(1.0, begin=FAR, steps=2)
    assert [ramp(FAR + by).item() for by in (-1, 0, 1, 2)] == [1.0, 1.0, 0.5, 0.0]
    last = ow.cooldown(1.0, begin=MAX_STEP - 2, steps=2)
    assert [last(MAX_STEP + by).item() for by in (-2, -1, 0)] == [1.0, 0.5, 0.0]


def test_a_step_that_is_no_number_gives_none():
    """NaN in, NaN out: a broken counter must not look like a working one."""
    for step in (np.nan, np.float32(np.nan), jnp.float32(np.nan)):
        assert np.isnan(ow.warmup_cosine(1.0, 10, 100)(step))


def test_a_schedule_with_array_numbers_is_a_sweep():
    peaks = np.array([0.1, 0.2])
    schedule = ow.warmup_cosine(peaks, np.array([2, 4]), 10)
    axes = jax.tree.map(lambda x: 0 if np.ndim(x) else None, schedule)
    rows = jax.vmap(lambda schedule: schedule(jnp.arange(12)), (axes,))(schedule)
    for row, peak, length in zip(rows, peaks, (2, 4), strict=True):
        alone = ow.warmup_cosine(peak, length, 10)(jnp.arange(12))
        np.testing.assert_allclose(row, alone, rtol=1e-6)

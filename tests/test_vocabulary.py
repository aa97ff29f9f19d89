"""Cycles, decays, modifiers, factors and bent shapes against float64, to the last step.

The oracles are written here once more, in float64 or whole numbers, from the formulas.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import quickly
from selection import parametrize

import optax_warmup as ow
from optax_warmup import shapes

LAST = 2**31 - 1


def values(schedule, steps):
    """In float64; padded, since every other number of steps is another program."""
    steps = np.asarray(steps)
    padded = np.zeros(-(-len(steps) // 256) * 256, np.int64)
    padded[: len(steps)] = steps
    return np.asarray(schedule(padded), np.float64)[: len(steps)]


def assert_close(schedule, steps, wanted, tolerance=1e-6):
    got, wanted = values(schedule, steps), np.asarray(wanted, np.float64)
    scale = np.where(wanted == 0, 1.0, np.abs(wanted))
    error = np.abs(got - wanted) / scale
    worst = error.argmax()
    assert error[worst] <= tolerance, (
        f"{error[worst]:.2e} at step {steps[worst]}: {got[worst]}, not {wanted[worst]}"
    )


# Shapes: both the rise and what is left of it, near both ends.

POINTS = np.unique(
    np.concatenate(
        [np.linspace(0, 1, 101), 10.0 ** -np.arange(1, 8), 1 - 2.0 ** -np.arange(1, 24)]
    )
).astype(np.float32)


def tanh(lower, upper):
    return lambda p: (
        (np.tanh(lower + (upper - lower) * p) - np.tanh(lower))
        / (np.tanh(upper) - np.tanh(lower))
    )


def logarithmic(base):
    return lambda p: np.log1p((base - 1) * p) / np.log(base)


BENT = [
    *((shapes.logarithmic(b), logarithmic(b)) for b in (1e-6, 0.1, 1.5, 5, 1e4, 1e10)),
    *((shapes.rex(b), lambda p, b=b: b * p / (1 - p + b * p)) for b in (0.01, 0.5, 3)),
    (shapes.tanh(-7, 3), tanh(-7, 3)),
    (shapes.tanh(0, 1), tanh(0, 1)),
    (shapes.tanh(2, -1), tanh(-2, 1)),
    (shapes.sigmoid(12), tanh(-3, 3)),
    (shapes.mirror_cosine, lambda p: 2 * p - np.sin(np.pi * p / 2) ** 2),
    (
        shapes.warp(shapes.cosine, shapes.power(1.5)),
        lambda p: np.sin(np.pi * p**1.5 / 2) ** 2,
    ),
]


@pytest.mark.parametrize(("shape", "oracle"), BENT, ids=[repr(x)[:40] for x, _ in BENT])
def test_bent_shapes(shape, oracle):
    p = POINTS
    exact = np.asarray(p, np.longdouble)
    left = (1 - exact).astype(np.float32)  # exact: each point has at most 24 bits
    rise = np.asarray(jax.jit(shape.rise)(p, left), np.float64)
    wanted = np.asarray(oracle(exact), np.float64)
    np.testing.assert_allclose(rise, wanted, rtol=2e-6, atol=1e-12)
    assert rise[0] == 0 and abs(rise[-1] - 1) < 1e-7
    assert np.all(np.diff(rise) > -1e-7)
    fall = np.asarray(jax.jit(shape.fall)(p, left), np.float64)
    wanted = np.asarray(1 - oracle(exact), np.float64)
    # The oracle's own difference has so few digits.
    np.testing.assert_allclose(fall, wanted, rtol=3e-6, atol=1e-11)


@pytest.mark.parametrize(
    ("family", "neutral"),
    [
        (shapes.logarithmic, (1.0,)),
        (shapes.tanh, (0.5, 0.5)),
        (shapes.sigmoid, (0.0,)),
        (shapes.rex, (1.0,)),
    ],
)
def test_where_a_shape_is_straight(family, neutral):
    for p in (0.0, 0.3, 1.0):
        assert float(family(*neutral)(p)) == pytest.approx(p, abs=1e-7)
        slopes = jax.grad(lambda n, p=p: jnp.sum(family(*n)(p)))(neutral)
        assert all(np.isfinite(slopes))


# Cycles


def where(step, period, multiplier, limit=None):
    """The cycle's number, the first step of it and its length, by walking."""
    if multiplier == 1:
        index = min(step // period, LAST if limit is None else limit - 1)
        return index, index * period, period
    index, start, length = 0, 0, period
    while step - start >= length and (limit is None or index < limit - 1):
        index, start, length = index + 1, start + length, length * multiplier
    return index, start, length


@pytest.mark.parametrize("multiplier", [1, 2, 3, 10])
@pytest.mark.parametrize("period", [1, 2, 3, 7, 1000, 2**24 + 1, 2**30, LAST])
@pytest.mark.parametrize("limit", [None, 1, 2, 5])
def test_cycle_starts_again_at_the_right_step(period, multiplier, limit):
    joints = {0, 1, LAST - 1, LAST}
    start, length = 0, period
    for _ in range(40):
        joints |= {start - 1, start, start + 1}
        start, length = start + length, length * multiplier
        if start > LAST:
            break
    steps = sorted(step for step in joints if 0 <= step <= LAST)
    saw = ow.cycle(
        ow.transition(1.0, 0.0, period),
        period,
        period_multiplier=multiplier,
        scale=0.5,
        num_cycles=limit,
    )
    wanted = []
    for step in steps:
        index, start, length = where(step, period, multiplier, limit)
        # A cycle longer than int32 counts cannot end: it is said so in its docstring.
        if length > LAST:
            length = None
        left = None if length is None else max(0, length - (step - start)) / length
        # Nor does float32 hold much less than 1e-38.
        value = None if left is None else 0.5**index * left
        wanted.append(None if value is not None and 0 < value < 1e-36 else value)
    kept = [i for i, value in enumerate(wanted) if value is not None]
    steps = [steps[i] for i in kept]
    assert_close(saw, steps, [wanted[i] for i in kept])


def test_cycle_scales_above_its_floor():
    schedule = ow.cycle(ow.transition(1.0, 0.25, 4), 4, scale=0.5, floor=0.25)
    k = np.arange(12)
    wanted = 0.25 + 0.5 ** (k // 4) * 0.75 * (1 - (k % 4) / 4)
    assert_close(schedule, k, wanted)


def test_cycle_takes_schedules_of_all_kinds():
    inner = ow.multiply(
        ow.warmup(ow.inverse_power(1.0, timescale=3.0), 2),
        ow.cooldown(ow.clip(ow.constant(1.0), maximum=0.9), 4, 2),
        ow.join([(3, 1.0)], last=ow.delay(ow.transition(1.0, 0.5, 2), 1)),
    )
    schedule = ow.cycle(inner, 6, period_multiplier=2)
    # Twice as long means: the same values at every second step.
    np.testing.assert_array_equal(
        values(schedule, 6 + 2 * np.arange(6)), values(inner, np.arange(6))
    )
    foreign = ow.cycle(lambda step: step * 1.0, 3)
    np.testing.assert_array_equal(values(foreign, np.arange(7)), [0, 1, 2, 0, 1, 2, 0])
    with pytest.raises(
        TypeError, match="cycle: .*lambda.* is a function whose lengths are not known"
    ):
        ow.cycle(lambda step: step * 1.0, 3, period_multiplier=2)


# Decays


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 0.999, 1.0, 1.001])
@pytest.mark.parametrize("steps", [1, 3, 1000])
@pytest.mark.parametrize(("init", "limit"), [(1.0, 0.0), (2.0, 0.5)])
def test_exponential_decay(rate, steps, init, limit):
    k = np.unique(np.geomspace(1, 5000, 60).astype(int)) - 1
    exponent = k / steps * math.log(rate)
    k, exponent = k[np.abs(exponent) < 80], exponent[np.abs(exponent) < 80]
    schedule = ow.exponential_decay(init, steps=steps, rate=rate, limit=limit)
    assert_close(schedule, k, limit + (init - limit) * np.exp(exponent))


def test_exponential_rise_to_a_limit():
    k = np.unique(np.geomspace(1, 1e6, 60).astype(int)) - 1
    assert_close(ow.factors.exponential(1000), k, -np.expm1(-(k + 1) / 1000))
    assert values(ow.factors.exponential(10), [LAST]) == [1.0]
    with pytest.raises(ValueError, match="rate must be <= 1"):
        ow.exponential_decay(0.0, steps=1, rate=1.1, limit=1.0)


def test_growth_without_end_stays_finite():
    growing = ow.exponential_decay(1.0, steps=1, rate=3.0)
    assert np.all(np.isfinite(values(growing, [0, 80, 81, 1000, LAST])))


def test_stairs_and_milestones():
    k = np.arange(30)
    assert_close(ow.step_decay(1.0, steps=7, rate=0.3), k, np.float64(0.3) ** (k // 7))
    stairs = ow.staircase(ow.inverse_power(1.0, timescale=4, power=1), 5)
    assert_close(stairs, k, 1 / (1 + (k // 5) * 5 / 4))
    decay = ow.multistep(2.0, [(3, 0.5), (10, 0.1), (10, 0.2), (LAST, 0.0)])
    wanted = np.select([k < 3, k < 10], [2.0, 1.0], 0.4)
    assert_close(decay, k, wanted)
    assert values(decay, [LAST - 1, LAST]).tolist() == [np.float32(0.4), 0.0]
    with pytest.raises(
        ValueError, match=r"milestones\[1\] step must be|milestones\[0\]"
    ):
        ow.multistep(1.0, [(5, 0.1), (4, 0.2)])


# Modifiers


def test_retime_and_stretch_are_inverse():
    schedule = ow.warmup(ow.transition(1.0, 0.1, 40, shapes.cosine), 10)
    k = np.arange(60)
    np.testing.assert_array_equal(
        values(ow.retime(ow.stretch(schedule, 3), 3), k), values(schedule, k)
    )
    assert values(ow.retime(schedule, 2**30), [0, 1, 2, LAST])[2] == np.float32(0.1)


def test_stretch_rounds_half_up_and_reaches_every_length():
    schedule = ow.cooldown(ow.warmup(ow.delay(1.0, 5), 3, offset=1), 9, 5)
    wanted = ow.cooldown(ow.warmup(ow.delay(1.0, 8), 5, offset=2), 14, 8)
    assert ow.stretch(schedule, 1.5) == wanted
    assert ow.stretch(ow.inverse_power(1.0, timescale=8), 0.25) == ow.inverse_power(
        1.0, timescale=2.0
    )
    inner = ow.piecewise(0.0, [(4, 1.0), (6, 0.0)])
    twice = ow.piecewise(0.0, [(8, 1.0), (12, 0.0)])
    assert ow.stretch(ow.cycle(inner, 10), 2) == ow.cycle(twice, 20)
    traced = jax.jit(lambda f: ow.stretch(schedule, f)(np.arange(20)))(1.5)
    np.testing.assert_array_equal(traced, wanted(np.arange(20)))
    with pytest.raises(TypeError, match="stretch: .*lambda.*lengths are not known"):
        ow.stretch(lambda step: 1.0, 2)
    with pytest.raises(ValueError, match="stretch"):
        ow.stretch(ow.transition(1.0, 0.0, 2**30), 3)


def test_clip_and_add():
    line = ow.transition(1.0, 0.0, 10)
    k = np.arange(12)
    wanted = np.clip(1 - np.minimum(k, 10) / 10, 0.2, 0.7)
    assert_close(ow.clip(line, minimum=0.2, maximum=0.7), k, wanted)
    assert_close(ow.add(line, 0.5, line), k, 0.5 + 2 * (1 - np.minimum(k, 10) / 10))
    with pytest.raises(ValueError, match="minimum must be <= maximum"):
        ow.clip(line, minimum=0.5, maximum=0.4)


def test_a_warmup_meets_what_was_modified():
    for modified, peak in (
        (ow.clip(ow.transition(1.0, 0.0, 0), maximum=0.5), 0.5),
        (ow.add(0.25, ow.transition(1.0, 0.0, 0)), 1.25),
        (ow.staircase(ow.transition(1.0, 0.0, 0), 3), 1.0),
        (ow.retime(ow.transition(1.0, 0.0, 0), 3), 1.0),
        (ow.cycle(ow.transition(1.0, 0.0, 0), 3), 1.0),
    ):
        assert values(ow.warmup(modified, 10), [5]) == [peak / 2]


def test_noise_is_a_function_of_seed_and_step():
    k = np.arange(20_000)
    shaken = ow.jitter(2.0, 0.25, seed=7)
    v = values(shaken, k)
    assert np.all(np.abs(v / 2 - 1) < 0.25 + 1e-7) and np.ptp(v) > 0.99
    assert abs(v.mean() - 2) < 5 * 0.5 / math.sqrt(3 * len(k))
    # Uniform, and no step knows of the next one.
    counts = np.histogram(v, bins=20, range=(1.5, 2.5))[0]
    assert np.sum((counts - 1000) ** 2 / 1000) < 45  # 0.1 % of chi squared with 19
    assert abs(np.corrcoef(v[:-1], v[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(v, values(ow.jitter(2.0, 0.25, seed=8), k))[0, 1]) < 0.03
    # The same step by step, under jit and vmap, and in every version from now on.
    assert [float(shaken(step)) for step in range(5)] == v[:5].tolist()
    batched = jax.vmap(lambda s: ow.jitter(2.0, 0.25, seed=s)(jnp.arange(5)))
    np.testing.assert_array_equal(batched(jnp.array([7, 8]))[0], v[:5])
    np.testing.assert_allclose(v[:3], NOISE_OF_SEED_7, rtol=1e-6)
    assert np.all(values(ow.jitter(0.0, 1.0, seed=1), k[:100]) == 0)


NOISE_OF_SEED_7 = [1.98493266, 2.38726068, 1.51468325]


# Factors


def rho(n, b2):
    return 2 / (1 - b2) - 1 - 2 * n * b2**n / (1 - b2**n)


def radam(n, b2):
    r, s = rho(n, b2), 2 / (1 - b2) - 1
    return math.sqrt((r - 4) * (r - 2) * s / ((s - 4) * (s - 2) * r))


@pytest.mark.parametrize("b2", [0.61, 0.7, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999])
def test_radam(b2):
    first = next(n for n in range(1, 100) if rho(n, b2) > 4)
    assert first == 5 or b2 < 0.9
    k = np.unique(np.geomspace(1, 30 / (1 - b2), 200).astype(int)) - 1
    schedule = ow.factors.radam(b2)
    tolerance = 1e-6 if b2 >= 0.9 else 1e-5  # towards 0.6 all of it becomes 0 / 0
    assert_close(schedule, k, [radam(int(n) + first, b2) for n in k], tolerance)
    v = values(schedule, [*k, 10**6, LAST])
    assert np.all(v > 0) and np.all(v <= 1) and v[-1] == pytest.approx(1, abs=1e-6)


def test_radam_against_published_numbers():
    reference = {5: 0.017312, 6: 0.025821, 10: 0.048998, 100: 0.215335, 1000: 0.645326}
    for n, factor in reference.items():
        assert float(ow.factors.radam(0.999)(n - 5)) == pytest.approx(factor, abs=6e-7)
    # pytorch_warmup's own test has this one in closed form.
    exact = 3 * math.sqrt(55795775461652507765) / 126458170465
    assert float(ow.factors.radam(0.7)(0)) == pytest.approx(exact, rel=2e-6)


def test_factors_are_finite_with_their_gradients():
    def factor(b2, step):
        return ow.factors.radam(b2)(step)

    both = jax.jit(jax.value_and_grad(factor))
    for b2 in (0.6001, 0.65, 0.9, 0.999, 0.99999):
        for step in (0, 1, 5, 1000, LAST):
            value, slope = both(b2, step)
            assert np.isfinite(value) and 0 <= value <= 1 and np.isfinite(slope)
    for b2 in (0.6, 0.5, 1.0, -1.0):
        with pytest.raises(ValueError, match=r"factors.radam: b2 must be .* > 0.6"):
            ow.factors.radam(b2)


def test_untuned_lengths_are_rounded():
    lengths = {0.9: 20, 0.95: 40, 0.98: 100, 0.99: 200, 0.995: 400, 0.999: 2000}
    for b2, length in lengths.items():
        assert ow.factors.untuned_linear(b2) == ow.warmup(1.0, length, offset=1)
        half = ow.factors.exponential(length // 2)
        assert ow.factors.untuned_exponential(b2) == half
        traced = jax.jit(lambda b2: ow.factors.untuned_linear(b2)(np.arange(3)))(b2)
        np.testing.assert_allclose(traced, np.arange(1, 4) / length, rtol=1e-6)


# All of it may be traced, and has finite slopes.

TRACED = {
    "cycle": lambda n, v: ow.cycle(
        ow.transition(v, 0.1, n, shapes.cosine),
        n,
        period_multiplier=2,
        scale=v,
        floor=0.1,
    ),
    "exponential": lambda n, v: ow.exponential_decay(v, steps=n, rate=0.9, limit=0.2),
    "stairs": lambda n, v: ow.step_decay(v, steps=n, rate=0.5),
    "multistep": lambda n, v: ow.multistep(v, [(n, v), (2 * n, 0.1)]),
    "retime": lambda n, v: ow.retime(ow.transition(v, 0.0, n), n),
    "jitter": lambda n, v: ow.jitter(v, 0.1, seed=n),
    "factors.exponential": lambda n, v: ow.multiply(ow.factors.exponential(n), v),
    "one_cycle": lambda n, v: ow.one_cycle(v, n, 3 * n, return_steps=n),
    "triangular": lambda n, v: ow.triangular(0.1, v, n, n, scale=0.5, rate=v),
    "restarts": lambda n, v: ow.warmup_cosine_restarts(v, n, 4 * n, 3),
    "tri_stage": lambda n, v: ow.tri_stage(v, n, n, n, init_value=0.0, end_value=0.1),
    "power_law": lambda n, v: ow.power_law(v, n, hold_until=2 * n),
    "spike": lambda n, v: ow.spike(v, n, factor=v, up_steps=n, down_steps=n),
    "range_test": lambda n, v: ow.lr_range_test(0.01, v, n),
    "infinite": lambda n, v: ow.infinite(v, n, n, 0.1),
    "logarithmic": lambda n, v: ow.warmup(v, n, shape=shapes.logarithmic(v)),
    "tanh": lambda n, v: ow.transition(v, 0.1, n, shapes.tanh(-v, v)),
    "rex": lambda n, v: ow.transition(v, 0.1, n, shapes.rex(v)),
}


@parametrize("name", TRACED, quick=9)
def test_numbers_may_be_traced(name):
    build, steps = TRACED[name], np.arange(40)
    sweep = quickly(jax.vmap(lambda n, v: build(n, v)(steps)))
    lengths, peaks = np.array([1, 5, 9]), np.array([0.7, 0.8, 0.9])
    for n, v, row in zip(lengths, peaks, sweep(lengths, peaks), strict=True):
        plain = build(int(n), float(v))
        np.testing.assert_allclose(row, plain(steps), rtol=3e-6, atol=1e-7)
    slope = quickly(jax.jacobian(lambda v: build(5, v)(steps)))(0.8)
    assert np.all(np.isfinite(slope)) and np.any(slope != 0)
    float_length = quickly(lambda n: build(n, 0.8)(steps))(5.0)
    np.testing.assert_allclose(float_length, build(5, 0.8)(steps), rtol=3e-6, atol=1e-7)

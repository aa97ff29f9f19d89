"""Factors near 1 over very long runs: in float32 their digits would not be enough."""

import jax
import numpy as np
import pytest

import optax_warmup as ow

RATES = np.array([0.9, 0.97, 0.999, 0.9999, 0.999999, 1 - 1e-7, 1 - 1e-9, 1.0001])
STEPS = np.array([0, 1, 7, 999, 20_000, 50_001, 800_000, 2**30])[:, None]


def assert_close(found, exact, rtol):
    exact = np.where(exact > 3e38, np.finfo(np.float32).max, exact)
    np.testing.assert_allclose(found, exact, rtol=rtol, atol=1e-36)


@pytest.mark.parametrize("steps", [1, 10, 1000])
@pytest.mark.parametrize("call", [lambda s: s, jax.jit], ids=["call", "jit"])
def test_a_rate_keeps_its_digits(steps, call):
    decay = call(ow.exponential_decay(1.0, steps=steps, rate=RATES))
    with np.errstate(over="ignore"):
        assert_close(decay(STEPS), RATES ** (STEPS / steps), 5e-6)
        few = STEPS[:-1] / steps
        assert_close(decay(STEPS[:-1]), RATES**few, 3e-7)


@pytest.mark.parametrize("rate", RATES[:-1].tolist())
def test_a_rise_to_the_limit_keeps_them(rate):
    schedule = ow.exponential_decay(0.25, steps=3, rate=rate, limit=0.5)
    assert_close(schedule(STEPS), 0.5 - 0.25 * rate ** (STEPS / 3), 3e-7)


def per_update(rate):
    return ow.exponential_decay(1.0, steps=1, rate=rate)


WRAPPED = {
    "step_decay": (ow.step_decay(1.0, steps=2, rate=0.9999), 100_000, 0.9999**50_000),
    "delay": (ow.delay(per_update(0.999), 5), 10_005, 0.999**10_000),
    "multiply": (ow.multiply(per_update(0.999), 2.0), 10_000, 2 * 0.999**10_000),
    "stretch": (ow.stretch(per_update(0.999), 7), 70_000, 0.999**10_000),
    "warmup": (ow.warmup(per_update(0.999), 5), 10_005, 0.999**10_000),
    "join": (ow.join([(3, 1.0)], per_update(0.999)), 10_003, 0.999**10_000),
    "scale": (ow.cycle(1.0, 3, scale=0.9995), 30_000, 0.9995**10_000),
    "in a cycle": (
        ow.cycle(per_update(0.999), 20_000, scale=0.9),
        30_000,
        0.9 * 0.999**10_000,
    ),
    "cycles of cycles": (
        ow.cycle(ow.cycle(1.0, 2, scale=0.9997), 20_000, scale=0.7),
        36_000,
        0.7 * 0.9997**8_000,
    ),
}


@pytest.mark.parametrize("schedule, step, exact", WRAPPED.values(), ids=WRAPPED)
def test_wherever_a_factor_stands(schedule, step, exact):
    found = [schedule(step), jax.jit(schedule)(step)]
    with ow.bit_exact():
        found.append(jax.jit(lambda n: schedule(n))(step))
    np.testing.assert_allclose(found, exact, rtol=1e-6)


def test_a_slow_decay_never_rises():
    """But for the last bit at a period's begin, if an update changes less than that."""
    rng = np.random.default_rng(0)
    rates = 1 - 10 ** rng.uniform(-7, -0.3, 200)
    steps = (10 ** rng.uniform(0, 6, 200)).astype(int)
    first = (10 ** rng.uniform(0, 7, 200)).astype(int)
    decay = ow.exponential_decay(0.3, steps=steps, rate=rates)
    values = np.asarray(jax.jit(decay)(first + np.arange(2000)[:, None]))
    change = np.diff(values, axis=0)
    assert np.all(change <= np.spacing(values[1:]))
    assert np.all(change[:, (1 - rates) / steps > 2.5e-7] <= 0)


def test_a_traced_rate_has_the_digits_of_its_dtype():
    def last(rate):
        return ow.exponential_decay(1.0, steps=1, rate=rate)(50_000)

    rounded = float(np.float32(0.9999))
    np.testing.assert_allclose(jax.jit(last)(0.9999), rounded**50_000, rtol=1e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(last)(0.9999), 0.9999**50_000, rtol=1e-12)
        np.testing.assert_allclose(last(0.9999), 0.9999**50_000, rtol=1e-12)


def test_other_rates_compile_nothing_new():
    counted = 0

    def count(event, duration, **_):
        nonlocal counted
        counted += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(count)
    per_update(0.9)(7)
    before = counted
    per_update(0.91)(7)
    per_update(0.9999)(7)
    assert counted == before

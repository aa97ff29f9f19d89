"""Ten thousand random schedules against the float64 oracle, at every joint."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from cases import CASES, MAX_STEP, draw, steps
from selection import KINDS, one_case_a_kind, parametrize

import optax_warmup as ow

TOTAL = 10_000  # configurations, shared by the cases
EACH = -(-TOTAL // len(CASES))
# What XLA flushes to zero, and may then have been multiplied by a value of up to 10.
_SMALLEST = 10 * float(np.finfo(np.float32).tiny)


@functools.cache
def run(name):
    """Numbers, steps, our values and the oracle's for every drawn configuration.

    Configurations of one structure are stacked: one program serves them all.
    """
    case = CASES[name]
    rng = np.random.default_rng([*name.encode()])
    numbers = [draw(rng) for _ in range(EACH)]
    when = np.array([steps(n, rng) for n in numbers])
    ours = [case.build(ow, n) for n in numbers]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *ours)
    values = jax.jit(jax.vmap(lambda schedule, step: schedule(step)))(
        stacked, when.astype(np.int32)
    )
    wanted = [
        [float(reference(int(step))) for step in row]
        for reference, row in zip(
            (case.build(oracle, n) for n in numbers), when, strict=True
        )
    ]
    return numbers, when, np.asarray(values), np.array(wanted)


def promising(promise):
    """The cases that promise it."""
    members = [name for name in CASES if getattr(CASES[name], promise)]
    return parametrize("name", members, quick=KINDS)


def report(name, bad, when, values, wanted):
    """What a failure shows: the first few bad configurations as code."""
    numbers, *_ = run(name)
    rows = np.argwhere(bad)[:5]
    lines = (
        f"{CASES[name].build(ow, numbers[i])} at step {when[i, j]}: "
        f"{values[i, j]!r}, oracle {wanted[i, j]!r}"
        for i, j in rows
    )
    return f"{bad.sum()} of {bad.size}:\n" + "\n".join(lines)


@one_case_a_kind
def test_relative_error(name):
    _, when, values, wanted = run(name)
    assert values.dtype == (np.int32 if CASES[name].whole else np.float32)
    error = np.abs(values - wanted)
    bad = ~(error <= np.maximum(CASES[name].tolerance * np.abs(wanted), _SMALLEST))
    assert not bad.any(), report(name, bad, when, values, wanted)


@promising("exact")
def test_ends_are_exact(name):
    numbers, when, values, wanted = run(name)
    given = np.array([[n.v0, n.v1, n.v2, n.v3] for n in numbers])
    is_given = (wanted[:, :, None] == given[:, None, :]).any(axis=-1)
    assert is_given.any()
    bad = is_given & (values != wanted.astype(np.float32))
    assert not bad.any(), report(name, bad, when, values, wanted)


@promising("bounded")
def test_never_outside_its_bounds(name):
    numbers, when, values, wanted = run(name)
    given = np.array([[n.v0, n.v1, n.v2, n.v3] for n in numbers])
    low, high = wanted.min(axis=1), wanted.max(axis=1)
    low[low < _SMALLEST] = 0
    # An extreme that is not a given number, such as where a tail was cut, is rounded.
    low *= np.where(np.any(low[:, None] == given, axis=1), 1, 1 - 1e-6)
    high *= np.where(np.any(high[:, None] == given, axis=1), 1, 1 + 1e-6)
    low, high = low[:, None].astype(np.float32), high[:, None].astype(np.float32)
    bad = (values < low) | (values > high)
    assert not bad.any(), report(name, bad, when, values, wanted)


@promising("monotone")
def test_monotone_where_it_should_be(name):
    _, when, values, wanted = run(name)
    ours, theirs = np.diff(values, axis=1), np.diff(wanted, axis=1)
    bad = ((theirs >= 0) & (ours < 0)) | ((theirs <= 0) & (ours > 0))
    bad = np.pad(bad, [(0, 0), (1, 0)])
    assert not bad.any(), report(name, bad, when, values, wanted)


def test_every_step_of_a_ramp_is_monotone():
    """Where neighbours differ by less than the rounding, most of all."""
    step = np.arange(100_000, dtype=np.int32)
    for shape in (
        ow.shapes.linear,
        ow.shapes.cosine,
        ow.shapes.power(0.5),
        ow.shapes.power(3),
        ow.shapes.polynomial(2),
        ow.shapes.exponential(1e-3),
        ow.shapes.reverse(ow.shapes.exponential(1e-3)),
        ow.shapes.logarithmic(100),
        ow.shapes.tanh(-6, 3),
        ow.shapes.sigmoid(10),
        ow.shapes.rex(0.5),
        ow.shapes.warp(ow.shapes.cosine, ow.shapes.power(2)),
    ):
        for ends in ((0.0, 1.0), (1.0, 0.0), (0.999, 1.0), (3e-4, 3e-5)):
            for steps_, start in (
                (99_990, 0),
                (2**25, 2**24),
                (MAX_STEP, 2**27),
                (MAX_STEP, 2**30 - 50_000),
                (MAX_STEP, MAX_STEP - 100_000),
            ):
                ramp = ow.transition(*ends, steps_, shape)
                values = np.asarray(ramp(step + start))
                moves = np.diff(values) * np.sign(ends[1] - ends[0])
                assert np.all(moves >= 0), (ramp, start, moves.min())


def test_the_oracle_is_the_textbook_formula():
    """In the middle of a ramp, where float64 can say it without care."""
    t = np.arange(1, 100)
    p = t / 100
    tanh_width, low = np.tanh(1) + np.tanh(3), 1 / (1 + np.exp(3))
    for shape, formula in (
        (oracle.cosine, (1 - np.cos(np.pi * p)) / 2),
        (oracle.power(0.5), np.sqrt(p)),
        (oracle.polynomial(2), 1 - (1 - p) ** 2),
        (oracle.exponential(0.01), (1 - 0.01**p) / (1 - 0.01)),
        (oracle.logarithmic(9), np.log(1 + 8 * p) / np.log(9)),
        (oracle.logarithmic(0.2), np.log(1 - 0.8 * p) / np.log(0.2)),
        (oracle.tanh(-3, 1), (np.tanh(4 * p - 3) + np.tanh(3)) / tanh_width),
        (oracle.sigmoid(6), (1 / (1 + np.exp(3 - 6 * p)) - low) / (1 - 2 * low)),
        (oracle.rex(0.5), 0.5 * p / (1 - 0.5 * p)),
        (oracle.mirror_cosine, 2 * p - (1 - np.cos(np.pi * p)) / 2),
        (oracle.warp(oracle.cosine, oracle.power(3)), np.sin(np.pi * p**3 / 2) ** 2),
    ):
        ours = [oracle.transition(3.0, 1.0, 100, shape)(int(step)) for step in t]
        np.testing.assert_allclose(ours, 3 - 2 * formula, rtol=1e-12)


@pytest.mark.parametrize("shape", [ow.shapes.linear, ow.shapes.cosine])
@pytest.mark.parametrize("low", [0.0, 0.1])
def test_a_constant_of_a_program_has_its_ends_exactly(shape, low):
    """There XLA knows the lengths, and likes to multiply by 1 / n."""
    lengths = [1, 41, 47, 55, 1000, 2**24 + 1, MAX_STEP]
    up = [ow.transition(low, 0.3, n, shape) for n in lengths]
    down = [ow.cooldown(0.3, 5, n, end_value=low, shape=shape) for n in lengths]

    @jax.jit
    def program(first, last, before):
        ends = [[f(first), f(n), f(n - before)] for f, n in zip(up, last, strict=True)]
        falls = [
            [f(first), f(first + 5), f(n)] for f, n in zip(down, last, strict=True)
        ]
        return jnp.array(ends), jnp.array(falls)

    ends, falls = program(jnp.int32(0), [jnp.int32(n) for n in lengths], jnp.int32(1))
    low, high = np.float32([low, 0.3])
    assert (ends[:, 0] == low).all() and (ends[:, 1] == high).all()
    assert (ends >= low).all() and (ends <= high).all()
    assert (falls[:, :2] == high).all() and (falls >= low).all()
    assert (falls <= high).all()

"""Lengths that are traced, fractional, too long or none, and schedules of arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from selection import parametrize

import optax_warmup as ow


def cosine(p):
    return (1 + np.cos(np.pi * p)) / 2


def slope(f, x, h=1e-4):
    """The derivative of a float64 oracle."""
    return (f(x + h) - f(x - h)) / (2 * h)


def restarts(w):
    """Three cosine cycles over what is left of 100 updates, at step 50."""
    local = (50 - w) * 3 % (100 - w)
    return cosine(local / (100 - w))


SLOPES = {
    "exponential": (
        lambda n: ow.exponential_decay(1.0, steps=n, rate=0.5)(20),
        lambda n: 0.5 ** (20 / n),
        10.0,
    ),
    "cycle": (
        lambda n: ow.cycle(ow.transition(1.0, 0.0, n), n)(25),
        lambda n: 1 - (25 % n) / n,
        10.5,
    ),
    "restarts": (
        lambda n: ow.warmup_cosine_restarts(1.0, n, 100, 3)(50),
        restarts,
        10.0,
    ),
    "warmup": (lambda n: ow.warmup(1.0, n)(3), lambda n: 3 / n, 10.0),
    "cosine": (
        lambda n: ow.warmup_cosine(1.0, n, 100)(60),
        lambda n: cosine((60 - n) / (100 - n)),
        10.0,
    ),
    "wsd": (
        lambda n: ow.wsd(1.0, 10, 100, n)(95),
        lambda n: 1 - (95 - (100 - n)) / n,
        20.0,
    ),
    "piecewise": (
        lambda n: ow.piecewise(1.0, [(n, 0.5), (n, 0.0)])(12),
        lambda n: 0.5 - 0.5 * (12 - n) / n,
        10.0,
    ),
    "inverse_power": (
        lambda n: ow.warmup_inverse_sqrt(1.0, 10, timescale=n)(60),
        lambda n: (1 + 50 / n) ** -0.5,
        40.0,
    ),
    "cooldown": (
        lambda n: ow.cooldown(1.0, 10, n)(15),
        lambda n: 1 - 5 / n,
        20.0,
    ),
    "power_law": (
        lambda n: ow.warmup(ow.inverse_power(1.0, timescale=n, power=0.7), 5)(30),
        lambda n: (1 + 25 / n) ** -0.7,
        12.0,
    ),
}


@parametrize("name", SLOPES, quick=3)
def test_value_and_derivative_by_a_length(name):
    ours, oracle, at = SLOPES[name]
    value, derivative = jax.value_and_grad(ours)(at)
    np.testing.assert_allclose(value, oracle(at), rtol=1e-5)
    np.testing.assert_allclose(derivative, slope(oracle, at), rtol=2e-4)


def test_a_length_that_is_traced_as_a_float_may_be_a_fraction():
    found = jax.vmap(lambda n: ow.exponential_decay(1.0, steps=n, rate=0.5)(100))(
        jnp.array([12.5, 25.0])
    )
    np.testing.assert_allclose(found, [0.5**8, 0.5**4], rtol=1e-6)
    found = jax.vmap(lambda n: ow.cycle(ow.transition(1.0, 0.0, n), n)(30))(
        jnp.array([12.5, 20.0])
    )
    np.testing.assert_allclose(found, [1 - 5 / 12.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize("length", [np.uint32(2**31 + 5), np.int64(2**40)])
def test_traced_lengths_beyond_int32_do_not_wrap(length):
    with jax.enable_x64(True):
        value = jax.jit(lambda n: ow.warmup(1.0, n)(2**20))(length)
    np.testing.assert_allclose(value, 2**20 / (2**31 - 1), rtol=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        lambda: ow.warmup_cosine(1e-3, 0, 0),
        lambda: ow.warmup_linear(1e-3, 0, 0),
        lambda: ow.wsd(1e-3, 0, 0, 0),
        lambda: ow.one_cycle(1e-3, 0, 0),
        lambda: ow.warmup_cosine_restarts(1e-3, 0, 0, 1),
        lambda: ow.lr_range_test(1e-4, 1.0, 0),
        lambda: ow.compat.optax.warmup_cosine_decay_schedule(0.0, 1.0, 0, 0),
        lambda: ow.compat.transformers.get_scheduler("linear", 1.0, 0, 0),
        lambda: ow.compat.transformers.get_scheduler("cosine", 1.0, 0, 0),
    ],
)
def test_a_run_of_no_updates_is_refused(build):
    """epochs * (examples // batch_size) is 0 where a batch is larger than the data."""
    with pytest.raises(ValueError, match=r"(total|decay|training)_steps .*>= 1"):
        build()


AT_ONCE = ow.transition(1.0, 0.0, 0)
get_scheduler = ow.compat.transformers.get_scheduler


@parametrize(
    "rest",
    [
        AT_ONCE,
        ow.piecewise(1.0, [(0, 0.0)]),
        ow.piecewise(1.0, [(0, 0.0), (0, 0.5)]),
        ow.multiply(AT_ONCE, 1.0),
        ow.add(AT_ONCE, AT_ONCE),
        ow.delay(AT_ONCE, 3),
        ow.cooldown(AT_ONCE, 0, 5),
        ow.cooldown(1.0, 0, 0),
        ow.clip(AT_ONCE, maximum=2.0),
        ow.jitter(AT_ONCE, 0.0, seed=0),
        ow.round_to(AT_ONCE),
        ow.staircase(AT_ONCE, 2),
        ow.retime(AT_ONCE, 3),
        ow.cycle(AT_ONCE, 2),
        ow.join([(0, 0.0), (3, AT_ONCE)], last=0.0),
        ow.switch(AT_ONCE, 0.0, 4),
        ow.rewarm(AT_ONCE, 4, 2),
        ow.warmup(AT_ONCE, 0),
    ],
    quick=3,
    ids=repr,
)
def test_a_warmup_as_long_as_the_run_still_rises(rest):
    start = 2.0 if isinstance(rest, ow.add) else 1.0
    found = ow.warmup(rest, 10)(np.arange(10))
    np.testing.assert_allclose(found, start * np.arange(10) / 10, rtol=1e-6)


def test_the_same_by_hugging_faces_names():
    whole_run = [
        get_scheduler("warmup_stable_decay", 1.0, 10, 10, {"num_decay_steps": 0}),
        get_scheduler("cosine", 1.0, 10, 10, {"num_cycles": 1.5}),
        get_scheduler("linear", 1.0, 10, 10),
    ]
    for schedule in whole_run:
        np.testing.assert_allclose(
            schedule(np.arange(10)), np.arange(10) / 10, rtol=1e-6
        )


def test_numbers_may_be_arrays():
    two = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(ow.piecewise(two, [(5, 0.0)])(3), [0.4, 0.8], rtol=1e-6)
    lengths = jnp.array([4, 8])
    found = ow.piecewise(0.0, [(lengths, two), (4, 0.0, ow.shapes.cosine)])(4)
    np.testing.assert_allclose(found, [1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(
        ow.one_cycle(two, 5, 20, init_value=0.0, end_value=0.0)(5), two
    )
    stable = get_scheduler("warmup_stable_decay", two, 5, 20, {"num_decay_steps": 5})
    np.testing.assert_allclose(stable(7), two)
    with pytest.raises(ValueError, match=r"got \[1.0, 2.0\] of the old schedule and 3"):
        ow.switch(ow.constant(two), 3.0, begin=5)
    assert ow.switch(ow.constant(two), two, begin=5)(6).tolist() == [1.0, 2.0]
    three = jnp.array([1.0, 2.0, 3.0])
    for numbers in (two, three):
        longer = ow.retime(ow.transition(numbers, 0.0, 4), 4, 8, begin=2)
        np.testing.assert_allclose(longer(5), numbers * 0.25, rtol=1e-6)


@pytest.mark.parametrize("factor", [1.4, 0.4, 3.7])
def test_a_stretched_decay_keeps_its_pace(factor):
    decay = ow.exponential_decay(1.0, steps=5, rate=0.6)
    longer = ow.stretch(decay, factor)
    steps = np.arange(60)
    np.testing.assert_allclose(longer(steps), 0.6 ** (steps / factor / 5), rtol=3e-6)
    assert eval(repr(longer), vars(ow).copy()) == longer


def test_a_stretch_makes_no_length_that_cannot_be():
    with pytest.raises(ValueError, match="a length of 2 updates cannot become 0"):
        ow.stretch(ow.cycle(ow.transition(1.0, 0.0, 2), 2), 0.1)
    with pytest.raises(ValueError, match="cannot become 0"):
        ow.stretch(ow.staircase(1.0, 1), 0.4)


@pytest.mark.parametrize("offset", [0, 1])
def test_warmups_of_warmups_grow_in_a_straight_line(offset):
    """Each asks the schedule that it leads to for its first value, once."""

    def equations(depth):
        def nested(length):
            schedule = ow.constant(1.0)
            for _ in range(depth):
                schedule = ow.warmup(schedule, length, offset=offset)
            return schedule(3)

        return len(jax.make_jaxpr(nested)(5).eqns)

    counts = [equations(depth) for depth in range(1, 5)]
    assert len(set(np.diff(counts))) == 1


@pytest.mark.parametrize("offset", [0, 1])
def test_a_warmup_of_a_warmup_whose_length_may_be_0(offset):
    @jax.jit
    def value(first, second, step):
        inner = ow.warmup(1.0, second, init_value=0.5, offset=offset)
        return ow.warmup(inner, first, init_value=0.25, offset=offset)(step)

    for first in (0, 3):
        for second in (0, 4):
            inner = ow.warmup(1.0, second, init_value=0.5, offset=offset)
            known = ow.warmup(inner, first, init_value=0.25, offset=offset)
            found = [value(first, second, step) for step in range(9)]
            np.testing.assert_allclose(found, known(np.arange(9)), rtol=1e-6)


@pytest.mark.parametrize(
    "inside",
    [
        lambda m: m.retime(m.transition(1.0, 0.0, 40), 3),
        lambda m: m.retime(m.transition(1.0, 0.0, 40), 3, 2),
        lambda m: m.warmup_cosine_restarts(1.0, 2, 40, 3),
        lambda m: m.warmup(m.retime(m.transition(1.0, 0.0, 40), 2), 3),
    ],
)
def test_growing_cycles_stretch_what_is_played_at_another_pace(inside):
    """Inside a program the `begin` of a retime is an array, and not known to be 0."""
    ours, wanted = (
        m.cycle(inside(m), 10, period_multiplier=2, num_cycles=3) for m in (ow, oracle)
    )
    found = ours(np.arange(80))
    np.testing.assert_allclose(found, [wanted(step) for step in range(80)], atol=2e-6)


STARTS = {
    "infinite": lambda m: m.infinite(
        1.0, 0, 9, 0.1, init_value=0.0, shape=m.shapes.linear
    ),
    "tri_stage": lambda m: m.tri_stage(1.0, 0, 3, 5, init_value=0.0, end_value=0.1),
    "one_cycle": lambda m: m.one_cycle(
        1.0, 0, 9, init_value=0.0, end_value=0.1, return_steps=2, shape=m.shapes.cosine
    ),
    "triangular": lambda m: m.triangular(0.0, 1.0, 0, 5),
    "piecewise": lambda m: m.piecewise(0.0, [(0, 0.5), (0, 1.0), (4, 0.2)]),
    "in a product": lambda m: m.multiply(m.piecewise(0.0, [(0, 1.0), (4, 0.2)]), 2.0),
    "delayed": lambda m: m.delay(m.piecewise(0.0, [(0, 1.0), (4, 0.2)]), 3),
    "nothing left": lambda m: m.piecewise(1.0, [(0, 0.0)]),
    "nothing left of two": lambda m: m.piecewise(0.0, [(0, 1.0), (0, 0.1)]),
}


@pytest.mark.parametrize("name", STARTS)
def test_a_warmup_leads_to_the_first_phase_that_has_a_length(name):
    """Not to the start of a warmup of length 0, as of infinite(1.0, 0, ...)."""
    ours, wanted = (m.warmup(STARTS[name](m), 4) for m in (ow, oracle))
    found = ours(np.arange(12))
    np.testing.assert_allclose(found, [wanted(step) for step in range(12)], atol=1e-6)
    assert ours(3) == pytest.approx(0.75 * (2 if name == "in a product" else 1))


def test_it_does_so_for_lengths_that_are_traced():
    values = jax.vmap(
        lambda n: ow.warmup(ow.piecewise(0.25, [(n, 1.0), (8, 0.5)]), 4)(3)
    )(jnp.array([0, 4]))
    np.testing.assert_allclose(values, [0.75, 0.75 * 0.25])


def test_a_traced_stretch_rounds_to_the_nearest_step():
    def halfway(factor):
        return ow.stretch(ow.transition(0.0, 1.0, 10), factor)(5)

    found = [jax.jit(halfway)(factor) for factor in (0.96, 1.04, 1.06)]
    np.testing.assert_allclose(found, [5 / 10, 5 / 10, 5 / 11], rtol=1e-6)

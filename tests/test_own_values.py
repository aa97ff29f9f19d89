"""Schedules and shapes that users write themselves: fields that say what they are."""

import dataclasses
import inspect
import json
import pickle
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.typing import ArrayLike

import optax_warmup as ow
from optax_warmup import values


class sawtooth(ow.Schedule):
    """Rises to the peak again and again."""

    peak_value: values.Rate
    period: values.PositiveLength
    floor: values.Rate | None = None
    falling: values.Flag = False

    def __check_init__(self):
        if self.floor is not None and self.floor > self.peak_value:
            raise ValueError(f"sawtooth: floor must be <= peak, got {self.floor}.")

    def value_at(self, clock):
        share = (clock % self.period) / self.period
        share = 1 - share if self.falling else share
        value = self.peak_value * share
        return value if self.floor is None else jnp.maximum(value, self.floor)


class smoothstep(ow.shapes.Shape):
    """3 p**2 - 2 p**3, bent by an exponent."""

    exponent: values.PositiveRate = 1.0

    def rise(self, progress, left):
        bent = progress**self.exponent
        return bent**2 * (3 - 2 * bent)


class both(ow.Schedule):
    """One schedule in front of another, each of which may be anything."""

    first: ow.ScheduleLike
    then: ow.ScheduleLike
    steps: values.Length
    shape: ow.shapes.ShapeLike = ow.shapes.linear

    def value_at(self, clock):
        weight = self.shape(jnp.clip(clock / self.steps, 0, 1))
        first, then = self.first.value_at(clock), self.then.value_at(clock)
        return first + (then - first) * weight


def test_a_schedule_of_ones_own_is_a_schedule():
    schedule = sawtooth(2, period=4)
    assert isinstance(schedule, ow.Schedule)
    assert repr(schedule) == "sawtooth(2.0, period=4)"
    assert [schedule(step).item() for step in range(6)] == [0, 0.5, 1, 1.5, 0, 0.5]
    np.testing.assert_array_equal(
        jax.jit(schedule)(jnp.arange(6)), schedule(jnp.arange(6))
    )
    assert schedule == sawtooth(2.0, 4) and hash(schedule) == hash(sawtooth(2.0, 4))
    assert schedule != sawtooth(2.0, 4, falling=True)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert dataclasses.replace(schedule, period=8) == sawtooth(2.0, 8)
    optimizer = optax.sgd(schedule)
    params = jnp.ones(3)
    state = optimizer.init(params)
    for step in range(5):
        updates, state = optimizer.update(params, state)
        np.testing.assert_allclose(updates, -schedule(step) * params)


def test_it_goes_with_all_that_takes_schedules():
    schedule = ow.warmup(ow.multiply(sawtooth(1.0, 4, falling=True), 0.5), 2)
    assert [schedule(step).item() for step in range(4)] == [0, 0.25, 0.5, 0.375]
    assert ow.stretch(schedule, 2) == ow.warmup(
        ow.multiply(sawtooth(1.0, 8, falling=True), 0.5), 4
    )
    assert ow.describe(schedule, 8).peak_step == 2
    grown = ow.cycle(sawtooth(1.0, 2), 2, period_multiplier=2)
    assert [grown(step).item() for step in range(6)] == [0, 0.5, 0, 0.25, 0.5, 0.75]


def test_its_numbers_are_arguments_and_its_flags_structure():
    traces = []

    @jax.jit
    def peak(schedule):
        traces.append(schedule)
        return jax.vmap(schedule)(jnp.arange(4)).max()

    assert [peak(sawtooth(v, 4)).item() for v in (1.0, 2.0)] == [0.75, 1.5]
    assert len(traces) == 1
    assert peak(sawtooth(1.0, 4, falling=True)) == 1.0
    assert len(traces) == 2
    slope = jax.grad(lambda v: sawtooth(v, 4)(3))(2.0)
    assert slope == 0.75


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: sawtooth(-1.0, 4), ValueError, "sawtooth: peak_value .* -1.0"),
        (lambda: sawtooth("1", 4), TypeError, "sawtooth: peak_value .*'1'"),
        (lambda: sawtooth(1.0, 0), ValueError, "sawtooth: period .* >= 1"),
        (lambda: sawtooth(1.0, 4.5), ValueError, "sawtooth: period .*round it"),
        (lambda: sawtooth(1.0, 4, falling=1), TypeError, "falling must be True or"),
        (lambda: sawtooth(1.0, 4, floor=2.0), ValueError, "floor must be <= peak"),
        (lambda: smoothstep(0), ValueError, "smoothstep: exponent .* > 0"),
        (lambda: both(1.0, None, 4), TypeError, "both: then .* None"),
        (lambda: both(1.0, 1.0, 4, np.sqrt), TypeError, "both: shape .* traced"),
        (lambda: ow.stretch(sawtooth(1.0, 1), 0.2), ValueError, "cannot become 0"),
    ],
)
def test_its_fields_are_checked(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_a_shape_of_ones_own():
    schedule = ow.warmup(1.0, 4, shape=smoothstep(1.0))
    found = [schedule(step).item() for step in range(6)]
    assert found == [0, 0.15625, 0.5, 0.84375, 1, 1]
    assert repr(schedule) == "warmup(constant(1.0), steps=4, shape=smoothstep(1.0))"
    down = ow.transition(1.0, 0.0, 4, smoothstep())
    np.testing.assert_allclose(
        [down(step).item() for step in range(5)], [1, 0.84375, 0.5, 0.15625, 0]
    )
    traced = jax.jit(lambda e: ow.warmup(1.0, 4, shape=smoothstep(e))(2))(2.0)
    np.testing.assert_allclose(traced, 0.25**2 * 2.5)


def test_children_may_be_anything_that_is_a_schedule():
    schedule = both(optax.constant_schedule(1.0), 3, 4, shape=lambda p: p**2)
    assert schedule(2) == 1.5
    assert both(1.0, ow.warmup(1.0, 2), 4) == both(
        ow.constant(1.0), ow.warmup(1.0, 2), 4
    )


def test_it_goes_into_a_configuration_where_its_class_is_handed_in():
    schedule = ow.multiply(sawtooth(1.0, 4, falling=True), 0.5)
    config = json.loads(json.dumps(ow.to_config(schedule)))
    assert ow.from_config(config, {"sawtooth": sawtooth}) == schedule
    with pytest.raises(ValueError, match="unknown type 'sawtooth'"):
        ow.from_config(config)
    assert ow.fingerprint(schedule) != ow.fingerprint(
        ow.multiply(sawtooth(1.0, 4), 0.5)
    )


def test_a_field_may_be_annotated_with_the_class_itself():
    """So that a type checker knows what it has: the rest is as with ScheduleLike."""

    class either(ow.Schedule):
        first: ow.Schedule
        then: ow.Schedule | None = None
        shape: ow.shapes.Shape = ow.shapes.linear

        def value_at(self, clock):
            return self.first.value_at(clock) * self.shape(jnp.float32(0.5))

    schedule = either(sawtooth(1.0, 4), then=2, shape=jnp.sqrt)
    assert schedule.then == ow.constant(2) and schedule(2) == 0.5 * jnp.sqrt(0.5)
    assert ow.stretch(schedule, 3).first == sawtooth(1.0, 12)
    with pytest.raises(TypeError, match="either: first must be a schedule, got"):
        either(ow.shapes.linear)
    with pytest.raises(TypeError, match="either: shape must be a function of progress"):
        either(1.0, shape=1.0)


def test_a_class_of_schedules_is_no_kind():
    class held(ow.Schedule):
        first: sawtooth

        def value_at(self, clock):
            return self.first.value_at(clock)

    with pytest.raises(TypeError, match="held.first: .* does not say what the field"):
        held(sawtooth(1.0, 4))


def test_a_class_named_like_one_of_the_librarys_is_not_saved_as_that():
    class constant(ow.Schedule):
        value: values.Rate

        def value_at(self, clock):
            return jnp.full(jnp.shape(clock), 7.0)

    with pytest.raises(ValueError, match="a class of yours is called constant"):
        ow.to_config(ow.multiply(constant(0.5), 2.0))


def test_a_field_must_say_what_it_holds():
    class vague(ow.Schedule):
        peak: float

        def value_at(self, clock):
            return self.peak

    with pytest.raises(TypeError, match="vague.peak: .* does not say what the field"):
        vague(1.0)


def test_ones_own_kind_of_number():
    class halved(ow.Schedule):
        share: Annotated[ArrayLike, values.Number(minimum=0, maximum=0.5)]

        def value_at(self, clock):
            return jnp.full(jnp.shape(clock), self.share)

    assert halved(0.25)(7) == 0.25
    with pytest.raises(ValueError, match="halved: share .* <= 0.5, got 0.75"):
        halved(0.75)


def test_signatures_name_the_kinds():
    shown = str(inspect.signature(ow.warmup))
    assert "schedule: 'ScheduleLike', steps: 'Length'" in shown
    assert "peak_value: 'Rate'" in str(inspect.signature(ow.wsd))


@pytest.mark.parametrize("bits", [32, 64])
def test_a_schedule_survives_a_jitted_function(bits):
    schedule = ow.warmup_cosine(1e-3, 10, 100, end_value=1e-5)
    with jax.enable_x64(bits == 64):
        again = jax.jit(lambda s: s)(schedule)
    assert again == schedule and schedule == again
    assert hash(again) == hash(schedule)
    assert ow.fingerprint(again) == ow.fingerprint(schedule)
    assert again in {schedule}
    assert repr(again).startswith("warmup(transition(Array(0.001")
    assert again(50) == schedule(50)
    assert again != ow.warmup_cosine(1.001e-3, 10, 100, end_value=1e-5)


@pytest.mark.parametrize("combine", [ow.multiply, ow.add])
def test_fields_of_a_combination_can_be_replaced(combine):
    both_of = combine(1.0, ow.warmup(1.0, 4))
    assert dataclasses.replace(both_of) == both_of
    assert dataclasses.replace(both_of, schedules=(2.0,)) == combine(2.0)
    with pytest.raises(TypeError, match="at least one"):
        dataclasses.replace(both_of, schedules=())


def test_a_shape_must_be_traceable_when_it_is_given():
    with pytest.raises(TypeError, match="warmup: shape must .* can be traced"):
        ow.warmup(1.0, 10, shape=np.sqrt)
    with pytest.raises(TypeError, match="one real number"):
        ow.warmup(1.0, 10, shape=lambda p: jnp.stack([p, p]))
    assert ow.warmup(1.0, 10, shape=jnp.sqrt)(10) == 1.0

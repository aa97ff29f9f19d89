"""Durations in every unit, schedules read in tokens, and whole-number schedules."""

import math
import random
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow

LAST = 2**31 - 1


def half_up(exact: Fraction) -> int:
    steps = math.floor(exact + Fraction(1, 2))
    return max(steps, 1) if exact > 0 else 0


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        ({"steps": 7}, 7),
        ({"steps": 0}, 0),
        ({"epochs": 1, "dataset_size": 1000, "batch_size": 64}, 16),  # 15.625
        ({"epochs": 0.5, "dataset_size": 1001, "batch_size": 1}, 501),  # 500.5
        ({"examples": 96, "batch_size": 64}, 2),  # 1.5
        ({"examples": 95, "batch_size": 64}, 1),
        ({"examples": 1, "batch_size": 64}, 1),  # not 0: it was asked for
        ({"examples": 0, "batch_size": 64}, 0),
        ({"tokens": 15e12, "sequence_length": 4096, "batch_size": 1024}, 3576279),
        ({"fraction": 0.3, "total_steps": 5}, 2),  # 0.3 in binary is a little less
        ({"fraction": np.float32(0.3), "total_steps": 5}, 2),
        ({"fraction": 0.1, "total_steps": np.int32(100_000)}, 10_000),
        ({"fraction": 1, "total_steps": LAST}, LAST),
        ({"fraction": 0.0, "total_steps": 5}, 0),
        ({"fraction": jnp.float32(0.25), "total_steps": jnp.int32(10)}, 3),  # 2.5
    ],
)
def test_rounds_half_up_and_never_to_zero(duration, steps):
    found = ow.steps_from(**duration)
    assert found == steps
    assert type(found) is int


def test_agrees_with_exact_arithmetic():
    rng = random.Random(0)
    for _ in range(500):
        examples, batch_size = rng.randrange(10**12), rng.randrange(1000, 10**6)
        length = rng.randrange(1, 10**5)
        assert ow.steps_from(examples=examples, batch_size=batch_size) == half_up(
            Fraction(examples, batch_size)
        )
        assert ow.steps_from(
            tokens=examples, batch_size=batch_size, sequence_length=length
        ) == half_up(Fraction(examples, batch_size * length))


def test_what_a_unit_does_not_need_is_ignored():
    run = {"batch_size": 32, "dataset_size": 640, "sequence_length": 8}
    assert ow.steps_from(epochs=2, **run) == 40
    assert ow.steps_from(tokens=256 * 5, **run) == 5
    assert ow.steps_from(fraction=0.5, total_steps=10, **run) == 5


def torch_batches(size, batch, processes, drop_last):
    """Batches of an epoch in each process, by the loops of PyTorch's classes.

    DistributedSampler drops the tail or repeats the first examples, so that each
    process has as many; then DataLoader makes batches of what a process has.
    """
    examples = list(range(size))
    if drop_last:
        examples = examples[: size // processes * processes]
    else:
        while len(examples) % processes:
            examples += examples[: processes - len(examples) % processes]
    batches = []
    for start in range(0, len(examples[0::processes]), batch):
        batches.append(examples[0::processes][start : start + batch])
    return sum(len(b) == batch for b in batches) if drop_last else len(batches)


def simulated(epochs, microbatches, window, last_window):
    """The updates of a loop over the batches of some epochs."""
    updates = waiting = 0
    for _ in range(epochs):
        for batch in range(microbatches):
            waiting += 1
            last = batch == microbatches - 1 and last_window == "update"
            if waiting == window or last:
                updates, waiting = updates + 1, 0
        if last_window == "drop":
            waiting = 0
    return updates


def test_epochs_are_counted_as_loaders_count_them():
    rng = random.Random(1)
    seen = set()
    for _ in range(400):
        epochs, processes = rng.randrange(1, 5), rng.choice([1, 2, 3, 8])
        batch, window = rng.randrange(1, 9), rng.choice([1, 2, 3, 5])
        size, drop_last = rng.randrange(1, 300), rng.random() < 0.5
        last_window = rng.choice(["continue", "update", "drop"])
        per_epoch = torch_batches(size, batch, processes, drop_last)
        expected = simulated(epochs, per_epoch, window, last_window)
        run = {
            "epochs": epochs,
            "dataset_size": size,
            "batch_size": batch * processes * window,
            "drop_last": drop_last,
            "accumulation_steps": window,
            "last_window": last_window,
        }
        if expected:
            assert ow.steps_from(**run) == expected, run
        elif not per_epoch or last_window == "drop":
            with pytest.raises(ValueError, match="leaves nothing"):
                ow.steps_from(**run)
        else:
            assert ow.steps_from(**run) == 1  # a duration that was asked for
        seen.add((drop_last, last_window, expected > 0))
    assert len(seen) >= 10


def test_epochs_of_a_grain_loader():
    """Grain's own batches, whether it repeats before or after them."""
    grain = pytest.importorskip("grain", reason="needs the extra `examples`")
    data = grain.MapDataset.source(list(range(1000)))
    for drop in (False, True):
        batches = data.batch(600, drop_remainder=drop).repeat(10)
        run = {"epochs": 10, "dataset_size": 1000, "batch_size": 600}
        assert ow.steps_from(drop_last=drop, **run) == len(batches) == 10 * (2 - drop)
    stream = data.repeat(10).batch(600, drop_remainder=False)
    assert ow.steps_from(**run) == len(stream) == 17


def test_optax_goes_on_with_a_window_in_the_next_epoch():
    optimizer = optax.MultiSteps(optax.sgd(1.0), 4)
    state = optimizer.init(jnp.ones(()))
    for _ in range(3 * 6):  # 3 epochs of 6 microbatches
        _, state = optimizer.update(jnp.ones(()), state, jnp.ones(()))
    run = {"epochs": 3, "dataset_size": 11, "batch_size": 8, "accumulation_steps": 4}
    assert ow.steps_from(drop_last=False, **run) == int(state.gradient_step) == 4
    assert ow.steps_from(drop_last=False, last_window="update", **run) == 6
    assert ow.steps_from(drop_last=False, last_window="drop", **run) == 3


@pytest.mark.parametrize(
    ("epochs", "steps"), [(0, 0), (0.5, 1), (0.01, 1), (1.25, 3), (2, 4)]
)
def test_parts_of_epochs_are_rounded(epochs, steps):
    run = {"dataset_size": 1000, "batch_size": 600, "drop_last": False}
    assert ow.steps_from(epochs=epochs, **run) == steps


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4), ("sqrt", 2), ("none", 1)])
def test_a_schedule_of_another_batch_from_the_start(rule, factor):
    """The rate follows the rule and the lengths the data, in whole updates."""
    tuned = ow.warmup_linear(0.1, 100, 1000, offset=1)
    other = ow.runs.change_batch_size(tuned, 0, old=64, new=256, rule=rule)
    for step in (0, 1, 24, 25, 100, 249, 250, 400):
        expected = factor * tuned(4 * step).item()
        assert other(step).item() == pytest.approx(expected, rel=1e-5), step


@pytest.mark.parametrize(
    "duration", [{"steps": 3}, {"examples": 35}, {"fraction": 0.5, "total_steps": 9}]
)
def test_how_epochs_end_is_not_ignored_elsewhere(duration):
    with pytest.raises(TypeError, match="drop_last=True is for epochs only"):
        ow.steps_from(batch_size=10, drop_last=True, **duration)
    with pytest.raises(TypeError, match="accumulation_steps=2 has no effect without"):
        ow.steps_from(batch_size=10, accumulation_steps=2, **duration)
    assert ow.steps_from(batch_size=10, dataset_size=5, **duration) > 0


@pytest.mark.parametrize(
    ("duration", "error", "words"),
    [
        (
            {"drop_last": True, "batch_size": ow.join([(2, 8)], last=16)},
            TypeError,
            ["drop_last", "join"],
        ),
        ({"last_window": "update"}, TypeError, ["last_window='update'", "drop_last"]),
        ({"last_window": "keep"}, ValueError, ["last_window", "'keep'", "'drop'"]),
        (
            {"drop_last": True, "accumulation_steps": 3},
            ValueError,
            ["accumulation_steps", "3 and 8"],
        ),
        ({"drop_last": True, "dataset_size": 7}, ValueError, ["drop_last", "7", "8"]),
        (
            {"drop_last": True, "accumulation_steps": 0},
            ValueError,
            ["accumulation_steps", "0"],
        ),
        ({"drop_last": 1}, TypeError, ["drop_last", "True or False"]),
    ],
)
def test_says_what_is_wrong_with_the_end_of_an_epoch(duration, error, words):
    run = {"epochs": 2, "dataset_size": 100, "batch_size": 8}
    with pytest.raises(error) as caught:
        ow.steps_from(**(run | duration))
    for word in ("steps_from: ", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("duration", "error", "words"),
    [
        ({}, TypeError, ["exactly one", "none"]),
        ({"steps": 1, "epochs": 1}, TypeError, ["exactly one", "steps and epochs"]),
        ({"epochs": 1, "batch_size": 2}, TypeError, ["epochs needs dataset_size"]),
        ({"epochs": 1, "dataset_size": 2}, TypeError, ["epochs needs batch_size"]),
        ({"examples": 1}, TypeError, ["examples needs batch_size"]),
        ({"tokens": 1, "batch_size": 2}, TypeError, ["tokens needs sequence_length"]),
        ({"fraction": 0.1}, TypeError, ["fraction needs total_steps"]),
        ({"fraction": 1.1, "total_steps": 9}, ValueError, ["fraction", "1.1", "<= 1"]),
        ({"fraction": -0.1, "total_steps": 9}, ValueError, ["fraction", "-0.1"]),
        ({"epochs": -1, "dataset_size": 9, "batch_size": 1}, ValueError, ["epochs"]),
        ({"examples": math.nan, "batch_size": 1}, ValueError, ["examples", "nan"]),
        ({"examples": math.inf, "batch_size": 1}, ValueError, ["examples", "inf"]),
        ({"examples": 9, "batch_size": 0}, ValueError, ["batch_size", "0"]),
        ({"examples": 9, "batch_size": 1.5}, ValueError, ["batch_size", "1.5"]),
        ({"examples": 9, "batch_size": "4"}, TypeError, ["batch_size", "'4'"]),
        ({"examples": True, "batch_size": 4}, TypeError, ["examples", "True"]),
        ({"examples": [1, 2], "batch_size": 4}, TypeError, ["examples", "[1, 2]"]),
        ({"examples": 1e12, "batch_size": 1}, ValueError, ["examples", "2**31 - 1"]),
        ({"steps": 1.5}, ValueError, ["steps", "1.5"]),
        ({"steps": 2**31}, ValueError, ["steps", "2**31 - 1"]),
        (
            {"epochs": 1, "dataset_size": 9.5, "batch_size": 1},
            ValueError,
            ["dataset_size", "9.5"],
        ),
        (
            {"examples": 9, "batch_size": ow.warmup(8.0, 3)},
            TypeError,
            ["batch_size", "join"],
        ),
    ],
)
def test_says_what_is_wrong(duration, error, words):
    with pytest.raises(error) as caught:
        ow.steps_from(**duration)
    message = str(caught.value)
    assert message.startswith("steps_from: ")
    for word in words:
        assert word in message


def test_refuses_a_traced_duration():
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda n: ow.steps_from(examples=n, batch_size=2))(4)


def grown(step: int, phases, last: int) -> int:
    """Examples in the updates before `step`."""
    seen = 0
    for steps, size in phases:
        seen += min(step, steps) * size
        step = max(step - steps, 0)
    return seen + step * last


def ramps(rng: random.Random, count: int):
    for _ in range(count):
        base = rng.choice([1, 3, 8, 256])
        phases = [
            (rng.choice([0, 1, 7, 1000, 10**6]), base * rng.randrange(1, 5000))
            for _ in range(rng.randrange(4))
        ]
        yield base, phases, base * rng.randrange(1, 5000)


def test_a_growing_batch_moves_the_clock_by_the_examples_it_takes():
    rng = random.Random(1)
    # The identity shows the clock itself; it is exact in float32 up to 2**24.
    identity = ow.transition(0.0, 2.0**24, 2**24)
    for base, phases, last in ramps(rng, 40):
        batch_size = ow.join(phases, last) if phases else last
        schedule = ow.growing_batch(identity, batch_size, base=base)
        joints = np.cumsum([steps for steps, _ in phases]).tolist()
        steps = {0, 1, LAST, *(j + d for j in joints for d in (-1, 0, 1))}
        for step in sorted(max(step, 0) for step in steps):
            expected = min(grown(step, phases, last) // base, 2**24)
            assert schedule(step).item() == expected


def test_the_clock_is_right_at_fifteen_trillion_tokens():
    # 4096 tokens an example; 15e12 tokens are 3.7e9 examples, beyond int32.
    phases, last, base = [(50_000, 1024), (100_000, 2048)], 4096, 1024
    batch_size = ow.join(phases, last)
    run = {"sequence_length": 4096, "batch_size": batch_size}
    updates = ow.steps_from(tokens=15e12, **run)
    assert updates == half_up(
        150_000 + (Fraction(15 * 10**12, 4096) - grown(150_000, phases, last)) / last
    )
    total = ow.steps_from(tokens=15e12, sequence_length=4096, batch_size=base)
    schedule = ow.growing_batch(ow.transition(1.0, 0.0, total), batch_size, base=base)
    for step in (0, 49_999, 50_000, 150_001, 500_000, updates - 1):
        left = total - grown(step, phases, last) // base
        np.testing.assert_allclose(schedule(step), left / total, rtol=1e-6)
    assert schedule(updates + 1) == 0


def test_the_clock_stops_and_does_not_wrap():
    schedule = ow.growing_batch(ow.transition(0.0, 1.0, LAST), 2**24, base=1)
    assert schedule(127) < 1
    for step in (128, 129, 2**20, LAST):
        assert schedule(step) == 1


def test_growing_batch_is_a_schedule_like_any_other():
    batch_size = ow.join([(3, 4)], last=8)
    schedule = ow.growing_batch(ow.warmup_linear(1.0, 4, 12), batch_size, base=4)
    steps = np.arange(12)
    expected = [ow.warmup_linear(1.0, 4, 12)(grown(k, [(3, 4)], 8) // 4) for k in steps]
    np.testing.assert_array_equal(schedule(steps), np.array(expected))
    np.testing.assert_array_equal(jax.jit(schedule)(steps), schedule(steps))
    assert eval(repr(schedule), vars(ow).copy()) == schedule
    assert schedule(jnp.uint32(5)) == schedule(5) == schedule(5.0)

    def value(length):
        return ow.growing_batch(
            ow.warmup(1.0, 10), ow.join([(length, 4)], last=8), base=4
        )(6)

    np.testing.assert_allclose(
        jax.vmap(value)(jnp.arange(4)), [1.0, 1.0, 1.0, 0.9], rtol=1e-6
    )
    assert jnp.isfinite(
        jax.grad(lambda p: ow.growing_batch(ow.warmup(p, 10), batch_size, base=4)(2))(
            2.0
        )
    )


@pytest.mark.parametrize(
    ("batch_size", "base", "error", "words"),
    [
        (ow.join([(3, 4)], last=6), 4, ValueError, ["base=4", "divisor is 2"]),
        (ow.join([(3, 4.5)], last=8), 1, ValueError, ["batch_size", "4.5"]),
        (ow.join([(3, 0)], last=8), 1, ValueError, ["batch_size", "0"]),
        (2**24 + 1, 1, ValueError, ["2**24", "sequence_length"]),
        (8, 0, ValueError, ["base", "0"]),
        (8, 2.5, ValueError, ["base", "2.5"]),
        (ow.warmup(8.0, 2), 1, TypeError, ["batch_size", "join"]),
        (ow.join([(3, ow.warmup(8.0, 2))], last=8), 1, TypeError, ["join"]),
        ("8", 1, TypeError, ["batch_size", "'8'"]),
    ],
)
def test_growing_batch_says_what_is_wrong(batch_size, base, error, words):
    with pytest.raises(error) as caught:
        ow.growing_batch(1.0, batch_size, base=base)
    for word in ["growing_batch", *words]:
        assert word in str(caught.value)


def test_round_to_values_are_whole_numbers():
    schedule = ow.round_to(ow.transition(1, 5, 8))
    assert schedule(3).dtype == jnp.int32
    assert schedule(np.arange(10)).tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 5]
    by_eight = ow.round_to(ow.transition(30, 100, 4), multiple=8)
    assert by_eight(np.arange(5)).tolist() == [32, 48, 64, 80, 104]
    assert ow.round_to(2.0**24)(0) == 2**24
    assert ow.round_to(3e38)(0) == LAST
    assert ow.round_to(3e38, multiple=1000)(0) == LAST // 1000 * 1000
    assert ow.round_to(2147483520.0)(0) == 2147483520  # float32's last below 2**31
    assert eval(repr(by_eight), vars(ow).copy()) == by_eight
    np.testing.assert_array_equal(
        jax.jit(by_eight)(np.arange(5)), by_eight(np.arange(5))
    )


@pytest.mark.parametrize("multiple", [0, -8, 1.5, math.nan, "8", None])
def test_round_to_says_what_is_wrong(multiple):
    with pytest.raises((ValueError, TypeError), match="round_to: multiple"):
        ow.round_to(8.0, multiple=multiple)


def test_stretched_with_the_phases_of_its_batch():
    """Twice as long a run: the same values at every second step, to the last one."""
    batch_size = ow.join([(3, 256), (5, 512)], last=1024)
    schedule = ow.growing_batch(ow.transition(0.0, 1.0, 30), batch_size, base=256)
    longer = ow.stretch(schedule, 2)
    assert longer(2 * np.arange(20)).tolist() == schedule(np.arange(20)).tolist()
    assert longer.batch_size == ow.join([(6, 256), (10, 512)], last=1024)
    assert longer.base == 256
    constant = ow.growing_batch(ow.transition(0.0, 1.0, 4), 512, base=256)
    assert ow.stretch(constant, 2)(4) == constant(2) == 1.0

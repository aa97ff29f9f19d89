"""Other systems' schedules, reproduced in one expression each."""

import ast
import inspect

import jax
import numpy as np
import optax
import pytest
from parity_table import ROWS, numbers
from parity_variants import MORE
from selection import parametrize
from write_migration import PAGE, migration_page

import optax_warmup as ow
from optax_warmup import shapes

NUMBERS = numbers()
PUBLIC = {name: thing for name, thing in vars(ow).items() if not name.startswith("_")}


def evaluate(expression):
    return eval(expression, {"__builtins__": {}}, PUBLIC)


def assert_same(schedule, wanted, tolerance=1e-6):
    wanted = np.asarray(wanted, np.float64)
    values = np.asarray(schedule(np.arange(len(wanted))), np.float64)
    scale = np.where(wanted == 0, 1.0, np.abs(wanted))
    np.testing.assert_array_less(np.abs(values - wanted) / scale, tolerance)


@parametrize("row", ROWS, quick=3, ids=lambda row: row.key)
def test_parity(row):
    wanted = NUMBERS[row.key][: row.until]
    assert len(wanted) >= 20
    assert_same(evaluate(row.ours), wanted)


def alternative(row):
    """The expression of a note that says "or ...", which reads the same numbers."""
    return row.note.removeprefix("or ").split(";")[0].split(": ")[0]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.note.startswith("or ")], ids=lambda row: row.key
)
def test_alternatives_in_the_notes(row):
    assert_same(evaluate(alternative(row)), NUMBERS[row.key][: row.until])


def test_every_curve_has_one_row_and_one_expression():
    assert sorted(row.key for row in ROWS) == sorted(NUMBERS)
    for row in ROWS:
        ast.parse(row.ours, mode="eval")
        # A shortened comparison says why.
        assert row.until is None or row.note


def test_until_is_where_the_peer_leaves_its_range():
    for row in ROWS:
        if row.until is None:
            continue
        numbers = np.asarray(NUMBERS[row.key])
        ours = np.asarray(evaluate(row.ours)(np.arange(len(numbers))))
        # Not one update more could be compared: there the peer goes astray.
        assert abs(ours[row.until] - numbers[row.until]) > 1e-3, row.key


@parametrize("case", MORE, quick=3, ids=lambda case: case[0])
def test_more_curves(case):
    """From tables of three decimals, or from the formula, in the values' own digits."""
    _, ours, wanted, tolerance = case
    values = np.asarray(evaluate(ours)(np.arange(len(wanted))), np.float64)
    np.testing.assert_allclose(values, wanted, atol=tolerance, rtol=0)


@parametrize("row", ROWS[::7], quick=3, ids=lambda row: row.key)
def test_rows_are_values(row):
    schedule = evaluate(row.ours)
    assert evaluate(repr(schedule)) == schedule
    steps = np.arange(30)
    np.testing.assert_allclose(schedule(steps), jax.jit(schedule)(steps), rtol=3e-7)
    with ow.bit_exact():
        np.testing.assert_array_equal(schedule(steps), jax.jit(schedule)(steps))


def test_the_migration_guide_is_up_to_date():
    text = PAGE.read_text()
    assert text == migration_page(), "run: python tests/tools/write_migration.py"


DROP_INS = [
    (
        ow.compat.optax.warmup_constant_schedule,
        optax.warmup_constant_schedule,
        (0.1, 1.0, 7),
    ),
    *(
        (
            ow.compat.optax.warmup_cosine_decay_schedule,
            optax.warmup_cosine_decay_schedule,
            arguments,
        )
        for arguments in (
            (0.0, 1.0, 5, 25),
            (0.2, 1.0, 0, 25),
            (0.5, 2.0, 5, 25, 0.3, 1.5),
        )
    ),
    *(
        (
            ow.compat.optax.warmup_exponential_decay_schedule,
            optax.warmup_exponential_decay_schedule,
            (0.1, 1.0, 4, 3, rate, begin, staircase, end_value),
        )
        for begin in (0, 2)
        for staircase in (False, True)
        for rate, end_value in ((0.5, None), (0.5, 0.1), (1.5, 2.0))
    ),
]


@parametrize(("ours", "theirs", "arguments"), DROP_INS, quick=3)
def test_drop_ins_have_optax_numbers(ours, theirs, arguments):
    steps = np.arange(30)
    wanted = np.asarray(theirs(*arguments)(steps))
    values = np.asarray(ours(*arguments)(steps))
    # optax's cosine ends at the last bits of 1 + cos(pi).
    np.testing.assert_allclose(values, wanted, rtol=3e-6, atol=1e-7)
    names = list(inspect.signature(theirs).parameters)
    by_name = dict(zip(names, arguments, strict=False))
    assert list(inspect.signature(ours).parameters) == names
    assert ours(**by_name) == ours(*arguments)


def test_drop_ins_are_right_where_optax_is_not():
    stuck = optax.warmup_constant_schedule(0.0, 1e-3, warmup_steps=0)
    assert float(stuck(1000)) == 0.0  # the reason for this line; if it fails, rejoice
    ours = ow.compat.optax.warmup_constant_schedule(0.0, 1e-3, warmup_steps=0)
    assert [float(ours(step)) for step in (0, 1, 1000)] == [np.float32(1e-3)] * 3
    ours = ow.compat.optax.warmup_cosine_decay_schedule(0.0, 0.0, 2, 6, end_value=0.5)
    assert float(ours(6)) == 0.5


FAMILY = {
    "linear": {},
    "cosine": {},
    "cosine_with_restarts": {"num_cycles": 3},
    "polynomial": {"power": 2.0, "lr_end": 0.01},
    "constant": {},
    "constant_with_warmup": {},
    "inverse_sqrt": {"timescale": 50},
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr": 0.1, "warmup_lr_rate": 0.2},
    "warmup_stable_decay": {"num_decay_steps": 4},
}


@pytest.mark.parametrize("name", FAMILY)
def test_get_scheduler_takes_every_name(name):
    schedule = ow.compat.transformers.get_scheduler(name, 2.0, 5, 21, FAMILY[name])
    values = np.asarray(schedule(np.arange(40)))
    assert np.all(np.isfinite(values)) and np.all(values >= 0)
    assert values.max() == 2.0
    assert values[30] == values[39] or name == "inverse_sqrt"  # it holds
    traced = jax.jit(
        lambda peak, step: ow.compat.transformers.get_scheduler(
            name, peak, 5, 21, FAMILY[name]
        )(step)
    )
    np.testing.assert_allclose(traced(2.0, np.arange(40)), values, rtol=1e-6)


@parametrize("cycles", [7 / 16, 0.5, 0.75, 1.0, 1.5, 2.2, 0.25], quick=4)
def test_get_scheduler_cosine_takes_any_number_of_cycles(cycles):
    schedule = ow.compat.transformers.get_scheduler(
        "cosine", 1.0, 4, 25, {"num_cycles": cycles}
    )
    k = np.arange(26)
    progress = (k - 4) / 21
    wave = (1 + np.cos(2 * np.pi * cycles * progress)) / 2
    np.testing.assert_allclose(schedule(k), np.where(k < 4, k / 4, wave), atol=2e-6)
    assert float(schedule(26)) == float(schedule(1000))


def test_restarts_of_fractional_length_are_exact():
    for decay, cycles in ((16, 3), (100, 7), (10_007, 11)):
        schedule = ow.compat.transformers.get_scheduler(
            "cosine_with_restarts", 1.0, 0, decay, {"num_cycles": cycles}
        )
        k = np.arange(decay)
        # In integers: a float's remainder falls on the wrong side of a restart.
        phase = (k * cycles % decay) / decay
        wanted = (1 + np.cos(np.pi * phase)) / 2
        np.testing.assert_allclose(schedule(k), wanted, atol=1e-6)
        assert float(schedule(decay)) == 0.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cosin", 1.0), ["'cosin'", "did you mean 'cosine'", "warmup_stable_decay"]),
        (("linear", 1.0, 5), ["needs num_training_steps"]),
        (("linear", 1.0, 30, 20), ["num_warmup_steps", "30", "20"]),
        (("linear", 1.0, 5, 20, {"powr": 2}), ["'powr'", "num_training_steps"]),
        (("polynomial", 1.0, 5, 20, {"powr": 2}), ["did you mean 'power'"]),
        (("polynomial", 1e-8, 5, 20), ["lr_end", "1e-07", "peak_value", "1e-08"]),
        (("cosine_with_min_lr", 1.0, 5, 20), ["min_lr", "min_lr_rate"]),
        (("reduce_lr_on_plateau", 1.0), ["reduce_on_plateau"]),
        (("cosine", 1.0, 5, 20, {"num_cycles": 0.1234567}), ["num_cycles"]),
        (("linear", -1.0, 5, 20), ["peak_value", "-1.0"]),
        (
            ("warmup_stable_decay", 1.0, 5, 20, {"num_decay_steps": 16}),
            ["num_decay_steps", "16"],
        ),
        (
            (
                "warmup_stable_decay",
                1.0,
                5,
                20,
                {"num_decay_steps": 6, "decay_type": "sqrt"},
            ),
            ["decay_type", "'sqrt'", "1-sqrt"],
        ),
    ],
)
def test_get_scheduler_refuses(arguments, words):
    with pytest.raises(ValueError) as error:
        ow.compat.transformers.get_scheduler(*arguments)
    for word in ("get_scheduler", *words):
        assert word in str(error.value)
    with pytest.raises(TypeError):
        ow.compat.transformers.get_scheduler(shapes.linear, 1.0)

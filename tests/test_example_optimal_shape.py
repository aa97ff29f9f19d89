"""The optimal-shape example: its recursion, the phase transition, and the command."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.optimal_shape import __main__ as command
from examples.optimal_shape.problem import Task, risk
from examples.optimal_shape.search import (
    Size,
    build,
    fitted_power,
    optimise,
    stable_share,
)

pytestmark = pytest.mark.train

SMALL = Size(dimension=100, steps=300, knots=13, updates=120)
HARD, EASY = Task(1.5, 0.15), Task(1.5, 1.0)


def by_matrices(task, rates, dimension, batch_size):
    """The risk from the whole matrix of second moments, by Isserlis' theorem."""
    index = np.arange(1, dimension + 1, dtype=float)
    spectrum = np.diag(index**-task.beta)
    error = np.sqrt(index ** -(task.s * task.beta + 1) / np.diag(spectrum))
    moments = np.outer(error, error)
    for rate in rates:
        mean = spectrum @ moments @ spectrum
        fourth = 2 * mean + np.trace(spectrum @ moments) * spectrum + spectrum
        square = fourth / batch_size + mean * (1 - 1 / batch_size)
        moments = moments - rate * (spectrum @ moments + moments @ spectrum)
        moments = moments + rate**2 * square
    return np.trace(spectrum @ moments)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_recursion_is_exact(batch_size):
    rates = np.linspace(0.3, 0.0, 60)
    found = risk(EASY, jnp.asarray(rates, jnp.float32), 12, batch_size)
    expected = by_matrices(EASY, rates, 12, batch_size)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_sgd_has_that_risk_on_average():
    dimension, steps, runs = 4, 15, 20_000
    rates = jnp.linspace(0.2, 0.05, steps)
    index = jnp.arange(1, dimension + 1.0)
    scale = index ** (-EASY.beta / 2)
    truth = jnp.sqrt(index ** -(EASY.s * EASY.beta + 1)) / scale

    @jax.jit
    def train(key):
        inputs = scale * jax.random.normal(key, (steps, runs, dimension))
        noise = jax.random.normal(jax.random.fold_in(key, 1), (steps, runs))

        def update(weights, given):
            rate, x, noise = given
            error = jnp.sum(x * (weights - truth), axis=1) - noise
            return weights - rate * error[:, None] * x, None

        start = jnp.zeros((runs, dimension))
        weights, _ = jax.lax.scan(update, start, (rates, inputs, noise))
        return jnp.mean(jnp.sum((scale * (weights - truth)) ** 2, axis=1))

    found = train(jax.random.key(0))
    np.testing.assert_allclose(found, risk(EASY, rates, dimension), rtol=0.03)


def test_the_edge_between_easy_and_hard():
    assert HARD.hard and not EASY.hard
    assert not Task(2.0, 0.5).hard and Task(2.0, 0.49).hard
    assert (Task(1.5, 1.0).power, Task(2.0, 1.0).power) == (2, 3)


def test_a_schedule_has_a_rate_at_each_knot():
    schedule = build(jnp.array([0.0, 100.0, -100.0]), Size(steps=10, knots=3))
    rates = [round(schedule(step).item(), 4) for step in (0, 5, 10, 11)]
    assert rates == [0.15, 0.3, 0.0, 0.0]


@functools.cache
def best(task):
    return optimise(task, SMALL)


@pytest.mark.slow
def test_hard_tasks_want_a_stable_rate_and_easy_ones_a_decay():
    hard, easy = best(HARD), best(EASY)
    assert stable_share(hard.schedule, SMALL.steps) > 0.45
    assert stable_share(easy.schedule, SMALL.steps) < 0.25
    # The hard task takes all that is allowed, the easy one less.
    assert hard.schedule(0).item() > 0.97 * SMALL.largest
    assert easy.schedule(0).item() < 0.8 * SMALL.largest
    assert 0.8 < fitted_power(easy.schedule, SMALL.steps) < EASY.power
    # In families of one shape, too: which is better changes sides.
    assert hard.families["WSD, 50 %"][1] < hard.families["linear"][1]
    assert easy.families["WSD, 50 %"][1] > easy.families["linear"][1]


@pytest.mark.parametrize("task", [HARD, EASY])
def test_no_family_beats_the_optimised_schedule(task):
    found = best(task)
    assert all(x > 0.999 * found.risk for _, x in found.families.values())
    assert found.families["constant"][1] > 1.2 * found.risk


def test_the_command_prints_a_table_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr(command, "TASKS", (HARD, EASY))
    sizes = ["--dimension", "20", "--steps", "40", "--knots", "5", "--updates", "3"]
    assert command.main([*sizes, "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "hard, beta 1.5, s 0.15" in printed and "power decay" in printed
    assert (tmp_path / "optimal_shape.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--knots", "1"], "--knots"),
        (["--knots", "9", "--steps", "10"], "--knots"),
        (["--largest", "-1"], "--largest"),
        (["--dimension", "0"], "--dimension"),
    ],
)
def test_wrong_arguments_are_named(arguments, word, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    assert word in capsys.readouterr().err

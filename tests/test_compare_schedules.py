"""The comparison of schedules: what is trained, and what its tables say."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import compare_schedules as compared
from examples.evaluation import Run

pytestmark = pytest.mark.train

STEPS = 10


def train(shared, optimizer, seed):
    """A parabola, from 1 on; noise that a seed decides is added to what is reported."""

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(2 * x, state, x)
        return (x + updates, state), x**2

    start = jnp.float32(1.0), optimizer.init(jnp.float32(1.0))
    _, losses = jax.lax.scan(step, start, length=STEPS)
    return losses, jnp.array([5, 9]), losses[jnp.array([5, 9])] + 0.01 * seed


TOY = compared.Task(
    "Toy", STEPS, lambda schedule: optax.sgd(schedule, momentum=0.9),
    lambda: compared.NOTHING, train, None, "loss", 0.5, largest=False,
    untrained=1.0, digits=3,
)  # fmt: skip
TIMES = {
    "constant": 0.1, "again": 0.103,
    "cosine": 0.101, "wsd": 0.11, "cosine, automatic": 0.12,
}  # fmt: skip


def by_hand(rate):
    x, momentum, losses = 1.0, 0.0, []
    for step in range(STEPS):
        losses.append(x**2)
        momentum = 0.9 * momentum + 2 * x
        x -= rate(step) * momentum
    return losses


def cosine(peak, warmup):
    def rate(step):
        if step < warmup:
            return peak * step / warmup
        return peak * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2

    return rate


def wsd(peak):
    """1 update of warmup, the last 3 of decay."""
    return lambda step: peak * min(step, 1, (STEPS - step) / 3)


def test_the_command_trains_each_schedule_at_each_peak(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(compared.TASKS, "toy", TOY)
    monkeypatch.setattr(compared, "step_times", lambda _: TIMES)
    monkeypatch.setattr(compared.evaluation, "use_all_cores", lambda: None)
    arguments = ["--tasks", "toy", "--seeds=2", f"--folder={tmp_path}"]
    compared.main(arguments)
    first = capsys.readouterr().out
    assert "| cosine, warmup 30% | 0.03 | 0.006 ± 0.005 | 5 | 0.51 s |" in first
    assert "| +20% | 0 |" in first
    assert "timed a second time in the same rounds: +3%." in first
    runs = compared.compare(TOY, 2, tmp_path, TIMES)  # read, not trained again
    expected = {
        "cosine, no warmup": lambda peak: cosine(peak, 0),
        "cosine, warmup 10%": lambda peak: cosine(peak, 1),
        "cosine, warmup 30%": lambda peak: cosine(peak, 3),
        "wsd, warmup 10%": wsd,
    }
    assert set(runs) == {*expected, "cosine, automatic"}
    for name, rate in expected.items():
        for peak in compared.PEAKS:
            losses = by_hand(rate(peak))
            np.testing.assert_allclose(runs[name][peak].loss, [losses] * 2, rtol=1e-4)
    # The first update is no longer than 0.7 per cent of the parameter.
    automatic = runs["cosine, automatic"][0.1].loss[0]
    assert 0.98 < automatic[1] < 1


def test_the_tables_say_speed_sensitivity_cost_and_divergence():
    def run(peak, finals):
        metric = np.stack([np.full(2, 0.6), np.array(finals)], axis=1)
        return Run("a", np.ones((2, STEPS)), np.array([5, 10]), metric, 0.2)

    peaks = zip(
        compared.PEAKS,
        [(0.45, 0.55), (0.2, 0.4), (0.8, 5.0), (math.nan, 0.5)],
        strict=True,
    )
    runs = {"a": {peak: run(peak, finals) for peak, finals in peaks}}
    text = compared.tables(TOY, runs, TIMES)
    # Lost: mean over peaks of (0.45, 0.2, 0.8, 1) and of (0.55, 0.4, 1, 0.5), less 0.3.
    lost = np.array([0.6125, 0.6125]) - 0.3
    assert lost.mean() == pytest.approx(0.3125)
    row = "| a | 0.01 | 0.300 ± 0.100 | 10 | 2.00 s | 0.312 ± 0.000 | +100% | 1 |"
    assert row in text
    assert "| a | 0.500 ± 0.050 | 0.300 ± 0.100 | 2.900 ± 2.100 | 0.500 |" in text


def test_more_may_be_better():
    task = TOY._replace(largest=True, untrained=20.0, digits=0, target=300.0)
    metric = np.array([[100.0, 480.0], [310.0, 460.0]])
    good = Run("a", np.ones((2, 10)), np.array([5, 10]), metric, 0.1)
    lost = good._replace(metric=np.full((2, 2), 10.0))
    by_peak = dict(zip(compared.PEAKS, [lost, good, good, lost], strict=True))
    text = compared.tables(task, {"a": by_peak}, TIMES)
    # 470 at the best; the untrained count as 20: mean loss (450 + 0 + 0 + 450) / 4.
    assert "| a | 0.01 | 470 ± 10 | 8 | 0.75 s | 225 ± 5 | +0% | 0 |" in text

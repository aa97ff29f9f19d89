"""The fuzzer: what is wrong is found, and a run goes on where the last one ended."""

import random

import fuzz
import fuzz_chains
import fuzz_schedules
import numpy as np
import optax
import oracle
import pytest
from fuzz_optimizers import Both

import optax_warmup as ow


def outcomes(kind, index, seed=0):
    return fuzz.KINDS[kind](random.Random(f"{kind} {seed} {index}"), index)


@pytest.mark.parametrize("kind", ["configs", "texts", "files"])
def test_damaged_input_is_refused_or_read(kind):
    for index in range(5):
        [(found, _)] = outcomes(kind, index)
        assert found in ("right", "refused")


@pytest.mark.train
def test_random_schedules_have_the_values_of_the_oracle(monkeypatch):
    monkeypatch.setattr(fuzz_schedules, "A_ROUND", 5)
    found = outcomes("schedules", 0)
    assert {verdict for verdict, _ in found} <= {"right", "refused"}
    assert len(found) == 5


def test_a_wrong_value_is_found(monkeypatch):
    text, steps = "m.constant(0.5)", np.array([0, 9])
    values = ow.constant(0.5)(steps)
    assert fuzz_schedules.compared(text, steps, values) == "right"
    monkeypatch.setattr(oracle, "constant", lambda value: lambda step: value + step)
    found = fuzz_schedules.compared(text, steps, values)
    assert found == "wrong at 9: 0.5 for 9.5"


@pytest.mark.train
def test_a_rate_that_is_not_the_reported_one_is_found(monkeypatch):
    rate = optax.chain(optax.identity(), ow.scale_by_learning_rate(0.5))
    twin = optax.chain(optax.identity(), ow.scale_by_learning_rate(1.0))
    hidden = optax.chain(rate, optax.scale(0.5))  # no state tells of it
    for ours, expected in ((rate, "right"), (hidden, "moves at 0.25, reported are")):
        monkeypatch.setattr(
            fuzz_chains, "optimizer", lambda rng, ours=ours: Both(ours, twin, "text")
        )
        [(found, text)] = outcomes("chains", 1)
        assert expected in found
        assert text == "text"


def test_a_run_goes_on(monkeypatch, capsys):
    seen = []

    def three(rng, index):
        seen.append(index)
        return [("right", "a"), ("refused", "b"), ("wrong at 1", "c")]

    monkeypatch.setitem(fuzz.KINDS, "configs", three)
    totals, saved = {}, []
    for goal in (4, 7):
        failed = fuzz.run("configs", 5, 1.0, totals, lambda: saved.append(1), goal)
    assert seen == [0, 1, 2]
    assert failed == 1
    assert totals == {"right": 3, "refused": 3, "failed": 3, "tried": 9, "rounds": 3}
    assert len(saved) == 2
    assert "configs 5 2: wrong at 1\n    c" in capsys.readouterr().out
    assert "| configs | 1 | 9 | 3 | 3 | 3 |" in fuzz.page({"configs": {"5": totals}})

"""The lines of docs/migration.md for other trainers, run where these are installed."""

import re
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

import optax_warmup as ow

PAGE = Path(__file__).parent.parent / "docs" / "migration.md"
STEPS = (0, 1, 50, 100, 101, 500, 999, 1000, 1500)
# Trainers warn about their own packages.
pytestmark = pytest.mark.filterwarnings("ignore")


def in_torch(code):
    import torch

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.5)
    scheduler = run(code, optimizer=optimizer)["scheduler"]
    rates = []
    for _ in range(max(STEPS) + 1):
        rates += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    return [rates[step] for step in STEPS], ow.warmup_cosine(0.5, 100, 1000)


def in_keras(code):
    scope = run(code)
    if scope["keras"].backend.backend() != "jax":
        pytest.skip("needs KERAS_BACKEND=jax")
    made = scope["optimizer"]
    rates = []
    for optimizer in (made, type(made).from_config(made.get_config())):
        rates.append([])
        for step in STEPS:
            optimizer.iterations.assign(step)
            rates[-1].append(float(optimizer.learning_rate))
    assert rates[0] == rates[1]
    return rates[1], ow.warmup_cosine(1e-3, 100, 1000)


def in_levanter(code):
    run(code)
    from levanter.optim.config import LrSchedule

    context = SimpleNamespace(learning_rate=1e-3, min_lr=1e-4, decay_steps=900)
    schedule = LrSchedule.get_choice_class("one_minus_sqrt")().build(context)
    wanted = ow.transition(1e-3, 1e-4, 900, ow.shapes.power(0.5))
    return [float(schedule(step)) for step in STEPS], wanted


def in_kauldron(code):
    scope = run(code)
    resolved = scope["konfig"].resolve(scope["cfg"])
    state = resolved["optimizer"].init({"w": jnp.ones(2)})
    schedule = resolved["schedules"]["learning_rate"]
    resolved["optimizer"].update({"w": jnp.ones(2)}, state)
    return [float(schedule(step)) for step in STEPS], ow.warmup_cosine(1e-3, 100, 1000)


TRAINERS = {
    "torch": in_torch,
    "keras": in_keras,
    "levanter": in_levanter,
    "kauldron": in_kauldron,
}


def run(code, **given):
    scope = {"ow": ow, "__name__": "adapter", **given}
    exec(code, scope)
    return scope


def blocks():
    """The lines for each trainer, by the package that they import."""
    found = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return {re.search(r"^(?:import|from) (\w+)", x, re.M)[1]: x for x in found}


def test_every_trainer_has_its_lines():
    assert blocks().keys() == TRAINERS.keys()


@pytest.mark.parametrize("package", TRAINERS)
def test_a_trainer_gets_the_values_of_the_schedule(package):
    module = {"levanter": "levanter.optim.config"}.get(package, package)
    pytest.importorskip(module, reason=f"needs {package}")
    rates, schedule = TRAINERS[package](blocks()[package])
    assert rates == pytest.approx([float(schedule(step)) for step in STEPS], rel=1e-6)

"""Each wrong argument of a transform, a record, a sweep or a report is named.

Every argument of every function below gets every value of `VALUES`. It is either one
that the argument takes, or an error says which function and which argument is wrong.
"""

import math

import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import pytest

import optax_warmup as ow
from optax_warmup import curvature, diagnostics, finder, loss_laws, sweeps

matplotlib.use("agg")

ADAM = optax.adam(1e-3)
PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.zeros(4)}
VALUES = {
    "None": None,
    "text": "x",
    "no text": "",
    "bytes": b"x",
    "digit": "1",
    "empty list": [],
    "empty dict": {},
    "empty tuple": (),
    "empty set": set(),
    "list": [1.0],
    "list of None": [None],
    "list of text": ["x"],
    "list with -1": [0, -1],
    "dict": {"a": 1},
    "dict by step": {1: 2.0},
    "range": range(3),
    "slice": slice(1),
    "NaN": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "-1": -1,
    "-1.5": -1.5,
    "0": 0,
    "half": 0.5,
    "1": 1,
    "True": True,
    "False": False,
    "2**31": 2**31,
    "10**400": 10**400,
    "complex": 1j,
    "array": np.array([1.0, 2.0]),
    "NaN array": np.full(3, np.nan),
    "empty array": np.array([]),
    "text array": np.array("a"),
    "jax array": jnp.ones(2),
    "jax number": jnp.array(2.5),
    "object": object(),
    "type": int,
    "function of nothing": lambda: 1,
    "function": lambda *_, **__: "x",
    "optimizer": ADAM,
    "state": ADAM.init(PARAMS),
    "schedule": ow.constant(1.0),
}

# What an argument takes of these values.
OPTIMIZER = {"optimizer"}
FLAG = {"True", "False"}
COUNT = {"1"}
COUNT_0 = {"0", "1"}
POSITIVE = {"half", "1", "2**31", "jax number"}
NOT_NEGATIVE = {"0", *POSITIVE}
FRACTION = {"0", "half"}
OPTIONAL = {"None"}
STEPS = {"list", "array", "jax array", "range"}
NO_STEPS = {"empty list", "empty tuple", "empty set", "empty array"}
MAPPING = {"None", "empty dict"}
AXIS = {"list", "list of None", "list of text", "list with -1", "range", "array"}
CONDITION = {"function", "function of nothing", "schedule"}
LOSSES = {
    *{"None", "empty list", "empty dict", "empty tuple", "list", "list of None"},
    *{"list with -1", "dict by step", "range", "array", "NaN array", "empty array"},
    "jax array",
}


def recorded(updates=6):
    optimizer = ow.record_moments(optax.adamw(1e-3))
    state = optimizer.init(PARAMS)
    for _ in range(updates):
        _, state = optimizer.update(PARAMS, state, PARAMS)
    return state


RECORD = recorded()
HISTORY = ow.read_moments(RECORD)
RATE = ow.scale_by_learning_rate(0.1).init(PARAMS)
POINTS = sweeps.grid(rate=[0.1, 0.2], seed=range(2))


LAW = loss_laws.LossLaw(3.04, 0.525, 0.508, 364.0, 2.07, 0.583, 0.641)
LAW_STEPS = np.arange(20, 801, 20)
RUNS = [
    (schedule, LAW_STEPS, LAW(schedule, LAW_STEPS))
    for schedule in (ow.wsd(1e-3, 20, 800, n) for n in (0, 160, 640))
]
CURVE = finder.RateCurve(np.geomspace(1e-4, 1.0, 20), np.ones(20))


def range_step(state, batch, rate):
    return state, rate


def loss(params):
    return jnp.sum(params["w"] ** 2)


def train(rate, seed):
    return rate * seed


def random_search(count, random_seed, rate):
    return sweeps.random_search(count, random_seed=random_seed, rate=rate)


# Valid arguments of a function, with what else each of them takes. An argument that is
# not listed in the second dict is not tried.
CALLS = {
    ow.clip_outliers: (
        {"inner": ADAM, "theta": 5.0, "b2": None},
        {
            "inner": OPTIMIZER,
            "theta": {"1", "2**31", "jax number"},
            "b2": OPTIONAL,
        },
    ),
    ow.clip_update_rms: (
        {"inner": ADAM, "threshold": 1.0, "b2": None, "eps": 1e-8},
        {
            "inner": OPTIMIZER,
            "threshold": POSITIVE,
            "b2": OPTIONAL,
            "eps": POSITIVE,
        },
    ),
    ow.init_second_moment_from_gradient: ({"inner": ADAM}, {"inner": OPTIMIZER}),
    ow.skip_nonfinite: (
        {"inner": ADAM, "check_updates": True},
        {"inner": OPTIMIZER, "check_updates": FLAG},
    ),
    ow.reduce_on_plateau: (
        {
            "factor": 0.1,
            "patience": 10,
            "rtol": 1e-4,
            "atol": 0.0,
            "warmup_steps": 0,
            "cooldown": 0,
            "accumulation_size": 1,
            "min_scale": 0.0,
        },
        {
            "factor": {"half"},
            "patience": COUNT,
            "rtol": FRACTION,
            "atol": NOT_NEGATIVE,
            "warmup_steps": COUNT_0,
            "cooldown": COUNT_0,
            "accumulation_size": COUNT,
            "min_scale": {"0", "half", "1"},
        },
    ),
    ow.restart_if: (
        {"inner": ADAM, "condition": lambda state, **extra: state.count == 3},
        {
            "inner": OPTIMIZER,
            "condition": {"function", "function of nothing", "schedule"},
        },
    ),
    ow.restart_on_spike: (
        {"inner": ADAM, "threshold": 6.0, "decay": 0.99},
        {"inner": OPTIMIZER, "threshold": POSITIVE, "decay": FRACTION},
    ),
    ow.scale_by_learning_rate: (
        {"learning_rate": 0.1, "flip_sign": True},
        {"learning_rate": {*NOT_NEGATIVE, "schedule"}, "flip_sign": FLAG},
    ),
    ow.scale_by_warmup: (
        {"factor": 0.5},
        {"factor": {"0", "half", "1", "schedule"}},
    ),
    ow.record_moments: (
        {"inner": ADAM},
        {
            "inner": OPTIMIZER,
            "b1": OPTIONAL,
            "b2": OPTIONAL,
            "eps": NOT_NEGATIVE,
            # What such a function returns is checked when it is called.
            "groups": {"None", "function", "schedule"},
            "steps": {"None", *STEPS},
            "also": {*STEPS, *NO_STEPS},
            "samples": {"None", "1"},
            "histogram": FLAG,
            "axis_name": {"None", "text", "digit"},
        },
    ),
    ow.read_moments: (
        {"opt_state": RECORD, "sharpness": None},
        {"opt_state": set(), "sharpness": {*MAPPING, "dict by step"}},
    ),
    ow.learning_rate: (
        {"opt_state": RATE, "schedule": None, "factors": True},
        {"opt_state": set(), "schedule": MAPPING, "factors": FLAG},
    ),
    ow.learning_rates: (
        {"opt_state": RATE, "schedule": None, "factors": True},
        {"opt_state": set(), "schedule": MAPPING, "factors": FLAG},
    ),
    ow.simulate: (
        {"schedule": 0.1, "steps": 3},
        {"schedule": {*NOT_NEGATIVE, "schedule"}, "steps": COUNT_0},
    ),
    ow.describe: (
        {"schedule": 0.1, "steps": 3},
        {"schedule": {*NOT_NEGATIVE, "schedule"}, "steps": COUNT},
    ),
    ow.steps_from: (
        {
            **{"epochs": 3, "dataset_size": 100, "batch_size": 10},
            **{"drop_last": None, "accumulation_steps": 1, "last_window": "continue"},
        },
        {
            "epochs": {"0", "half", "1", "jax number"},
            "dataset_size": {"1", "2**31"},
            "batch_size": {"1", "schedule"},
            "drop_last": {"None", *FLAG},
            "accumulation_steps": {"1"},
            "last_window": set(),
        },
    ),
    ow.to_config: (
        {"schedule": ow.constant(1.0), "functions": None},
        {"schedule": {"schedule"}, "functions": MAPPING},
    ),
    ow.from_config: (
        {"config": {"type": "constant", "value": 1.0}, "functions": None},
        {"config": set(), "functions": MAPPING},
    ),
    ow.fingerprint: (
        {"schedule": ow.constant(1.0), "functions": None},
        {"schedule": {"schedule"}, "functions": MAPPING},
    ),
    sweeps.grid: (
        {"rate": [0.1, 0.2]},
        {"rate": {*AXIS, "optimizer", "state"}},
    ),
    sweeps.log_space: (
        {"low": 0.1, "high": 1.0, "count": 3},
        {"low": {"half"}, "high": POSITIVE, "count": set()},
    ),
    random_search: (
        {"count": 3, "random_seed": 0, "rate": [0.1, 0.2]},
        {"count": COUNT, "random_seed": COUNT_0, "rate": AXIS},
    ),
    sweeps.rank: (
        {
            "configurations": POINTS,
            "values": [1.0, 2.0, 3.0, 4.0],
            "over": "seed",
            "largest_first": False,
        },
        {
            "configurations": set(),
            "values": set(),
            "over": set(),
            "largest_first": FLAG,
        },
    ),
    sweeps.sweep: (
        {"train": train, "configurations": POINTS},
        {
            "train": {"function"},  # JAX says what is wrong with its result
            "configurations": set(),
            "shared": {"empty tuple"},
            "chunk": {"None", "1"},
            "folder": {"None", "text", "digit"},
            "progress": {"None", "function"},
            "devices": OPTIONAL,
            "free_memory": {"None", "2**31"},
        },
    ),
    diagnostics.advise: (
        {"history": HISTORY, "losses": None, "batch_size": None},
        {"history": set(), "losses": LOSSES, "batch_size": {"None", "1"}},
    ),
    diagnostics.to_scalars: (
        {"record": HISTORY, "step": None},
        {"step": {"None", "0", "1"}},
    ),
    loss_laws.LossLaw: (
        LAW.constants._asdict(),
        {
            "L0": {"half", "0", "1", "-1", "-1.5", "2**31", "jax number"},
            "A": NOT_NEGATIVE,
            "alpha": NOT_NEGATIVE,
            "B": NOT_NEGATIVE,
            "C": NOT_NEGATIVE,
            "beta": NOT_NEGATIVE,
            "gamma": NOT_NEGATIVE,
        },
    ),
    loss_laws.fit_loss_law: (
        {"runs": RUNS, "skip": 0.1, "refits": 0, "seed": 0},
        {"runs": set(), "skip": FRACTION, "refits": COUNT_0, "seed": COUNT_0},
    ),
    loss_laws.rank: (
        {"law": LAW, "candidates": [ow.constant(1e-3)], "steps": 100},
        {
            "law": set(),
            "candidates": {"list", "dict", "dict by step"},
            "steps": COUNT,
        },
    ),
    loss_laws.best_cooldown: (
        {
            "law": LAW,
            "schedule": 1e-3,
            "steps": 100,
            "fractions": (0.2, 0.4),
            "end_value": 0.0,
        },
        {
            "law": set(),
            "schedule": {"half", "1", "2**31", "jax number", "schedule"},
            "steps": set(),
            "fractions": {"list"},
            "end_value": NOT_NEGATIVE,
        },
    ),
    finder.find_rate: (
        {
            "step": range_step,
            "state": None,
            "batches": range(20),
            "min_value": 1e-6,
            "max_value": 1.0,
            "steps": 20,
            "seeds": None,
            "stop_at": 1.0,
        },
        {
            "step": set(),
            "batches": set(),
            "min_value": {"half"},
            "max_value": POSITIVE,
            "steps": set(),
            "seeds": OPTIONAL,
            "stop_at": {*POSITIVE, "inf"},
        },
    ),
    finder.suggest: ({"curve": CURVE}, {"curve": set()}),
    finder.plot_curve: (
        {"curve": CURVE, "axes": None},
        {"curve": set(), "axes": OPTIONAL},
    ),
    finder.RateCurve: (
        {"rates": CURVE.rates, "losses": CURVE.losses, "diverged": False},
        {"rates": set(), "losses": set(), "diverged": FLAG},
    ),
    finder.load_curve: (
        {"path": __file__},
        {"path": {"text", "no text", "digit"}},  # those name no file
    ),
    curvature.critical_learning_rate: (
        {
            "loss_fn": loss,
            "params": PARAMS,
            "updates": PARAMS,
            "smallest": 1e-6,
            "largest": 1e3,
            "refinements": 1,
        },
        {
            "params": set(),
            "updates": set(),
            "smallest": {"half", "1", "jax number"},
            "largest": POSITIVE,
            "refinements": COUNT_0,
        },
    ),
    curvature.sharpness: (
        {"loss_fn": loss, "params": PARAMS, "iterations": 1},
        {
            "b1": FRACTION,
            "b2": FRACTION,
            "eps": NOT_NEGATIVE,
            "iterations": COUNT,
            "start": OPTIONAL,
            "seed": COUNT_0,
        },
    ),
    curvature.stability_threshold: (
        {"learning_rate": 0.1, "momentum": 0.0, "averaged": True, "nesterov": False},
        {
            "learning_rate": {*POSITIVE, "array", "jax array", "empty array"},
            "momentum": {*FRACTION, "empty array"},
            "averaged": FLAG,
            "nesterov": {"False"},  # with averaged=True
        },
    ),
}
# These take seconds each with valid arguments, which other tests give them.
NOT_CALLED = {
    (finder.load_curve, "path"),
    *((sweeps.sweep, name) for name in ("train", "progress", "chunk", "folder")),
}


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        pytest.param(call, argument, id=f"{call.__name__}-{argument}")
        for call, (_, takes) in CALLS.items()
        for argument in takes
    ],
)
def test_a_wrong_argument_is_named(call, argument):
    arguments, takes = CALLS[call]
    for name, value in VALUES.items():
        if name in takes[argument] or (
            name == "function" and argument == "schedule"
        ):  # a function that returns text: its error is that of the schedule
            continue
        with pytest.raises((TypeError, ValueError)) as caught:
            call(**arguments | {argument: value})
            pytest.fail(f"{argument}={name} is accepted")
        message = str(caught.value)
        assert call.__name__ in message, (name, message)
        assert argument.removesuffix("s") in message, (name, message)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_right_argument_is_taken(call):
    arguments, takes = CALLS[call]
    for argument, names in takes.items():
        if (call, argument) in NOT_CALLED:
            continue
        for name in names:
            call(**arguments | {argument: VALUES[name]})

"""People who come with the names of other libraries are told what is meant."""

import operator
import re

import optax
import pytest

import optax_warmup as ow
from optax_warmup._elsewhere import ARGUMENTS, FUNCTIONS


@pytest.mark.parametrize("name", ["get_cosine_schedule_with_warmup", "OneCycleLR"])
@pytest.mark.parametrize("module", [ow, ow.compat.transformers])
def test_a_function_of_another_library_names_ours(module, name):
    wanted = re.escape(f"has no attribute {name!r}; here it is optax_warmup.")
    with pytest.raises(AttributeError, match=wanted):
        getattr(module, name)
    assert not hasattr(module, name)


def test_a_name_that_nobody_has_is_an_ordinary_error():
    with pytest.raises(AttributeError, match=r"attribute 'nothing_such'$"):
        _ = ow.nothing_such


def test_a_slip_of_the_pen_and_a_name_in_a_namespace():
    with pytest.raises(AttributeError, match=r"Did you mean 'warmup_cosine'\?"):
        _ = ow.warmup_cosin
    with pytest.raises(AttributeError, match=r"here it is optax_warmup.groups.Rule$"):
        _ = ow.Rule
    with pytest.raises(ValueError, match="did you mean 'warmup_cosine'"):
        ow.from_config({"type": "warmup_cosin"})


@pytest.mark.parametrize(("name", "here"), FUNCTIONS.items())
def test_what_is_named_exists_and_takes_these_arguments(name, here):
    for call in here.split(", or "):
        address = re.match(r"[a-z_.]+", call)[0]
        thing = operator.attrgetter(address)(ow)
        assert callable(thing)
        with pytest.raises((TypeError, ValueError)) as error:
            thing(no_such_argument=1)
        for argument in re.findall(r"\(?\b([a-z_]+)[,)]", call.partition("(")[2]):
            assert argument in str(error.value) or argument == "cosine", argument


LENGTHS = {"warmup_steps": 10, "total_steps": 100}


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: ow.warmup_cosine(peak=1e-3, **LENGTHS), "peak_value"),
        (lambda: ow.warmup_cosine(lr=1e-3, **LENGTHS), "peak_value"),
        (lambda: ow.warmup_linear(learning_rate=1e-3, **LENGTHS), "peak_value"),
        (lambda: ow.warmup_cosine(1e-3, 10, 100, min_lr=1e-5), "end_value"),
        (lambda: ow.warmup_cosine(1e-3, 10, 100, warmup_init_lr=0), "init_value"),
        (lambda: ow.warmup_cosine(1e-3, 10, max_steps=100), "total_steps"),
        (lambda: ow.warmup(lr=1e-3, steps=10), "schedule"),
        (lambda: ow.warmup(1e-3, num_warmup_steps=10), "steps"),
        (lambda: ow.constant(lr=1e-3), "value"),
        (lambda: ow.scale_by_learning_rate(lr=1e-3), "learning_rate"),
        (lambda: ow.describe(ow.constant(1.0), num_steps=3), "steps"),
        (lambda: ow.simulate(ow.constant(1.0), total_steps=3), "steps"),
        (lambda: ow.plot(ow.constant(1.0), max_steps=3), "steps"),
    ],
)
def test_an_argument_of_another_library_names_ours(call, meant):
    with pytest.raises(TypeError, match=f"Did you mean {meant}\\?"):
        call()


def test_a_share_of_the_run_becomes_steps():
    for name in ("warmup_ratio", "warmup_fraction", "pct_start"):
        with pytest.raises(TypeError, match=r"A share of the run is round\(0\.1"):
            ow.warmup_cosine(1e-3, total_steps=100, **{name: 0.1})
        with pytest.raises(TypeError, match=r"Did you mean steps\? A share"):
            ow.warmup(1e-3, **{name: 0.1})


def test_an_optimizer_in_place_of_a_rate():
    get = ow.compat.transformers.get_scheduler

    class Torch:
        param_groups = ()

    for optimizer in (optax.adam(1e-3), Torch()):
        with pytest.raises(TypeError, match=r"the optimizer .*optax\.adamw\(get_sched"):
            get("cosine", optimizer, num_warmup_steps=1, num_training_steps=10)
    with pytest.raises(TypeError, match="made before the optimizer"):
        get("cosine", optimizer=optax.adam(1e-3), num_warmup_steps=1)


def test_no_name_stands_for_itself():
    for name, here in ARGUMENTS.items():
        assert name not in here[:1]

"""Every transform in every composition, on every mesh, in every dtype.

The matrix of tests/support/matrix_cases.py: each case trains for a few steps and is
compared with an optimizer in float64 NumPy. Half of the few cases that have every pair
of values among them are quick; the others, meshes, and a sample of the full product
are slow (test_transform_modes has a quick one on a mesh).

The reproducers of issue 13 by number, and the tests that hold them:

 1  test_record_in_compositions: a warmup after the rate; test_applied_rate: all cases
 2  test_applied_rate: "adamw with a schedule", an automatic warmup around it
 3  test_applied_rate: independent weight decay has its own rate
 4  here: two rates in a row, a rate in front of Adam; test_applied_rate for readers
 5  here: a rate that is written into a state
 6  test_applied_rate: labels of partitions
 7  test_record_in_compositions: accumulation inside or outside
 8  test_record_in_compositions: clipping inside or outside
 9  test_record: moments in bfloat16
10  test_leaf_kinds, test_record_in_compositions: what adam takes
11  test_advice: a suggested warmup
12  test_transform_modes (transforms_meshes.py), and the meshes here
13  here: the step of an nnx.Optimizer
14  test_guards: a finite gradient may make the update NaN
15  test_leaf_kinds: extra arguments reach what is wrapped
16  here: jax.export, flax.serialization, dataclasses.replace, cloudpickle
"""

import dataclasses
import subprocess
import sys
from pathlib import Path

import cloudpickle
import flax.serialization
import jax
import jax.numpy as jnp
import matrix
import matrix_cases as cases
import numpy as np
import optax
import pytest
from devices import environment
from flax import nnx
from matrix_optimizers import composed
from pairwise import pairwise
from selection import parametrize

import optax_warmup as ow

pytestmark = pytest.mark.train

A, R, W = optax.scale_by_adam, ow.scale_by_learning_rate, ow.scale_by_warmup
PARAMS = {"w": jnp.linspace(0.5, 2.0, 6).reshape(2, 3), "b": jnp.ones(3)}
ONES = jax.tree.map(jnp.ones_like, PARAMS)
PROGRAM = Path(__file__).parent / "programs" / "matrix_meshes.py"

FEW = cases.few()
MESHES = [mesh for mesh in cases.FACTORS["mesh"] if mesh != "one"]
ON_ONE_DEVICE = [name for name, case in FEW.items() if case["mesh"] == "one"]


@parametrize("name", ON_ONE_DEVICE, quick=2)
def test_what_is_reported_is_what_is_applied(name):
    matrix.check(FEW[name])


def test_a_reset_in_the_middle_of_an_accumulation_is_no_update():
    """The moments are 0 until the next gradient enters them, and there is no row."""
    case = {"transform": "restart_on_spike", "composition": "around MultiSteps"}
    matrix.check(cases.EASIEST | case | {"recorded": "yes"})


@parametrize("transform", cases.FACTORS["transform"], quick={"scale_by_warmup"})
def test_a_first_moment_in_bfloat16(transform):
    """As with mu_dtype=jnp.bfloat16: of its decay and of gradients less is known."""
    for composition in ("alone", "inside MultiSteps", "partition"):
        case = {"transform": transform, "composition": composition, "mu": "bfloat16"}
        recorded = "no" if transform == "record_moments" else "yes"
        case = cases.EASIEST | case | {"recorded": recorded}
        if cases.possible(case):
            matrix.check(case)


def on_four_devices(*arguments):
    done = subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        env=environment(4),
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.stdout.endswith("ok\n"), done.stdout[-5000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_so_it_is_on_four_devices(mesh):
    on_four_devices(mesh, "few")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_so_it_is_in_a_sample_of_all_compositions(seed):
    for case in cases.some(120, seed).values():
        if case["mesh"] == "one":
            matrix.check(case)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_so_it_is_in_a_sample_of_all_compositions_on_four_devices(mesh):
    on_four_devices(mesh, "some", 160, 0)


def test_every_pair_of_values_meets_in_few_cases():
    for names in cases.FACTORS:
        taken = {case[names] for case in FEW.values()}
        assert taken == set(cases.FACTORS[names])
    factors = {"a": (1, 2, 3), "b": (1, 2, 3), "c": (1, 2), "d": (1, 2)}
    chosen = pairwise(factors, lambda case: case != {"a": 1, "b": 1})
    met = {
        frozenset([x, y]) for case in chosen for x in case.items() for y in case.items()
    }
    assert len({pair for pair in met if len(pair) == 2}) == 9 - 1 + 4 * 6 + 4
    assert len(chosen) <= 10


@pytest.mark.parametrize("rule", cases.OPTAX_CANNOT, ids=" ".join)
def test_what_the_matrix_leaves_out_plain_optax_cannot_do(rule):
    """Optax itself raises, or drops the imaginary parts with a warning."""
    case = cases.EASIEST | rule
    params = cases.cast(cases.parameters(case), cases.dtype_of(case, "parameters"))
    grads = cases.cast(cases.gradients(case, 0), cases.dtype_of(case, "gradients"))
    optimizer = {
        "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(0.1), 3),
        "injected": lambda: optax.inject_hyperparams(optax.adam)(0.1),
    }.get(case["composition"], lambda: optax.MultiSteps(optax.adam(0.1), 2))()
    with pytest.raises(Exception):  # noqa: B017 - of many kinds
        state = optimizer.init(params)
        for _ in range(2):
            _, new = optimizer.update(grads, state, params)
            same = jax.tree.map(jnp.result_type, state) == jax.tree.map(
                jnp.result_type, new
            )
            assert same
            state = new


@pytest.mark.parametrize("rule", cases.REFUSED, ids=lambda rule: rule["transform"])
def test_what_cannot_stand_around_accumulation_is_refused(rule):
    optimizer, _ = composed(cases.EASIEST | rule)
    with pytest.raises(ValueError, match=rf"^{rule['transform']}: .*optax\.MultiSteps"):
        optimizer.init(PARAMS)


# What stands where it does harm, or nothing

WRAPPERS = {
    "record_moments": ow.record_moments,
    "automatic_warmup": ow.automatic_warmup,
    "skip_nonfinite": ow.skip_nonfinite,
    "restart_if": lambda inner: ow.restart_if(inner, lambda state, **extra: False),
    "restart_on_spike": ow.restart_on_spike,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_two_rates_in_a_row_are_refused_by_what_is_around_them(name):
    for inner, places in (
        (optax.chain(A(), R(0.1), R(0.1)), "scale_by_learning_rate at 1 .* at 2 "),
        (
            optax.chain(optax.inject_hyperparams(optax.adam)(0.1), R(0.2)),
            "inject_hyperparams at 0 .*scale_by_learning_rate at 1 ",
        ),
        (
            optax.chain(optax.clip(1.0), optax.chain(A(), R(0.1)), R(0.1)),
            "at 1/1 .* at 2 ",
        ),
    ):
        message = rf"^{name}: .*two learning rates.*{places}.*scale_by_warmup\(factor\)"
        with pytest.raises(ValueError, match=message):
            WRAPPERS[name](inner).init(PARAMS)


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_scale_in_front_of_adam_is_refused_with_the_order_that_works(name):
    for inner, front in (
        (optax.chain(R(3e-4), A()), "scale_by_learning_rate"),
        (optax.chain(W(0.5), ow.skip_nonfinite(A()), R(0.1)), "scale_by_warmup"),
        (optax.chain(ow.reduce_on_plateau(), optax.adam(0.1)), "reduce_on_plateau"),
    ):
        message = (
            rf"^{name}: .*{front} at 0 .*in front of scale_by_adam.*"
            rf"optax\.chain\(scale_by_adam, {front}\)\."
        )
        with pytest.raises(ValueError, match=message):
            WRAPPERS[name](inner).init(PARAMS)


def test_what_may_be_meant_is_not_refused():
    """Optax's own schedule as a factor, rates of parts, one rate around another's."""
    split = optax.partition({"b": optax.chain(A(), R(0.1)), "h": R(0.2)}, LABELS)
    for inner in (
        optax.chain(A(), optax.scale_by_schedule(ow.warmup(1.0, 3)), R(0.1)),
        split,
        optax.chain(A(), R(0.1), W(0.5), W(0.5)),
        optax.chain(ow.clip_outliers(A()), optax.add_decayed_weights(0.1), R(0.1)),
    ):
        for wrap in WRAPPERS.values():
            wrap(inner).init(PARAMS)


LABELS = {"w": "b", "b": "h"}


def test_a_rate_that_is_written_into_a_state():
    """It holds, as one in `optax.inject_hyperparams` does."""
    optimizer = optax.chain(A(), R(0.5))
    adam, rate = optimizer.init(PARAMS)
    updates, state = optimizer.update(
        ONES, (adam, rate._replace(learning_rate=jnp.float32(1e-4))), PARAMS
    )
    assert ow.learning_rate(state) == np.float32(1e-4)
    np.testing.assert_allclose(-updates["b"], 1e-4, rtol=5e-5)
    injected = optax.inject_hyperparams(optax.adam)(learning_rate=0.5)
    state = injected.init(PARAMS)
    state.hyperparams["learning_rate"] = jnp.float32(0.25)
    updates, state = injected.update(ONES, state, PARAMS)
    assert ow.learning_rate(state) == 0.25
    np.testing.assert_allclose(-updates["b"], 0.25, rtol=5e-5)


# Schedules and optimizers in other hands

SCHEDULE = ow.warmup_cosine(0.5, 4, 100)


def test_the_step_of_an_nnx_optimizer():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(SCHEDULE), wrt=nnx.Param)
    grads = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model)
    for _ in range(3):
        optimizer.update(model, grads)
    assert SCHEDULE(optimizer.step) == SCHEDULE(3)


def test_a_schedule_serves_one_mesh_after_another():
    """What waits on the devices of one mesh is not used in the other."""
    schedule = ow.warmup_cosine(0.5, 4, 100)
    kinds = jax.sharding.AxisType
    for kind in (kinds.Auto, kinds.Explicit, kinds.Auto):
        with jax.set_mesh(jax.make_mesh((1,), ("d",), axis_types=(kind,))):
            assert schedule(2) == 0.25
    assert schedule(2) == 0.25


def test_a_schedule_through_flax_serialization():
    saved = flax.serialization.to_bytes(ow.to_config(SCHEDULE))
    restored = ow.from_config(flax.serialization.msgpack_restore(saved))
    assert restored == SCHEDULE


def test_fields_of_any_schedule_can_be_replaced():
    for schedule in (SCHEDULE, ow.multiply(1.0, 2.0), ow.piecewise(1.0, [(5, 0.0)])):
        assert dataclasses.replace(schedule) == schedule


@pytest.mark.parametrize("name", cases.FACTORS["transform"])
def test_an_optimizer_goes_to_another_process(name):
    optimizer, _ = composed(cases.EASIEST | {"transform": name})
    again = cloudpickle.loads(cloudpickle.dumps(optimizer))
    extra = {"value": jnp.float32(1)}
    for _ in range(2):
        one, other = (
            x.update(ONES, x.init(PARAMS), PARAMS, **extra)[0]
            for x in (optimizer, again)
        )
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_program_with_a_schedule_as_argument_is_exported_by_its_numbers():
    """JAX serializes only the trees that it knows; leaves are known to all."""
    numbers, structure = jax.tree.flatten(SCHEDULE)

    def rate(numbers, step):
        return jax.tree.unflatten(structure, numbers)(step)

    arguments = [jnp.asarray(x) for x in numbers], jnp.int32(2)
    exported = jax.export.export(jax.jit(rate))(*arguments)
    assert exported.call(*arguments) == SCHEDULE(2)

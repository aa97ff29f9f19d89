"""Nothing invalid is accepted: each bad argument is named when a schedule is built."""

import fractions
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow
from optax_warmup import shapes

# Every builder with valid arguments: add yours, and `test_every_builder_is_here` is
# content. What may be passed follows from the argument's name, see `bad_values`.
BUILDERS = {
    ow.constant: {"value": 1.0},
    ow.transition: {"init_value": 1.0, "end_value": 0.0, "steps": 10},
    ow.inverse_power: {"init_value": 1.0, "timescale": 10.0, "power": 0.5},
    ow.warmup: {"schedule": 1.0, "steps": 10, "init_value": 0.0, "offset": 0},
    ow.cooldown: {"schedule": 1.0, "begin": 10, "steps": 5, "end_value": 0.0},
    ow.advance: {"schedule": 1.0, "steps": 3},
    ow.delay: {"schedule": 1.0, "steps": 3},
    ow.warmup_constant: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "init_value": 0.0,
        "offset": 0,
    },
    ow.warmup_linear: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "total_steps": 100,
        "init_value": 0.0,
        "end_value": 0.0,
        "offset": 0,
    },
    ow.warmup_cosine: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "total_steps": 100,
        "init_value": 0.0,
        "end_value": 0.0,
        "offset": 0,
    },
    ow.warmup_inverse_sqrt: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "timescale": 10.0,
        "init_value": 0.0,
        "offset": 0,
    },
    ow.noam: {"width": 512, "warmup_steps": 10, "scale": 1.0},
    ow.wsd: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "total_steps": 100,
        "decay_steps": 20,
        "init_value": 0.0,
        "end_value": 0.0,
        "offset": 0,
    },
    ow.cycle: {
        "schedule": 1.0,
        "period": 10,
        "period_multiplier": 2,
        "scale": 0.5,
        "floor": 0.0,
        "num_cycles": 3,
    },
    ow.exponential_decay: {"init_value": 1.0, "steps": 10, "rate": 0.5, "limit": 0.0},
    ow.step_decay: {"init_value": 1.0, "steps": 10, "rate": 0.5},
    ow.retime: {
        "schedule": ow.transition(1.0, 1.0, 1),
        "steps": 10,
        "updates": 20,
        "begin": 5,
    },
    ow.rewarm: {"schedule": 1.0, "begin": 5, "steps": 10, "init_value": 0.0},
    ow.switch: {"old": 1.0, "new": 1.0, "begin": 5, "steps": 10, "init_value": 0.0},
    ow.factors.linear: {"steps": 10},
    ow.factors.exponential: {"timescale": 10.0},
    ow.factors.rectification: {"timescale": 10.0},
    ow.factors.radam: {"b2": 0.999},
    ow.factors.untuned_linear: {"b2": 0.999},
    ow.factors.untuned_exponential: {"b2": 0.999},
    ow.clip: {"schedule": 1.0, "minimum": 0.0, "maximum": 1.0},
    ow.staircase: {"schedule": 1.0, "steps": 10},
    ow.stretch: {"schedule": 1.0, "factor": 2.0},
    ow.jitter: {"schedule": 1.0, "amount": 0.1, "seed": 0},
    ow.round_to: {"schedule": 1.0, "multiple": 1},
    ow.one_cycle: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "total_steps": 100,
        "init_value": 0.1,
        "end_value": 0.0,
        "return_steps": 20,
    },
    ow.triangular: {
        "base_value": 0.1,
        "peak_value": 1.0,
        "up_steps": 10,
        "down_steps": 10,
        "scale": 1.0,
        "rate": 1.0,
    },
    ow.warmup_cosine_restarts: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "total_steps": 100,
        "num_cycles": 3,
        "scale": 1.0,
        "init_value": 0.0,
        "end_value": 0.0,
        "offset": 0,
    },
    ow.infinite: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "decay_steps": 100,
        "constant_value": 0.1,
        "init_value": 0.0,
    },
    ow.lr_range_test: {"min_value": 0.1, "max_value": 1.0, "total_steps": 100},
    ow.power_law: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "hold_until": 20,
        "power": 0.5,
        "init_value": 0.0,
        "offset": 0,
    },
    ow.spike: {
        "schedule": 1.0,
        "begin": 10,
        "factor": 2.0,
        "up_steps": 5,
        "hold_steps": 0,
        "down_steps": 5,
    },
    ow.tri_stage: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "hold_steps": 10,
        "decay_steps": 10,
        "init_value": 0.1,
        "end_value": 0.1,
    },
    ow.warmup_exponential: {
        "peak_value": 1.0,
        "warmup_steps": 10,
        "decay_steps": 10,
        "decay_rate": 0.5,
        "init_value": 0.0,
        "limit": 0.0,
        "offset": 0,
    },
    ow.growing_batch: {"schedule": 1.0, "base": 8},
    ow.compat.optax.warmup_constant_schedule: {
        "init_value": 0.0,
        "peak_value": 1.0,
        "warmup_steps": 10,
    },
    ow.compat.optax.warmup_cosine_decay_schedule: {
        "init_value": 0.0,
        "peak_value": 1.0,
        "warmup_steps": 10,
        "decay_steps": 100,
        "end_value": 0.0,
    },
    ow.compat.optax.warmup_exponential_decay_schedule: {
        "init_value": 0.0,
        "peak_value": 1.0,
        "warmup_steps": 10,
        "transition_steps": 10,
        "decay_rate": 0.5,
        "transition_begin": 0,
    },
    shapes.logarithmic: {"base": 10.0},
    shapes.rex: {"beta": 0.5},
    shapes.sigmoid: {"steepness": 5.0},
    shapes.tanh: {"lower": -3.0, "upper": 3.0},
    shapes.power: {"exponent": 2.0},
    shapes.polynomial: {"exponent": 2.0},
    shapes.exponential: {"ratio": 0.1},
}

NOT_NUMBERS = [
    None, "100", "", b"1", [], [1], (1,), {}, {"a": 1}, {1}, object(), int, len,
    True, False, np.True_, np.array(True), jnp.array(True),
    1j, complex(1, 0), np.complex64(1), jnp.complex64(1),
    np.array("1"), np.array([None]), np.datetime64(1, "D"),
    np.timedelta64(1, "D"), fractions.Fraction(1, 2),
    range(3), slice(3),
]  # fmt: skip
NOT_FINITE = [
    kind(x)
    for x in (math.nan, math.inf, -math.inf)
    for kind in (float, np.float16, np.float32, np.float64, np.array, jnp.float32)
] + [jnp.bfloat16(math.nan), np.array([1.0, math.nan]), jnp.array([math.inf, 1.0])]
NEGATIVE = [
    -1, -1e-9, -(2**40), np.int8(-1), np.int64(-1), np.float32(-0.5), jnp.int32(-1),
    jnp.float32(-1e-3), np.array([1, -1]), jnp.array([-1.0]), jnp.bfloat16(-1),
]  # fmt: skip
TOO_LARGE = [1e39, -1e39, 10**39, 10**400, np.float64(1e39), np.array([1.0, 1e300])]
NOT_LENGTHS = [
    0.5, 1.5, 1e-9, 99.999, np.float32(1.5), np.float16(0.5), jnp.float32(2.5),
    np.array([1.0, 1.5]), 2**31, 2**31 + 5, 2**40, 2**63, 2**64, 10**400, 1e10, 1e39,
    np.int64(2**31), np.uint32(2**31), np.uint64(2**64 - 1), np.float32(2**31),
    np.array([1, 2**40]),
]  # fmt: skip
ZERO = [0, 0.0, -0.0, np.int32(0), np.float32(0), jnp.float32(0), np.array([1.0, 0.0])]

LENGTHS = ("begin", "offset", "period", "times", "multiple", "hold_until", "num_cycles")


def bad_values(argument):
    """What an argument must refuse, by the kind of thing that its name stands for."""
    bad = [*NOT_NUMBERS, *NOT_FINITE]
    if argument in ("schedule", "old", "new"):
        functions = [x for x in bad if callable(x) and not isinstance(x, type)]
        bad = [x for x in bad if not any(x is function for function in functions)]
        return [*bad, *NEGATIVE, *TOO_LARGE]
    if argument == "by":
        return [*bad, *NOT_LENGTHS, *(-x for x in (2**31, 2**40, 1.5, 10**400))]
    if argument.endswith("steps") or argument in LENGTHS:
        return [*bad, *NEGATIVE, *NOT_LENGTHS]
    if argument in ("timescale", "exponent", "ratio", "width", "rate"):
        return [*bad, *NEGATIVE, *TOO_LARGE, *ZERO]
    if argument in ("lower", "upper", "steepness"):
        return [*bad, *TOO_LARGE]
    return [*bad, *NEGATIVE, *TOO_LARGE]


def needed(builder):
    """What must be given beside the numbers."""
    return {"batch_size": ow.constant(8)} if builder is ow.growing_batch else {}


def is_optional(builder, argument, value):
    return (
        value is None
        and inspect.signature(builder).parameters[argument].default is None
    )


@pytest.mark.parametrize(
    ("builder", "argument"),
    [(builder, argument) for builder in BUILDERS for argument in BUILDERS[builder]],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_refused_by_name(builder, argument):
    accepted, unclear = [], []
    names = {builder.__name__ for builder in BUILDERS}
    for value in bad_values(argument):
        if is_optional(builder, argument, value):
            continue
        try:
            result = builder(
                **{**BUILDERS[builder], **needed(builder), argument: value}
            )
        except (TypeError, ValueError) as error:
            # A preset may leave a check to the builder that it is made of.
            owner, _, rest = str(error).partition(": ")
            named = owner.split(".")[-1] in names and argument in rest
            if not named or repr(value) not in rest:
                unclear.append((value, error))
        else:
            accepted.append((value, result))
    assert not accepted
    assert not unclear


@pytest.mark.parametrize("builder", BUILDERS, ids=lambda x: x.__name__)
def test_traced_arguments_are_refused_by_type(builder):
    arguments = BUILDERS[builder] | needed(builder)
    for argument in BUILDERS[builder]:
        for dtype in (bool, np.complex64):
            traced = jax.ShapeDtypeStruct((), dtype)
            with pytest.raises(TypeError, match=argument):
                jax.eval_shape(
                    lambda x, a=argument: builder(**{**arguments, a: x}), traced
                )


def test_every_builder_is_here():
    """A builder is what is public and gives a schedule or a shape from numbers."""
    here = {builder.__name__ for builder in BUILDERS}
    # What takes lists, schedules or names is in `test_refused_with_words`.
    elsewhere = {"piecewise", "multiply", "join", "reverse", "add", "multistep", "warp"}
    elsewhere |= {"get_scheduler", "accumulation_steps", "Schedule", "Shape"}
    missing = []
    for module in (ow, shapes, ow.factors, ow.compat.optax, ow.compat.transformers):
        for name, x in vars(module).items():
            if name.startswith("_") or inspect.ismodule(x) or not callable(x):
                continue
            gives = inspect.signature(x).return_annotation
            schedule = isinstance(x, type) and issubclass(x, ow.Schedule | shapes.Shape)
            if schedule or gives in ("Schedule", "Shape", ow.Schedule, shapes.Shape):
                missing += [name] if name not in here | elsewhere else []
    assert not missing, f"add to BUILDERS: {missing}"


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ow.warmup_linear(1.0, 101, 100), "warmup_steps=101 total_steps=100"),
        (lambda: ow.warmup_cosine(1.0, 101, 100), "warmup_steps=101 total_steps=100"),
        (lambda: ow.warmup_cosine(1.0, np.array([1, 101]), 100), "warmup_steps 101"),
        (lambda: ow.wsd(1.0, 10, 100, 101), "decay_steps=101 total_steps=100"),
        (lambda: ow.wsd(1.0, 60, 100, 50), "warmup_steps=60 decay_steps"),
        (lambda: ow.warmup_inverse_sqrt(1.0, 0), "warmup_steps timescale 0"),
        (lambda: ow.noam(512, 0), "noam warmup_steps 0"),
        (lambda: ow.piecewise(1.0, []), "piecewise segments []"),
        (lambda: ow.piecewise(1.0, None), "piecewise segments None"),
        (lambda: ow.piecewise(1.0, "ab"), "piecewise segments ab"),
        (lambda: ow.piecewise(1.0, [1, 2]), "piecewise segments[0] 1"),
        (lambda: ow.piecewise(1.0, [(1,)]), "piecewise segments[0]"),
        (lambda: ow.piecewise(1.0, [(1, 1.0), "ab"]), "piecewise segments[1] ab"),
        (lambda: ow.piecewise(1.0, [(1, 2, 3, 4)]), "piecewise segments[0]"),
        (lambda: ow.piecewise(1.0, [(-1, 1.0)]), "piecewise segments[0] steps -1"),
        (lambda: ow.piecewise(1.0, [(1, -1.0)]), "piecewise segments[0] value -1"),
        (lambda: ow.piecewise(math.nan, [(1, 1.0)]), "piecewise init_value nan"),
        (lambda: ow.piecewise(1.0, [(1, 1.0, "cosine")]), "piecewise shape cosine"),
        (lambda: ow.join([], 1.0), "join phases []"),
        (lambda: ow.join(3, 1.0), "join phases 3"),
        (lambda: ow.join([(1, 2, 3)], 1.0), "join phases[0]"),
        (lambda: ow.join([(-1, 1.0)], 1.0), "join phases[0] steps -1"),
        (lambda: ow.join([(1, None)], 1.0), "join phases[0] schedule None"),
        (lambda: ow.join([(1, 1.0)], "x"), "join last x"),
        (lambda: ow.multiply(), "multiply schedule"),
        (lambda: ow.multiply(1.0, None), "multiply schedules[1] None"),
        (lambda: ow.multiply(-1.0), "multiply schedules[0] -1"),
        (lambda: ow.warmup(lambda step: None, 3), "warmup schedule lambda"),
        (lambda: ow.warmup(lambda step: 1j, 3), "warmup schedule complex"),
        (lambda: ow.warmup(lambda step: jnp.ones(2), 3), "warmup schedule (2,)"),
        (lambda: ow.warmup(lambda step: 1 if step else 0, 3), "warmup schedule traced"),
        (lambda: ow.warmup(ow.constant, 3), "warmup schedule constant"),
        (lambda: ow.warmup(shapes.linear, 3), "warmup schedule shapes.linear shape="),
        (lambda: ow.multiply(shapes.power(2), 1.0), "multiply schedules[0] transition"),
        (
            lambda: ow.stretch(ow.factors.radam(0.9), 2),
            "stretch rectification multiply",
        ),
        (lambda: shapes.reverse(3), "reverse shape 3"),
        (lambda: shapes.warp(3, shapes.linear), "warp shape 3"),
        (lambda: ow.add(), "add schedule"),
        (lambda: ow.add(1.0, -1.0), "add schedules[1] -1"),
        (lambda: ow.multistep(1.0, [(-1, 0.1)]), "multistep milestones[0] -1"),
        # The order of optax's arguments.
        (lambda: ow.warmup_cosine(0.0, 3e-4, 2000, 10_000), "warmup_steps by name"),
        (lambda: ow.warmup_cosine(1e-3, 0.1, 1000), "warmup_steps round(0.1"),
        (
            lambda: ow.compat.transformers.get_scheduler("nonsense", 1.0),
            "get_scheduler name nonsense",
        ),
        (
            lambda: ow.compat.transformers.get_scheduler("linear", -1.0, 1, 9),
            "peak_value -1",
        ),
        (lambda: ow.stretch(1.0, 0), "stretch factor 0"),
    ],
)
def test_refused_with_words(build, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        build()
    for word in words.split():
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "shape",
    [
        None, "cosine", 2, 0.5, [shapes.linear], shapes.power, type, object(),
        lambda p: p + 0.1, lambda p: 1 - p, lambda p: 2 * p, lambda p: math.nan,
        lambda: 0.0, lambda p: None, lambda p: "0", lambda p, q: p, jnp.sin,
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "builder", [ow.transition, ow.warmup, ow.cooldown, shapes.reverse]
)
def test_bad_shapes_are_refused(builder, shape):
    arguments = BUILDERS.get(builder, {})
    with pytest.raises((TypeError, ValueError), match=f"{builder.__name__}.*shape"):
        builder(**arguments, shape=shape)


def test_a_schedule_that_needs_more_is_refused():
    """optax's constructors are easily passed in place of what they return."""
    with pytest.raises((TypeError, ValueError), match="warmup: schedule"):
        ow.warmup(optax.cosine_decay_schedule, 10)


@pytest.mark.parametrize(
    "step",
    [
        None, "1", b"1", [1, 2], (1,), {}, True, np.True_, np.array([True]),
        jnp.array(True), 1j, np.complex64(1), jnp.complex64(1), object(), int,
        np.array("1"), np.datetime64(1, "D"), np.timedelta64(1, "D"),
    ],
)  # fmt: skip
def test_bad_steps_are_refused(step):
    with pytest.raises(TypeError, match="step must be an integer"):
        ow.warmup_cosine(1.0, 10, 100)(step)


ODD_BUT_VALID = {
    "steps": [
        np.int64(100), np.int8(100), np.uint8(100), np.uint64(100), jnp.int32(100),
        jnp.uint8(100), 1e2, 100.0, np.float32(100), np.array(100), jnp.float32(100),
        jnp.bfloat16(100),
    ],
    "value": [
        2, np.int64(2), np.uint8(2), np.float16(2), np.float64(2), jnp.int32(2),
        jnp.float32(2), jnp.bfloat16(2), np.array(2), np.array(2.0),
    ],
}  # fmt: skip


def test_odd_but_valid_numbers_are_the_plain_ones():
    plain = ow.warmup_cosine(2.0, 100, 300)
    for steps in ODD_BUT_VALID["steps"]:
        assert ow.warmup_cosine(2.0, steps, 300) == plain
        # 300 wrapped in 8 bits would be 44.
        assert ow.warmup_cosine(2.0, steps, 300)(300) == 0
    for value in ODD_BUT_VALID["value"]:
        assert ow.warmup_cosine(value, 100, 300) == plain


def test_the_edges_of_what_is_valid():
    assert ow.transition(1.0, 0.5, 0)(0) == 0.5
    assert [ow.transition(1.0, 0.5, 1)(t).item() for t in (0, 1)] == [1.0, 0.5]
    assert ow.warmup(1.0, 0)(0) == 1.0
    assert ow.warmup_cosine(1.0, 0, 1)(1) == 0.0
    equal = ow.warmup_cosine(1.0, 10, 10, end_value=0.1)
    assert [equal(t).item() for t in (0, 5, 10)] == [0.0, 0.5, np.float32(0.1)]
    assert ow.transition(0.0, 1.0, 2**31 - 1)(2**31 - 1) == 1.0
    assert ow.constant(0.0)(0) == 0.0
    assert ow.constant(np.finfo(np.float32).max)(0) == np.finfo(np.float32).max
    assert ow.warmup_cosine(0.0, 10, 100, end_value=1e-5)(100) == np.float32(1e-5)
    assert math.copysign(1, ow.constant(-0.0).value) == 1


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: ow.warmup_cosine(peak=1.0, warmup_steps=1, total_steps=9),
            "peak_value",
        ),
        (
            lambda: ow.warmup_cosine(1.0, warmup_ratio=0.1, total_steps=9),
            "warmup_steps",
        ),
        (
            lambda: ow.wsd(lr=1.0, warmup_steps=1, total_steps=9, decay_steps=2),
            "peak_v",
        ),
        (lambda: ow.warmup(1e-3, step=10), "Did you mean steps"),
        (lambda: ow.warmup(1e-3, warmup_steps=10), "Did you mean steps"),
        (lambda: ow.factors.linear(step=10), "factors.linear: .* Did you mean steps"),
        (lambda: ow.cycle(1.0, 10, colour=3), "The arguments are schedule, period"),
        (
            lambda: ow.shapes.power(exponents=2),
            "shapes.power: .* Did you mean exponent",
        ),
    ],
)
def test_an_unknown_argument_is_named_with_the_one_that_is_meant(build, words):
    with pytest.raises(TypeError, match=words):
        build()


@pytest.mark.parametrize("arguments", [("1e-3", 10, 100), (1e-3, "10", 100)])
def test_a_number_that_a_configuration_gives_as_text(arguments):
    with pytest.raises(TypeError, match=r"pass (0\.001|10) as a number\. YAML"):
        ow.warmup_cosine(*arguments)

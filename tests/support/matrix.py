"""A matrix of compositions: what is built, how it is run, and what must hold.

Every case trains for six steps and is compared with `matrix_oracle`. The last optimizer
on the way out may be a record, so every composition is recorded, too.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import random
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from compiled import quickly
from flax import nnx
from flax.training.train_state import TrainState
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from matrix_oracle import (
    B1,
    B2,
    EPS,
    Accumulated,
    Adam,
    Around,
    Automatic,
    Chain,
    Parted,
    Plateau,
    Record,
    RestartIf,
    RestartOnSpike,
    Scale,
    Skip,
    Told,
)
from pairwise import pairwise

import optax_warmup as ow

STEPS, BAD, RESUMED, UNRECORDED = 6, 4, 3, 1
LOSSES = [1.0, 1.1, 5.0, 1.0, 1.1, 0.9]
FACTORS = {
    "transform": (
        *("scale_by_learning_rate", "scale_by_warmup", "automatic_warmup"),
        *("record_moments", "clip_outliers", "clip_update_rms"),
        *("init_second_moment_from_gradient", "reduce_on_plateau", "restart_if"),
        *("restart_on_spike", "skip_nonfinite"),
    ),
    "composition": (
        *("alone", "chain", "inside MultiSteps", "around MultiSteps", "masked"),
        *("partition", "injected", "apply_if_finite", "restarted"),
    ),
    "leaves": ("matrix", "scalar", "zero-size", "empty", "None", "complex"),
    "dtype": ("float32", "mixed", "bfloat16", "float16", "float64"),
    "container": ("bare", "nnx", "linen", "dataclass"),
    "mesh": ("one", "auto", "explicit", "manual"),
    "rate": ("ours", "optax's"),
    "recorded": ("no", "yes"),
}
# What nobody can have: not with optax.adam alone either, or refused with a reason.
# tests/test_matrix.py holds each of them.
OPTAX_CANNOT = (
    {"dtype": "mixed", "composition": "apply_if_finite"},
    {"leaves": "complex", "composition": "inside MultiSteps"},
    {"leaves": "complex", "composition": "around MultiSteps"},
    {"leaves": "empty", "composition": "injected"},
    {"leaves": "empty", "composition": "apply_if_finite"},
    {"leaves": "complex", "composition": "injected"},
)
REFUSED = tuple(
    {"transform": name, "composition": "around MultiSteps"}
    for name in (
        *("automatic_warmup", "clip_outliers", "clip_update_rms"),
        "init_second_moment_from_gradient",
    )
)
_POINTLESS = (
    {"transform": "scale_by_learning_rate", "rate": "optax's"},
    {"composition": "injected", "rate": "optax's"},
    {"transform": "record_moments", "recorded": "yes"},
    {"leaves": "None", "container": "nnx"},  # such an attribute is no parameter
)


def possible(case):
    never = (*OPTAX_CANNOT, *REFUSED, *_POINTLESS)
    return not any(rule.items() <= case.items() for rule in never)


def few():
    """Cases with every possible pair among them, by name."""
    return {name_of(case): case for case in pairwise(FACTORS, possible)}


def some(count, seed=0):
    """A sample of the full product, by name."""
    everything = [
        case
        for values in itertools.product(*FACTORS.values())
        if possible(case := dict(zip(FACTORS, values, strict=True)))
    ]
    return {name_of(c): c for c in random.Random(seed).sample(everything, count)}


def name_of(case):
    return ", ".join(
        f"record of {value}" if name == "recorded" else value
        for name, value in case.items()
        if value not in ("bare", "one", "no", "float32", "matrix", "ours")
    )


# Parameters and gradients


def parameters(case):
    """By name, as NumPy's float64 and complex128 until they are placed."""
    w = np.linspace(0.5, 2.0, 16).reshape(4, 4)
    more = {
        "matrix": {"v": np.linspace(-1.0, 1.0, 3)},
        "scalar": {"s": np.float64(1.5)},
        "zero-size": {"e": np.zeros((0, 3))},
        "None": {"n": None},
        "complex": {"z": np.array([1 + 1j, 0.5 - 2j, -1j])},
    }
    if case["leaves"] == "empty":
        return {}
    return {"w": w, **more[case["leaves"]]}


def gradients(case, step):
    """They grow at one step; where the transform skips them, one is not finite."""
    size = 3.0 if step == 3 else 1.0

    def like(x):
        index = np.arange(np.size(x)).reshape(np.shape(x))
        g = size * (0.5 + np.cos(1.3 * index + step))
        return g * (1 + 0.5j) if np.iscomplexobj(x) else g

    grads = {n: None if x is None else like(x) for n, x in parameters(case).items()}
    if step == BAD and "w" in grads and has_bad_step(case):
        grads["w"][1, 2] = np.nan
    return grads


def has_bad_step(case):
    """Not where it comes too late, or stops the clock of one of two recorded parts."""
    parts = case["composition"] in ("masked", "partition")
    return (
        case["transform"] == "skip_nonfinite"
        and case["composition"] != "inside MultiSteps"
        and not (parts and case["recorded"] == "yes")
    )


def dtype_of(case, what):
    if case["dtype"] == "mixed":
        return {"parameters": jnp.bfloat16, "gradients": jnp.float32}[what]
    return jnp.dtype(case["dtype"])


def cast(tree, dtype):
    wide = jnp.complex128 if dtype == jnp.float64 else jnp.complex64

    def leaf(x):
        return np.asarray(x).astype(wide if np.iscomplexobj(x) else dtype)

    return jax.tree.map(leaf, tree)


def wide(tree):
    """In float64 or complex128, by name, without None."""

    def leaf(x):
        x = np.asarray(x)
        return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)

    return {name: leaf(x) for name, x in tree.items() if x is not None}


# Optimizers, and their oracles


class ToldState(NamedTuple):
    number: jax.Array


def told():
    """Keeps an extra argument, to see whether it arrives."""

    def update(updates, state, params=None, *, number=-1, **extra):
        return updates, ToldState(jnp.asarray(number, jnp.int32))

    return optax.GradientTransformationExtraArgs(
        lambda params: ToldState(jnp.int32(-1)), update
    )


def ramp(peak, steps):
    return ow.warmup(peak, steps, offset=1), lambda n: peak * min(1, (n + 1) / steps)


RATE, HEAD_RATE, FACTOR = ramp(0.1, 4), ramp(0.02, 2), ramp(1.0, 5)
SHARE = 0.5


def adam(**oracle):
    return optax.chain(told(), optax.scale_by_adam(b1=B1, b2=B2, eps=EPS)), oracle


def chain(*both):
    """An optimizer and its oracle, of those of the parts."""
    ours, oracles = zip(*both, strict=True)
    return optax.chain(*ours), Chain(*oracles)


def rate(case, schedule):
    given, oracle = schedule
    ours = case["rate"] == "ours"
    make = ow.scale_by_learning_rate if ours else optax.scale_by_learning_rate
    return make(given), Scale(oracle, sign=-1)


def warmup():
    return ow.scale_by_warmup(FACTOR[0]), Scale(FACTOR[1])


def resumed(state, *, resumed=False, **extra):
    return resumed


def multi(optimizer, oracle):
    steps = optax.MultiSteps(optimizer, 2)
    extra = optax.GradientTransformationExtraArgs(steps.init, steps.update)
    return extra, Accumulated(oracle)


def whole(case, schedule):
    """A complete optimizer with the transform in it, and its oracle."""
    name, accumulates = case["transform"], case["composition"] == "around MultiSteps"
    bare = optax.chain(told(), optax.scale_by_adam(b1=B1, b2=B2, eps=EPS))
    if name == "scale_by_learning_rate" and accumulates:
        return chain(multi(bare, Adam()), rate(case, schedule))
    if name in ("clip_outliers", "clip_update_rms", "init_second_moment_from_gradient"):
        wrapped = {
            "clip_outliers": (
                lambda adam: ow.clip_outliers(adam, theta=2.0),
                Adam(theta=2.0),
            ),
            "clip_update_rms": (
                lambda adam: ow.clip_update_rms(adam, threshold=0.9),
                Adam(threshold=0.9),
            ),
            "init_second_moment_from_gradient": (
                ow.init_second_moment_from_gradient,
                Adam(seeded=True),
            ),
        }[name]
        return chain((wrapped[0](bare), wrapped[1]), rate(case, schedule))
    plain, oracle = chain((bare, Adam()), rate(case, schedule))
    if accumulates:
        plain, oracle = multi(plain, oracle)
    return {
        "scale_by_learning_rate": lambda: (plain, oracle),
        "scale_by_warmup": lambda: chain((plain, oracle), warmup()),
        "automatic_warmup": lambda: (
            ow.automatic_warmup(plain, 100),
            Automatic(oracle),
        ),
        "record_moments": lambda: record(plain, oracle),
        "reduce_on_plateau": lambda: chain(
            (plain, oracle), (ow.reduce_on_plateau(0.5, 1, rtol=0.0), Plateau())
        ),
        "restart_if": lambda: _restarting(
            accumulates, plain, oracle, lambda x: ow.restart_if(x, resumed), RestartIf
        ),
        "restart_on_spike": lambda: _restarting(
            accumulates,
            plain,
            oracle,
            lambda x: ow.restart_on_spike(x, decay=0.5),
            RestartOnSpike,
        ),
        "skip_nonfinite": lambda: (ow.skip_nonfinite(plain), Skip(oracle)),
    }[name]()


def _restarting(everything, plain, oracle, wrap, wrap_oracle):
    """A restart of the warmup, or of everything."""
    if everything:
        return wrap(plain), wrap_oracle(oracle)
    factor, factor_oracle = warmup()
    return chain((plain, oracle), (wrap(factor), wrap_oracle(factor_oracle)))


def record(optimizer, oracle):
    return (
        ow.record_moments(optimizer, b1=B1, b2=B2, eps=EPS),
        Record(oracle),
    )


def is_body(path):
    keys = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
    return "w" in keys


def mask(inside):
    return lambda tree: jax.tree_util.tree_map_with_path(
        lambda path, _: is_body(path) == inside, tree
    )


def labels(tree):
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "body" if is_body(path) else "head", tree
    )


def composed(case):
    """The optimizer of a case, and its oracle."""
    optimizer, oracle = _composed(case)
    return (
        record(optimizer, oracle)
        if case["recorded"] == "yes"
        else (
            optimizer,
            oracle,
        )
    )


def _composed(case):
    composition = case["composition"]
    if composition == "injected":

        def make(learning_rate):
            return whole(case, (learning_rate, RATE[1]))[0]

        return optax.inject_hyperparams(make)(RATE[0]), whole(case, RATE)[1]
    optimizer, oracle = whole(case, RATE)
    if composition in ("masked", "partition"):
        head = optax.chain(told(), optax.scale_by_adam(b1=B1, b2=B2, eps=EPS))
        head, head_oracle = chain((head, Adam()), rate(case, HEAD_RATE))
        both = Parted(oracle, head_oracle)
        if composition == "partition":
            parts = {"body": optimizer, "head": head}
            return optax.partition(parts, labels), both
        masks = optax.masked(optimizer, mask(True)), optax.masked(head, mask(False))
        return optax.chain(*masks), both
    return {
        "alone": lambda: (optimizer, oracle),
        "around MultiSteps": lambda: (optimizer, oracle),
        "chain": lambda: chain(
            (optimizer, oracle), (ow.scale_by_warmup(SHARE), Scale(lambda n: SHARE))
        ),
        "inside MultiSteps": lambda: multi(optimizer, oracle),
        "apply_if_finite": lambda: (
            optax.apply_if_finite(optimizer, 3),
            Around(oracle),
        ),
        "restarted": lambda: (ow.restart_if(optimizer, resumed), RestartIf(oracle)),
    }[composition]()


def schedules(case):
    """What `learning_rates` must be told, and how it names the groups."""
    composition = case["composition"]
    names = {
        "partition": ["body", "head"],
        "masked": [f"masked_{_place(case)}{part}" for part in (0, 1)],
    }.get(composition, ["all"])
    given = dict(zip(names, (RATE[0], HEAD_RATE[0]), strict=False))
    return names, given if case["rate"] == "optax's" else None


def _place(case):
    """Where the optimizer's state is in what holds it, for the names of masks."""
    held = "opt_state/" if case["container"] in ("linen", "nnx") else ""
    return held + ("inner_state/" if case["recorded"] == "yes" else "")


# Containers: what a program carries from step to step


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["w", "rest"], meta_fields=["name"]
)
@dataclasses.dataclass
class Layer:
    """As Equinox makes them: a tree with a static field."""

    w: Any
    rest: dict
    name: str = "layer"


class Model(nnx.Module):
    def __init__(self, params):
        for name, x in params.items():
            setattr(self, name, nnx.Param(x))


class Carry(NamedTuple):
    """What a step takes and gives, and how to read it.

    Attributes:
        first: that of before the first update.
        step: (carry, gradients, extra) -> carry, updates or None.
        parameters: of a carry, by name.
        state: the optimizer's state of a carry, or what holds it.
    """

    first: Any
    step: Any
    parameters: Any
    state: Any


def bare(optimizer, params, into=lambda tree: tree, out=lambda tree: tree):
    def step(carry, grads, extra):
        params, state = carry
        updates, state = optimizer.update(into(grads), state, params, **extra)
        return (optax.apply_updates(params, updates), state), out(updates)

    tree = into(params)
    return Carry(
        (tree, optimizer.init(tree)), step, lambda c: out(c[0]), lambda c: c[1]
    )


def dataclass(optimizer, params):
    def into(tree):
        rest = {name: x for name, x in tree.items() if name != "w"}
        return Layer(tree.get("w"), rest)

    def out(layer):
        return ({} if layer.w is None else {"w": layer.w}) | layer.rest

    return bare(optimizer, params, into, out)


def linen(optimizer, params):
    def step(carry, grads, extra):
        updates, state = carry.tx.update(grads, carry.opt_state, carry.params, **extra)
        params = optax.apply_updates(carry.params, updates)
        carry = carry.replace(step=carry.step + 1, params=params, opt_state=state)
        return carry, updates

    first = TrainState.create(apply_fn=None, params=params, tx=optimizer)
    first = first.replace(step=jnp.int32(0))
    return Carry(first, step, lambda c: c.params, lambda c: c)


def flax_nnx(optimizer, params):
    model = Model(params)
    holder = nnx.Optimizer(model, optimizer, wrt=nnx.Param)
    graph, first = nnx.split((model, holder))

    def step(carry, grads, extra):
        model, holder = nnx.merge(graph, carry)
        like = nnx.state(model, nnx.Param)
        leaves = [grads[name] for name in sorted(grads)]
        holder.update(
            model, jax.tree.unflatten(jax.tree.structure(like), leaves), **extra
        )
        return nnx.split((model, holder))[1], None

    def parameters(carry):
        model, _ = nnx.merge(graph, carry)
        return {name: getattr(model, name)[...] for name in params}

    return Carry(first, step, parameters, lambda c: nnx.merge(graph, c)[1])


CONTAINERS = {
    "bare": bare,
    "dataclass": dataclass,
    "linen": linen,
    "nnx": flax_nnx,
}


# Meshes


def placed(case, mesh, tree):
    """Arrays on their devices: "w" by rows or by columns, all others everywhere."""
    if case["mesh"] in ("one", "manual"):
        return jax.tree.map(jnp.asarray, tree)
    rows = zlib.crc32(name_of(case).encode()) % 2
    specs = {"w": P("d") if rows else P(None, "d")}
    return {
        name: x
        if x is None
        else jax.device_put(x, NamedSharding(mesh, specs.get(name, P())))
        for name, x in tree.items()
    }


def everywhere(case, mesh, tree):
    """The carry of a manual program begins on all its devices."""
    if case["mesh"] != "manual":
        return tree
    return jax.device_put(tree, NamedSharding(mesh, P()))


def compiled(case, mesh, step):
    if case["mesh"] == "manual":

        def replica(carry, grads, extra):
            mean = jax.tree.map(lambda g: jax.lax.pmean(g[0], "d"), grads)
            return step(carry, mean, extra)

        def step_of_all(carry, grads, extra):
            each = jax.tree.map(lambda g: jnp.broadcast_to(g, (4, *g.shape)), grads)
            return jax.shard_map(
                replica, mesh=mesh, in_specs=(P(), P("d"), P()), out_specs=P()
            )(carry, each, extra)
    else:
        step_of_all = step
    return quickly(step_of_all, donate_argnums=0)


@contextlib.contextmanager
def around(case):
    """The mesh of a case, and 64 bits where it asks for them."""
    kinds = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
    with jax.enable_x64(case["dtype"] == "float64"):
        if case["mesh"] == "one":
            yield None
            return
        kind = kinds.get(case["mesh"], AxisType.Auto)
        mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,))
        if case["mesh"] == "manual":
            yield mesh
            return
        with jax.set_mesh(mesh):
            yield mesh


# What must hold


def check(case):
    with around(case) as mesh:
        _check(case, mesh)


def _check(case, mesh):
    optimizer, oracle = composed(case)
    params = placed(case, mesh, cast(parameters(case), dtype_of(case, "parameters")))
    places = {name: getattr(x, "sharding", None) for name, x in params.items()}
    carry = CONTAINERS[case["container"]](optimizer, params)
    names, given = schedules(case)
    traces = []

    def step(now, grads, extra):
        traces.append(extra)
        now, updates = carry.step(now, grads, extra)
        rates = ow.learning_rates(carry.state(now), schedule=given)
        return now, (updates, rates)

    program = compiled(case, mesh, step)
    now, described = everywhere(case, mesh, carry.first), [describe(carry.first)]
    for n in range(STEPS):
        grads = cast(gradients(case, n), dtype_of(case, "gradients"))
        before = wide(carry.parameters(now))
        told = Told(LOSSES[n], n == RESUMED, n != UNRECORDED, n)
        now, (updates, traced) = program(
            now,
            placed(case, mesh, grads),
            {
                "value": jnp.float32(told.value),
                "resumed": jnp.bool_(told.resumed),
                "record": jnp.bool_(told.record),
                "number": jnp.int32(n),
            },
        )
        told = told._replace(factor=automatic_factor(carry.state(now)))
        wanted = oracle.update(wide(grads), before, told)
        described.append(describe(now))
        after = carry.parameters(now)
        if mesh is not None and case["mesh"] != "manual":
            for name, place in places.items():
                kept = after[name]
                assert kept is None or kept.sharding.is_equivalent_to(place, kept.ndim)
        reported = ow.learning_rates(carry.state(now), schedule=given)
        assert list(reported) == names, (reported, names)
        assert all(type(rate) is float for rate in reported.values())
        np.testing.assert_allclose(
            [traced[name] for name in names], list(reported.values()), rtol=1e-6
        )
        _require_rates(case, oracle, list(reported.values()), n)
        applied = (
            wide(updates)
            if updates is not None
            else {name: x - before[name] for name, x in wide(after).items()}
        )
        rounding = 0 if updates is not None else 4 * epsilon(case, "parameters")
        _require_updates(
            case, oracle, list(reported.values()), wanted, applied, rounding
        )
    _require_constant(case, described, traces)
    state = carry.state(now)
    heard = [int(np.ravel(x)[0]) for x in _numbers(state)]
    assert heard == [part.number for part in oracle.parts(Adam)], heard
    for part in oracle.parts(Record):
        _require_record(case, part, ow.read_moments(state))


def automatic_factor(state):
    """What `automatic_warmup` says that it scaled by; the updates must agree."""
    kind = ow.states.AutomaticWarmupState
    nodes = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, kind))
    for node in (node for node in nodes if isinstance(node, kind)):
        factor = float(jax.tree.leaves(node.factor)[0])
        assert 0 <= factor <= 1
        return factor or 1.0  # 0 where there has been nothing to scale
    return 1.0


def describe(carry):
    """The structure and the types of a tree."""
    leaves, structure = jax.tree.flatten(carry)
    return structure, [(x.shape, str(x.dtype), x.weak_type) for x in leaves]


def epsilon(case, what):
    return float(jnp.finfo(dtype_of(case, what)).eps)


def tolerance(case):
    """What the rounding of a few operations may amount to."""
    coarse = max(epsilon(case, "gradients"), epsilon(case, "parameters"), 1e-7)
    return 1e-5 if coarse < 1e-5 else 6 * coarse


def _require_rates(case, oracle, reported, step):
    # Rates that are injected have the parameters' dtype.
    exact = tolerance(case) if case["composition"] == "injected" else 1e-6
    np.testing.assert_allclose(reported, oracle.scales, exact, err_msg=f"step {step}")


def _require_updates(case, oracle, reported, wanted, applied, rounding):
    """The reported rate times the oracle's direction."""
    assert set(applied) == set(wanted)
    for name, update in wanted.items():
        group = 0 if len(reported) == 1 or name == "w" else 1
        direction = update / oracle.scales[group]
        np.testing.assert_allclose(
            applied[name],
            reported[group] * direction,
            rtol=tolerance(case),
            atol=2 * rounding + tolerance(case) * reported[group] / 2,
            err_msg=name,
        )


def _require_constant(case, described, traces):
    """From init on, but for what Adam itself does not keep constant.

    Moments of bfloat16 parameters take the type of float32 gradients.
    """
    if case["dtype"] != "mixed":
        assert len(traces) == 1, len(traces)
        assert all(each == described[0] for each in described)
        return
    assert len(traces) <= 2
    assert all(each == described[1] for each in described[1:])
    assert described[0][0] == described[1][0]
    for before, after in zip(described[0][1], described[1][1], strict=True):
        narrow = (before[0], "bfloat16", before[2])
        assert before == after or (before == narrow and after[1] == "float32")


def _numbers(state):
    found = [
        x.number
        for x in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, ToldState))
        if isinstance(x, ToldState)
    ]
    return [jax.tree.leaves(x)[0] for x in found]


def _require_record(case, part, history):
    assert history.steps.tolist() == list(part.rows), (history.steps, list(part.rows))
    exact = 10 * tolerance(case)
    whole = len(part.scales) == 1
    for row, (step, numbers) in enumerate(part.rows.items()):
        for name, wanted in numbers.items():
            got = history.overall[name][row]
            if name == "applied_rate" and not whole and np.isnan(got):
                continue  # of two groups with different rates there is none
            np.testing.assert_allclose(
                got,
                wanted,
                rtol=exact,
                err_msg=f"{name} at {step}: {json.dumps(numbers)}",
            )

"""The optimizer of each case of the matrix, and its oracle."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from matrix_cases import REFUSED, parameters
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
)

import optax_warmup as ow


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


def adam(case):
    kept = {"own": None, "bfloat16": jnp.bfloat16}[case.get("mu", "own")]
    return optax.chain(
        told(), optax.scale_by_adam(b1=B1, b2=B2, eps=EPS, mu_dtype=kept)
    )


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


REFUSED_AROUND = [rule["transform"] for rule in REFUSED]


def whole(case, schedule):
    """A complete optimizer with the transform in it, and its oracle."""
    name, accumulates = case["transform"], case["composition"] == "around MultiSteps"
    bare = adam(case)
    if name == "scale_by_learning_rate" and accumulates:
        return chain(multi(bare, Adam()), rate(case, schedule))
    if accumulates and name in REFUSED_AROUND:
        bare, _ = multi(bare, Adam())
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
            ow.automatic_warmup(plain),
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
        head = (adam(case), Adam())
        head, head_oracle = chain(head, rate(case, HEAD_RATE))
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
    composition, params = case["composition"], parameters(case)
    others = sorted(name for name, x in params.items() if name != "w" and x is not None)
    masks = ["masked_0", "masked_1"]  # no parameters, no paths
    if params:
        # A dataclass has all but "w" in one field, and a name is cut where it can be.
        rest = "rest" if case["container"] == "dataclass" else "+".join(others)
        masks = ["w", rest] if others else ["all"]
    names = {"partition": ["body", "head"], "masked": masks}.get(composition, ["all"])
    given = dict(zip(names, (RATE[0], HEAD_RATE[0]), strict=False))
    return names, given if case["rate"] == "optax's" else None

"""Random expressions of the vocabulary against the float64 oracle in tests/support.

One round takes one random structure and many sets of random numbers for it. A schedule
is a pytree, so one compiled program evaluates all of them, each at its own steps. The
first and the last of each round are also evaluated the ways that users do: with one
step after the other, inside `jit` with their numbers known, or in a scan.
"""

import collections
import math
import random
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import oracle

import optax_warmup as ow

Outcome = tuple[str, str]  # what came of it, and the input
A_ROUND = 400
# Relative to the largest value of the run: nested sums and products add up errors.
TOLERANCE = 2e-5
STEPS = 24
MAX_STEP = 2**31 - 1

SHAPES = (
    "m.shapes.linear",
    "m.shapes.cosine",
    "m.shapes.power({e})",
    "m.shapes.polynomial({e})",
    "m.shapes.exponential({r})",
    "m.shapes.reverse(m.shapes.power({e}))",
    "m.shapes.mirror_cosine",
    "m.shapes.logarithmic({r})",
    "m.shapes.tanh(-{e}, {e})",
    "m.shapes.sigmoid({e})",
    "m.shapes.rex({f})",
    "m.shapes.warp(m.shapes.power({e}), m.shapes.cosine)",
)
LEAVES = (
    "m.constant({v})",
    "m.transition({v}, {v}, {n}, {shape})",
    "m.piecewise({v}, [({n}, {v}, {shape}), ({n}, {v}, {shape})])",
    "m.inverse_power({v}, timescale={x}, power={e})",
    "m.exponential_decay({v}, steps={n1}, rate={f}, limit={v})",
    "m.step_decay({v}, steps={n1}, rate={f})",
    "m.multistep({v}, [({n}, {f})])",
    "m.warmup_constant({v}, {n}, init_value={v}, offset={k})",
    "m.warmup_cosine({v}, {n}, {n} + 70000, end_value={v}, offset={k})",
    "m.warmup_linear({v}, {n}, {n} + 70000, init_value={v})",
    "m.warmup_exponential({v}, {n}, decay_steps={n1}, decay_rate={f}, limit={v},"
    " init_value={v}, offset={k})",
    "m.warmup_inverse_sqrt({v}, {n1}, offset={k})",
    "m.warmup_cosine_restarts({v}, {n}, {n} + 70000, {c}, scale={f}, init_value={v},"
    " end_value={v}, offset={k})",
    "m.warmup_cosine_restarts({v}, {n}, {n} + 70000, {c}, period_multiplier=2)",
    "m.wsd({v}, {n}, {n} + 140000, {n}, decay_shape={shape})",
    "m.triangular({v}, {v}, {n1}, {n1}, scale={f})",
    "m.tri_stage({v}, {n}, {n}, {n}, init_value=0.0, end_value=0.0)",
    "m.noam({n1}, {n1}, scale={v})",
    "m.power_law({v}, {n}, hold_until={n} + 70000, power={e}, init_value={v},"
    " offset={k})",
    "m.lr_range_test({p}, {p}, {n1})",
    "m.infinite({v}, {n}, {n}, {v}, init_value={v}, shape={shape})",
    "m.one_cycle({v}, {n}, {n} + 140000, init_value={v}, end_value={v},"
    " return_steps={n}, shape={shape})",
    "m.factors.linear({n})",
    "m.factors.exponential({n1})",
    "m.compat.optax.warmup_cosine_decay_schedule({v}, {v}, {n}, {n} + 70000, {v}, {e})",
)
WRAPPERS = (
    "m.warmup({s}, {n}, init_value={v}, shape={shape}, offset={k})",
    "m.cooldown({s}, {n}, {n}, end_value={v}, shape={shape})",
    "m.advance({s}, {n})",
    "m.delay({s}, {n})",
    "m.multiply({s}, {s})",
    "m.add({s}, {s})",
    "m.join([({n}, {s}), ({n}, {s})], {s})",
    "m.cycle({s}, {n1}, scale={f})",
    "m.cycle({s}, {n1}, period_multiplier=2, num_cycles=4)",
    "m.clip({s}, maximum={v})",
    "m.clip({s}, minimum={v}, maximum={v})",
    "m.retime({s}, {n1}, {n1} + 70000)",
    "m.switch({s}, {s}, {n}, steps={n}, shape={shape}, allow_jump=True)",
    "m.rewarm({s}, {n}, {n}, init_value={v})",
    "m.staircase({s}, {n1})",
    "m.spike({s}, {n}, factor={e}, up_steps={n}, hold_steps={n}, down_steps={n})",
)


def number(kind: str, rng: random.Random) -> str:
    if kind in "vp":
        some = repr(round(10 ** rng.uniform(-5, 1), 9))
        return some if kind == "p" else rng.choice(("0.0", "1.0", some))
    if kind in ("n", "n1"):
        most = 4.8 if rng.random() < 0.97 else 9.3
        least = int(kind == "n1")
        return str(max(rng.choice((0, 1, 2, int(10 ** rng.uniform(0, most)))), least))
    if kind == "k":
        return rng.choice("0011")
    if kind == "c":
        return rng.choice("1235")
    if kind == "e":
        return rng.choice(("0.5", "1.0", "2.0", single(rng.uniform(0.2, 4))))
    if kind == "r":
        return single(10 ** rng.uniform(-2, 2))
    if kind == "f":
        return single(rng.uniform(0.05, 1))
    assert kind == "x", kind
    return repr(round(10 ** rng.uniform(0, 5), 4))


def single(x: float) -> str:
    """A number of float32: powers of what it rounds to are other numbers."""
    return repr(float(np.float32(x)))


def structure(rng: random.Random, depth: int) -> str:
    """A random expression with placeholders for its numbers."""
    wraps = depth > 0 and rng.random() > 0.25

    def part(found: re.Match[str]) -> str:
        if found[1] == "s":
            return structure(rng, depth - 1)
        return rng.choice(SHAPES) if found[1] == "shape" else found[0]

    return re.sub(r"\{(\w+)\}", part, rng.choice(WRAPPERS if wraps else LEAVES))


def filled(text: str, rng: random.Random) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: number(found[1], rng), text)


def schedule(rng: random.Random, depth: int) -> str:
    """A random expression."""
    return filled(structure(rng, depth), rng)


def try_schedules(rng: random.Random, index: int) -> list[Outcome]:
    """What came of the expressions of one round."""
    pattern = structure(rng, rng.choice((1, 1, 2, 2, 3)))
    outcomes: list[Outcome] = []
    alike: dict[Any, list[tuple[str, Any]]] = collections.defaultdict(list)
    for _ in range(A_ROUND):
        text = filled(pattern, rng)
        try:
            built = eval(text, {"m": ow})
            numbers, tree = jax.tree.flatten(built)
        except (TypeError, ValueError) as error:
            # An error that names its function is what a user should get.
            found = "refused" if ": " in str(error) else f"unclear error {error}"
            outcomes.append((found, text))
        except Exception as error:  # noqa: BLE001 what else comes is what is looked for
            outcomes.append((f"raised {type(error).__name__}: {error}", text))
        else:
            kinds = tuple(np.asarray(x).dtype.kind for x in numbers)
            alike[tree, kinds].append((text, built))
    ways = list(WAYS)
    for (tree, kinds), group in alike.items():
        steps = np.stack([steps_of(built, rng) for _, built in group])
        values = _together(tree, kinds, [built for _, built in group], steps)
        for (text, _), at, found in zip(group, steps, values, strict=True):
            outcomes.append((compared(text, at, found), text))
        for place in (0, -1):
            (text, built), at = group[place], steps[place]
            way = ways[(index - place) % len(ways)]
            found = compared(text, at, WAYS[way](built, at))
            if found != "right":
                outcomes.append((f"{way}: {found}", text))
    return outcomes


def steps_of(built: Any, rng: random.Random) -> np.ndarray:
    """The ends, joints and their neighbours, and some in between and beyond."""
    known = [x for x in jax.tree.leaves(built) if isinstance(x, int)]
    joints = [int(x) for x in np.cumsum(known)] + known
    near = rng.sample(joints, min(len(joints), 4))
    steps = [0, 1, 2, MAX_STEP, *(j + d for j in near for d in (-1, 0, 1))]
    steps += [int(10 ** rng.uniform(0, 6)) for _ in range(STEPS - len(steps))]
    return np.array([min(max(step, 0), MAX_STEP) for step in sorted(steps)], np.int32)


def compared(text: str, steps: np.ndarray, values: np.ndarray) -> str:
    """Says "right", or where the values are wrong."""
    wanted = eval(text, {"m": oracle})
    expected = [float(wanted(step)) for step in steps.tolist()]
    bound = TOLERANCE * max(map(abs, expected)) + 1e-37
    for step, value, right in zip(steps, values.tolist(), expected, strict=True):
        if not math.isfinite(value) or abs(value - right) > bound:
            return f"wrong at {step}: {value} for {right}"
    return "right"


def _together(
    tree: Any, kinds: tuple[str, ...], group: list[Any], steps: np.ndarray
) -> np.ndarray:
    """The values of schedules of one structure, each at its own steps."""
    rows = [jax.tree.leaves(built) for built in group]
    numbers = [
        np.array(column, np.int32 if kind == "i" else np.float32)
        for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)
    ]

    def one(numbers: list[Any], at: jax.Array) -> jax.Array:
        result: jax.Array = jax.tree.unflatten(tree, numbers)(at)
        return result

    # As it takes seconds to compile with all optimizations; the other ways use them.
    quick = {"xla_backend_optimization_level": 0}
    program = jax.jit(jax.vmap(one), compiler_options=quick)
    return np.asarray(program(numbers, steps), np.float64)


def _one_by_one(built: Any, steps: np.ndarray) -> np.ndarray:
    return np.array([float(built(step)) for step in steps.tolist()])


def _jitted(built: Any, steps: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(built)(steps), np.float64)


def _scanned(built: Any, steps: np.ndarray) -> np.ndarray:
    def body(carry: None, step: Any) -> tuple[None, jax.Array]:
        return carry, built(step)

    return np.asarray(jax.lax.scan(body, None, steps)[1], np.float64)


WAYS: dict[str, Callable[[Any, np.ndarray], np.ndarray]] = {
    "one by one": _one_by_one,
    "jit": _jitted,
    "scan": _scanned,
}

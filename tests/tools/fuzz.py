"""Tries random input for some minutes, and adds to a table of what was found.

    python tests/tools/fuzz.py [--seed N] [--minutes N] [--kind schedules configs texts]

- schedules: random nested expressions against the float64 oracle in tests/support.
- configs: configurations with random damage; only TypeError and ValueError may come.
- texts: damaged expressions for the command line; only its own error may come.

A run goes on where the last one with its seed stopped: the table keeps how many inputs
each seed has seen. What fails is printed with what reproduces it, and becomes a test.
"""

import argparse
import collections
import copy
import json
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import jax  # noqa: E402
import numpy as np  # noqa: E402
import oracle  # noqa: E402

import optax_warmup as ow  # noqa: E402
from optax_warmup._inspect import expression  # noqa: E402
from optax_warmup._vocabulary import vocabulary  # noqa: E402

TABLE = ROOT / "benchmarks" / "results" / "fuzz.json"
# Relative to the largest value of the run: nested sums and products add up errors.
TOLERANCE = 2e-5
SLOW = 20.0  # seconds that no input may take

SHAPES = (
    "m.shapes.linear",
    "m.shapes.cosine",
    "m.shapes.power({e})",
    "m.shapes.polynomial({e})",
    "m.shapes.exponential({r})",
    "m.shapes.reverse(m.shapes.power({e}))",
    "m.shapes.mirror_cosine",
)
LEAVES = (
    "m.constant({v})",
    "m.transition({v}, {v}, {n}, {shape})",
    "m.piecewise({v}, [({n}, {v}, {shape}), ({n}, {v}, {shape})])",
    "m.inverse_power({v}, timescale={x}, power={e})",
    "m.exponential_decay({v}, steps={n1}, rate={f}, limit=0.0)",
    "m.step_decay({v}, steps={n1}, rate={f})",
    "m.multistep({v}, [({n}, {f})])",
    "m.warmup_cosine({v}, {n}, {n} + {n} + 70000, end_value={v}, offset={k})",
    "m.warmup_linear({v}, {n}, {n} + {n} + 70000, init_value={v})",
    "m.wsd({v}, {n}, {n} + {n} + 140000, {n}, decay_shape={shape})",
    "m.warmup_inverse_sqrt({v}, {n1}, offset={k})",
    "m.triangular({v}, {v}, {n1}, {n1}, scale={f})",
    "m.tri_stage({v}, {n}, {n}, {n}, init_value=0.0, end_value=0.0)",
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
    "m.retime({s}, {n1}, {n1} + 70000)",
    "m.switch({s}, {s}, {n}, steps={n}, allow_jump=True)",
    "m.rewarm({s}, {n}, {n}, init_value={v})",
    "m.staircase({s}, {n1})",
)


def number(kind: str, rng: random.Random) -> str:
    if kind == "v":
        return rng.choice(("0.0", "1.0", repr(round(10 ** rng.uniform(-5, 1), 9))))
    if kind in ("n", "n1"):
        least = int(kind == "n1")
        return str(max(rng.choice((0, 1, 2, int(10 ** rng.uniform(0, 4.8)))), least))
    if kind == "k":
        return rng.choice("0011")
    if kind == "e":
        return rng.choice(("0.5", "1.0", "2.0", repr(round(rng.uniform(0.2, 4), 4))))
    if kind == "r":
        return repr(round(10 ** rng.uniform(-2, 2), 6))
    if kind == "f":
        return repr(round(rng.uniform(0.05, 1), 5))
    assert kind == "x", kind
    return repr(round(10 ** rng.uniform(0, 5), 4))


def filled(template: str, rng: random.Random, depth: int) -> str:
    text = template
    while "{" in text:
        start = text.index("{")
        end = text.index("}", start)
        kind = text[start + 1 : end]
        if kind == "s":
            piece = schedule(rng, depth - 1)
        elif kind == "shape":
            piece = rng.choice(SHAPES)
        else:
            piece = number(kind, rng)
        text = text[:start] + piece + text[end + 1 :]
    return text


def schedule(rng: random.Random, depth: int) -> str:
    if depth <= 0 or rng.random() < 0.25:
        return filled(rng.choice(LEAVES), rng, depth)
    return filled(rng.choice(WRAPPERS), rng, depth)


def try_schedule(rng: random.Random) -> tuple[str, str]:
    """What came of one random expression, and the expression."""
    text = schedule(rng, rng.choice((1, 1, 2, 2, 3)))
    try:
        ours = eval(text, {"m": ow})
    except (TypeError, ValueError) as error:
        # An error that names its function is what a user should get.
        return ("refused" if ": " in str(error) else "unclear error"), text
    wanted = eval(text, {"m": oracle})
    known = [x for x in jax.tree.leaves(ours) if isinstance(x, int)]
    joints = list(np.cumsum(known)) + known
    steps = {0, 1, 2, 2**31 - 1, *(int(10 ** rng.uniform(0, 6)) for _ in range(8))}
    near = rng.sample(joints, min(len(joints), 4))
    steps |= {j + d for j in near for d in (-1, 0, 1)}
    at = np.array(sorted(s for s in steps if 0 <= s < 2**31), np.int32)
    with jax.disable_jit():  # operation by operation: nothing is compiled as a whole
        values = np.asarray(ours(at), np.float64)
    found = dict(zip(at.tolist(), values.tolist(), strict=True))
    expected = {step: float(wanted(step)) for step in found}
    scale = max(map(abs, expected.values()))
    for step, value in found.items():
        error = abs(value - expected[step])
        if not math.isfinite(value) or error > TOLERANCE * scale + 1e-37:
            return f"wrong at {step}: {value} for {expected[step]}", text
    return "right", text


GARBAGE = (
    *(
        None,
        True,
        -1,
        0,
        2**40,
        10**400,
        1e308,
        math.inf,
        math.nan,
        "",
        "x",
        "constant",
    ),
    *([], {}, [None], [[]], {"type": None}, {"type": "array"}, {"type": "float"}),
    {"type": "array", "values": [[1], [2, 3]]},
    {"type": "function", "name": "eval"},
    {"type": "shapes.cosine", "steps": 3},
)


def places(config: Any) -> list[tuple[Any, Any]]:
    found = []
    items = (
        config.items()
        if isinstance(config, dict)
        else enumerate(config)
        if isinstance(config, list)
        else ()
    )
    for key, value in list(items):
        found += [(config, key), *places(value)]
    return found


def garbage(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(GARBAGE))


def try_config(rng: random.Random) -> tuple[str, str]:
    try:
        config = ow.to_config(eval(schedule(rng, 2), {"m": ow}))
    except (TypeError, ValueError):
        return "refused", ""
    config = copy.deepcopy(json.loads(json.dumps(config)))
    for _ in range(rng.choice((1, 1, 2))):
        holder, key = rng.choice(places(config))
        if isinstance(holder, dict) and rng.random() < 0.3:
            if rng.random() < 0.5:
                del holder[key]
            else:
                holder[rng.choice(("steps", "valu", "0", "type"))] = garbage(rng)
        else:
            holder[key] = garbage(rng)
    text = repr(config)
    try:
        built = ow.from_config(config)
    except (TypeError, ValueError) as error:
        named = ": " in str(error)
        return ("refused" if named else f"unclear error {error}"), text
    except Exception as error:  # noqa: BLE001 what else comes is what is looked for
        return f"raised {type(error).__name__}: {error}", text
    if not isinstance(built, ow.Schedule):
        return "right", text  # an array or a shape, if the whole was replaced
    with jax.disable_jit():
        value = np.asarray(built(5), np.float64)
    return ("right" if np.isfinite(value).all() else f"value {value}"), text


def try_text(rng: random.Random) -> tuple[str, str]:
    text = schedule(rng, 2).replace("m.", rng.choice(("", "ow.")))
    for _ in range(rng.choice((1, 2, 4))):
        place = rng.randrange(len(text) + 1)
        cut = place + rng.choice((0, 1, 3))
        piece = rng.choice(("", *"(),*-=é\n", "9" * 30, "1e9", "**", "m."))
        text = text[:place] + piece + text[cut:]
    try:
        expression.parse(text, vocabulary())
    except expression.ExpressionError:
        return "refused", text
    except Exception as error:  # noqa: BLE001 what else comes is what is looked for
        return f"raised {type(error).__name__}: {error}", text
    return "right", text


KINDS = {"schedules": try_schedule, "configs": try_config, "texts": try_text}


def run(kind: str, seed: int, minutes: float, begin: int) -> collections.Counter:
    """Tries inputs from number `begin` on; prints each that fails."""
    counts: collections.Counter = collections.Counter()
    ends = time.monotonic() + 60 * minutes
    index = begin
    while time.monotonic() < ends:
        began = time.monotonic()
        found, what = KINDS[kind](random.Random(f"{kind} {seed} {index}"))
        if time.monotonic() - began > SLOW:
            found = f"slow, {time.monotonic() - began:.0f} s"
        verdict = found if found in ("right", "refused") else "failed"
        counts[verdict] += 1
        if verdict == "failed":
            print(f"{kind} {seed} {index}: {found}\n    {what[:400]}", flush=True)
        index += 1
    counts["tried"] = index - begin
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1.0, help="for each kind")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    failed = 0
    for kind in options.kind:
        totals = table.setdefault(kind, {}).setdefault(str(options.seed), {})
        counts = run(kind, options.seed, options.minutes, totals.get("tried", 0))
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
        failed += counts["failed"]
        print(f"{kind}: {dict(counts)}; in all {totals}")
        TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""What a case is, and the numbers that cases are tried with."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

MAX_STEP = 2**31 - 1


class Case(NamedTuple):
    """What holds besides the precision is what a chain of ramps promises.

    exact: where the oracle returns one of the numbers given, so do we, to the last bit.
    bounded: never outside the range of the values at the joints.
    monotone: never falls where the oracle rises, nor rises where it falls.
    whole: the values are int32.
    traceable: every number may be traced, as a float too.
    tolerance: of the relative error; above 1e-6 only with a reason beside the line.
    """

    build: Callable[[Any, SimpleNamespace], Any]
    exact: bool = True
    bounded: bool = True
    monotone: bool = True
    whole: bool = False
    traceable: bool = True
    tolerance: float = 1e-6


def draw(rng: np.random.Generator) -> SimpleNamespace:
    """Random valid numbers: four values v, three lengths n whose sum is a step, ...

    e: an exponent, 0.1 to 5. r: a ratio, 1e-4 to 1e4. x: a timescale, 1 to 1e7.
    k: an offset, mostly 0 or 1. f: a fraction, 0 to 1. i: a seed. b: Adam's b2.
    """
    values: list[float] = []
    for _ in range(4):
        kind = rng.random()
        value = 0.0 if kind < 0.15 else 10 ** rng.uniform(-8, 1)
        values.append(values[-1] if kind > 0.92 and values else value)
    room, lengths = MAX_STEP - 1, []
    for _ in range(3):
        kind = rng.random()
        length = int(10 ** rng.uniform(0.3, math.log10(MAX_STEP)))
        length = 0 if kind < 0.1 else 1 if kind < 0.2 else length
        lengths.append(room if kind > 0.97 else min(length, room))
        room -= lengths[-1]
    rng.shuffle(lengths)
    exponents = (0.5, 1.0, 2.0, 3.0, 10 ** rng.uniform(-1, math.log10(5)))
    return SimpleNamespace(
        v0=values[0],
        v1=values[1],
        v2=values[2],
        v3=values[3],
        n0=lengths[0],
        n1=lengths[1],
        n2=lengths[2],
        # A number is a float32: another exponent moves p**e by |log(p)| times as much.
        e=float(np.float32(rng.choice(exponents))),
        r=1.0 if rng.random() < 0.05 else 10 ** rng.uniform(-4, 4),
        x=10 ** rng.uniform(0, 7),
        k=int(rng.choice([0, 1, 1, rng.integers(0, 100)])),
        f=float(np.float32(rng.uniform(1e-3, 1))),
        i=int(rng.integers(2**31)),
        b=float(np.float32(1 - 10 ** rng.uniform(-5, -0.5))),
    )


def steps(n: SimpleNamespace, rng: np.random.Generator, count: int = 40) -> list[int]:
    """Golden steps: every joint and its neighbours, and some in between and beyond."""
    a, b, c = n.n0, n.n1, n.n2
    joints = [0, a, b, c, a + b, b + c, a + b + c, b - a, a - b, MAX_STEP]
    golden = [joint + by for joint in joints for by in (-1, 0, 1)]
    golden += [int(length * rng.random()) for length in (a, b, a + b, a + b + c)]
    golden += [int(10 ** rng.uniform(0, 9.33)) for _ in range(count - len(golden))]
    return sorted(min(max(step, 0), MAX_STEP) for step in golden)


def example() -> SimpleNamespace:
    """Numbers of ordinary size, for tests that look at one schedule of each kind."""
    return SimpleNamespace(
        v0=0.1,
        v1=1.0,
        v2=0.01,
        v3=0.5,
        n0=10,
        n1=20,
        n2=15,
        e=1.5,
        r=0.05,
        x=8.0,
        k=1,
        f=float(np.float32(0.3)),
        i=7,
        b=float(np.float32(0.9)),
    )

"""Few cases in which every two values of two factors meet."""

import itertools
from typing import NamedTuple


class _Pair(NamedTuple):
    """Two factors, and a value of each."""

    one: str
    value: object
    other: str
    second: object


def pairwise(factors, possible):
    """Cases, dictionaries, that have every possible pair of values among them.

    Greedy and deterministic: each case begins with a pair that is still missing, and
    every other factor takes the value that adds the most missing pairs, the first of
    several. So a value that comes first is taken more often.

    Args:
        factors: the values of each factor, by its name.
        possible: whether a case with some of the factors can be completed; at most a
            few rules, each about two or three factors.
    """
    missing = _pairs(factors, possible)
    cases = []
    while missing:
        pair = next(iter(missing))
        case = {pair.one: pair.value, pair.other: pair.second}
        _complete(case, factors, possible, missing)
        missing = {p: None for p in missing if not _has(case, p)}
        cases.append({name: case[name] for name in factors})
    return cases


def _pairs(factors, possible):
    """In order, as a dictionary of Nones: sets have none."""
    return {
        _Pair(one, value, other, second): None
        for one, other in itertools.combinations(factors, 2)
        for value, second in itertools.product(factors[one], factors[other])
        if possible({one: value, other: second})
    }


def _has(case, pair):
    return case[pair.one] == pair.value and case[pair.other] == pair.second


def _complete(case, factors, possible, missing):
    for name in (name for name in factors if name not in case):
        allowed = [v for v in factors[name] if possible(case | {name: v})]
        case[name] = max(allowed, key=lambda v, n=name: _gain(case, n, v, missing))


def _gain(case, name, value, missing):
    return sum(
        _Pair(*(a if first else b), *(b if first else a)) in missing
        for a, b in (((name, value), item) for item in case.items())
        for first in (True, False)
    )

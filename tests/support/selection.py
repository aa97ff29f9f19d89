"""Which members of a family of tests are quick: `make test` runs those alone.

The others are marked slow, and `make test-all` runs them too. A family keeps as many
quick members as it takes for each of its features to have a test that can fail.
"""

import pytest
from cases import CASES, example

import optax_warmup as ow


def parametrize(names, members, *, quick, **options):
    """`pytest.mark.parametrize` with the members marked slow that are not quick.

    `quick` holds the quick ones. Or it is a number n, where all members are alike: one
    in n is quick, from the first on.
    """

    def is_quick(index, member):
        return index % quick == 0 if isinstance(quick, int) else member in quick

    def slow(member):
        several = not isinstance(names, str)
        return pytest.param(*(member if several else [member]), marks=pytest.mark.slow)

    chosen = [is_quick(*each) for each in enumerate(members)]
    assert any(chosen) or not quick, f"none of {names} is quick"
    marked = [x if q else slow(x) for x, q in zip(members, chosen, strict=True)]
    return pytest.mark.parametrize(names, marked, **options)


def classes(name):
    """The classes of the schedules and shapes that a case is composed of."""
    found, waiting = set(), [CASES[name].build(ow, example())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ow.Schedule | ow.shapes.Shape):
            found.add(type(node))
            waiting += vars(node).values()
        elif isinstance(node, list | tuple):
            waiting += node
    return found


def kinds():
    """Few cases that have every class among them.

    The rest are functions that compose these, other programs of the same parts.
    """
    waiting = {name: classes(name) for name in CASES}
    chosen, missing = [], set().union(*waiting.values())
    while missing:
        best = max(waiting, key=lambda name: len(waiting[name] & missing))
        missing -= waiting.pop(best)
        chosen.append(best)
    return [name for name in CASES if name in chosen]


KINDS = kinds()
# For what each class does in its own way, and for what all leave to the same code.
one_case_a_kind = parametrize("name", CASES, quick=KINDS)
few_of_the_cases = parametrize("name", CASES, quick=KINDS[::4])

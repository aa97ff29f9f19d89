"""No change makes a schedule or a transform cost more unseen.

Counted are operations, copies, temporary and state bytes, and collectives, which repeat
where times do not. `python tests/tools/write_budget.py` writes the budget anew.
"""

import budget
import jax
import pytest
import write_budget

import optax_warmup as ow

pytestmark = pytest.mark.train


@pytest.mark.skipif(
    jax.__version__ != budget.committed()["jax"],
    reason=f"counted with jax {budget.committed()['jax']}, this is {jax.__version__}",
)
def test_nothing_costs_more_than_its_budget():
    found, allowed = write_budget.measured(), budget.committed()["counts"]
    assert found.keys() == allowed.keys()
    assert not budget.worse(found, allowed)


def test_what_is_worse_is_named():
    allowed = {"a": {"operations": 10, "copies": 0}}
    assert not budget.worse({"a": {"operations": 11, "copies": 0}}, allowed)
    assert budget.worse({"a": {"operations": 12, "copies": 1}}, allowed) == [
        "a: operations is 12, 10 in the budget",
        "a: copies is 1, 0 in the budget",
    ]


def test_every_public_transform_has_a_budget():
    """A new one is found by the module that it is in."""
    budgeted = {name.split(",")[0] for name in budget.transforms()}
    rooms = ("optax_warmup._transforms", "optax_warmup._record")
    found = {n for n, x in vars(ow).items() if _room(x).startswith(rooms)}
    found |= {f"averages.{n}" for n in vars(ow.averages) if n.startswith("average_")}
    found |= {f"groups.{n}" for n in vars(ow.groups) if n.startswith("scale_")}
    assert found and found <= budgeted


def _room(x):
    return getattr(x, "__module__", "") if callable(x) else ""

"""examples/transformer/core can be copied into a project: it needs nothing from run."""

import ast
import os
import shutil
import subprocess
import sys

import pytest
from transformer_runs import ROOT

pytestmark = pytest.mark.train

TRANSFORMER = ROOT / "examples" / "transformer"
CORE = sorted((TRANSFORMER / "core").glob("*.py"))
MODEL = ("model.py", "attention.py", "sharding.py", "config.py", "settings.py")

USE_THE_MODEL = """
import jax, jax.numpy as jnp
from flax import nnx
from lifted.config import ModelConfig
from lifted.model import Transformer, next_token_loss
config = ModelConfig(length=8, width=8, layers=1, heads=2, mlp_width=16)
model = nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0)))
tokens = jax.ShapeDtypeStruct((2, 9), jnp.int32)
print(nnx.eval_shape(next_token_loss, model, tokens).shape)
import sys
assert "optax_warmup" not in sys.modules and "examples" not in sys.modules
"""

USE_ALL = """
import jax, numpy as np
from lifted.config import ModelConfig
from lifted.optimizer import OptimizerConfig, make_optimizer
from lifted.sharding import make_mesh
from lifted.train_step import abstract_state, init_state, loss_of
from lifted.update import make_eval_loss, make_train_step
from lifted.loop import loop, make_evaluate
import sys
assert "examples" not in sys.modules

class Outputs:
    def update(self, step, metrics): print("update", step)
    def evaluation(self, step, losses, state): print("evaluation", step, *losses)
    def checkpoint(self, step, state): print("checkpoint", step)

config = ModelConfig(length=8, width=8, layers=1, heads=2, mlp_width=16)
optimizer = make_optimizer(OptimizerConfig(total_steps=4, warmup_steps=2))
mesh = make_mesh(batch_size=2)
graphdef, abstract = abstract_state(config, optimizer, mesh)
loss_fn = loss_of(graphdef)
train_step = make_train_step(loss_fn, optimizer, abstract, mesh)
state = init_state(config, optimizer, abstract, mesh, seed=0)
batch = np.zeros((2, 9), np.int32)
evaluate = make_evaluate(make_eval_loss(loss_fn, mesh), {"loss": [batch]})
loop(state, train_step, evaluate, [batch] * 3, range(1, 4), Outputs(),
     eval_every=2, checkpoint_every=3)
"""


def imported(path):
    """(level, module) of each import; the level counts the leading dots."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            yield from ((node.level, node.module or name) for name in names)


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_core_imports_only_itself(path):
    siblings = {each.stem for each in CORE}
    for level, module in imported(path):
        if level == 0:
            assert module.split(".")[0] != "examples", f"{path.name}: {module}"
        else:
            assert level == 1 and module in siblings, f"{path.name}: {module}"


def test_the_model_needs_no_more_than_its_own_settings():
    seen, left = set(), ["model"]
    while left:
        name = left.pop()
        seen.add(f"{name}.py")
        path = TRANSFORMER / "core" / f"{name}.py"
        found = {module for level, module in imported(path) if level}
        left += [module for module in found if f"{module}.py" not in seen]
    assert seen == set(MODEL)


@pytest.mark.parametrize(
    ("names", "program", "printed"),
    [
        (MODEL, USE_THE_MODEL, "()\n"),
        pytest.param(
            [path.name for path in CORE],
            USE_ALL,
            "update 1\nevaluation 2 loss\nupdate 2\ncheckpoint 3\nupdate 3\n"
            "checkpoint 4\nevaluation 4 loss\n",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["model", "all"],
)
def test_a_copy_works_on_its_own(names, program, printed, tmp_path):
    (tmp_path / "lifted").mkdir()
    for name in names:
        shutil.copy(TRANSFORMER / "core" / name, tmp_path / "lifted" / name)
    (tmp_path / "optax_warmup").symlink_to(ROOT / "optax_warmup")  # as if installed
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed

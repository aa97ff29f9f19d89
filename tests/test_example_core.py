"""examples/transformer/core can be copied into a project: it needs nothing from run."""

import ast
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import optax
import pytest
from compiled import quickly
from transformer_runs import ROOT

import optax_warmup as ow
from examples.images import data, training as images
from examples.transformer.core import sharding
from examples.transformer.core.loop import loop, make_evaluate
from examples.transformer.core.recorder import Recorder
from examples.transformer.core.update import (
    abstract_state_of,
    init_state_of,
    make_train_step,
)

pytestmark = pytest.mark.train

TRANSFORMER = ROOT / "examples" / "transformer"
CORE = sorted((TRANSFORMER / "core").glob("*.py"))
MODEL = (
    "model.py",
    "attention.py",
    "packing.py",
    "sharding.py",
    "config.py",
    "settings.py",
)

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


@pytest.mark.slow
def test_another_model_trains_through_core():
    """The vision transformer of examples/images: its parameters and its loss go in.

    With accumulation, evaluation by accuracy, and a recorder one step behind.
    """
    digits = data.load()
    size = images.Size(width=8, layers=1)
    logits, params = images.init(size, 0)

    def loss_fn(params, batch):
        return images.cross_entropy(logits(params, batch[0]), batch[1])

    def accuracy(params, batch):
        return jnp.mean(jnp.argmax(logits(params, batch[0]), axis=-1) == batch[1])

    class Outputs:
        def __init__(self):
            self.rows, self.saved = [], []
            self.recorder = Recorder([self.rows.append], total_steps=9, log_every=4)
            self.update = self.recorder.update

        def evaluation(self, step, losses, state):
            self.recorder.evaluation(step, losses)

        def checkpoint(self, step, state):
            self.saved.append(step)

    optimizer = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(1e-2))
    mesh = sharding.make_mesh(batch_size=32, microbatches=2)
    abstract = abstract_state_of(jax.eval_shape(lambda: params), optimizer, mesh)
    state = init_state_of(params, optimizer, abstract)
    train_step = make_train_step(loss_fn, optimizer, abstract, mesh, microbatches=2)
    rows = sharding.local_rows(mesh, 32)

    def batch(start, pixels=digits.train_NxSxS, labels=digits.train_N):
        part = slice(start, start + 32)
        return sharding.put_batch((pixels[part], labels[part]), rows, mesh)

    heldout = [batch(0, digits.validation_NxSxS, digits.validation_N)]
    evaluate = make_evaluate(quickly(accuracy), {"accuracy": heldout})
    outputs = Outputs()
    with jax.set_mesh(mesh):
        state, done = loop(
            state, train_step, evaluate, (batch(32 * i) for i in range(9)), range(9),
            outputs, eval_every=9, checkpoint_every=6,
        )  # fmt: skip
    outputs.recorder.flush()
    assert (done, outputs.saved) == (9, [6, 9])
    losses = {row["step"]: row["loss"] for row in outputs.rows if "loss" in row}
    assert list(losses) == [0, 4, 8]
    assert losses[8] < losses[0]
    assert all(row["learning_rate"] == pytest.approx(1e-2)
               for row in outputs.rows if "loss" in row)  # fmt: skip
    accuracies = [row["accuracy"] for row in outputs.rows if "accuracy" in row]
    assert accuracies[1] > accuracies[0]

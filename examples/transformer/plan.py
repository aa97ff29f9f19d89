"""All that a run needs before its first update, checked on every process.

Nothing here takes memory on a device: shapes are enough to find out what is wrong.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from . import attention, loader, processes, sharding, tensorboard
from .config import Config
from .data import Corpus, load_corpus
from .environment import versions
from .identity import identity
from .optimizer import make_optimizer
from .option import InputError
from .train_step import TrainState, abstract_state


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked run."""

    config: Config
    mesh: Mesh
    rows: np.ndarray  # of each batch, which this process makes
    corpus: Corpus
    identity: dict[str, Any]
    optimizer: optax.GradientTransformation
    graphdef: nnx.GraphDef
    state: TrainState  # of shapes, dtypes and places

    def describe(self) -> str:
        """What was found out about the machine, in a line."""
        mesh, processes = dict(self.mesh.shape), jax.process_count()
        return "; ".join(
            [
                f"{self.mesh.size} x {jax.devices()[0].device_kind}"
                + (f" in {processes} processes" if processes > 1 else "")
                + (f" (data {mesh['data']}, fsdp {mesh['fsdp']})")
                * (self.mesh.size > 1),
                attention.choose(self.config)[1],
                f"batches by {loader.choose(self.config.loader)}",
            ]
        )


def make_plan(config: Config) -> Plan:
    """Raises `InputError` on all processes if it does not work out on one of them."""
    plan = processes.together(lambda: make_own_plan(config))
    processes.agree(asdict(config) | plan.identity | versions())
    return plan


def make_own_plan(config: Config) -> Plan:
    mesh = sharding.make_mesh(config)
    attention.choose(config)
    loader.choose(config.loader)
    if config.tensorboard:
        tensorboard.require()
    corpus = load_corpus(config)
    optimizer = make_optimizer(config)
    graphdef, state = abstract_state(config, optimizer, mesh)
    return Plan(
        config=config,
        mesh=mesh,
        rows=sharding.local_rows(mesh, config.batch_size),
        corpus=corpus,
        identity=identity(config, corpus),
        optimizer=optimizer,
        graphdef=graphdef,
        state=state,
    )


def check_space(folder: Path, config: Config, state: TrainState) -> None:
    """A run that will not have room for its checkpoints need not begin."""
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    # The oldest goes when the newest is complete.
    needed = size * (config.keep_checkpoints + 1)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"run_dir: {folder} has {free / 1e9:.2f} GB free, and "
            f"{config.keep_checkpoints + 1} checkpoints of {size / 1e9:.2f} GB need "
            f"{needed / 1e9:.2f} GB. Make room, choose another --run-dir, or keep "
            f"fewer by --keep-checkpoints."
        )

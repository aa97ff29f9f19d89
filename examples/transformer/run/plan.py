"""Everything that a run needs before its first update, checked on all processes.

Nothing here allocates device memory: shapes are enough to find most mistakes.
"""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

import optax_warmup as ow

from ..core import attention, loader, sharding
from ..core.data import Corpus, heldout_batches, load_corpus
from ..core.loop import Programs
from ..core.optimizer import make_optimizer, make_schedule
from ..core.packing import Targets
from ..core.settings import InputError
from ..core.tokenizer import embedding_rows
from ..core.train_step import (
    TrainState,
    abstract_state,
    loss_of,
    make_eval_loss,
    make_train_step,
)
from . import processes, tensorboard
from .config import Config
from .environment import versions
from .identity import identity


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked run."""

    config: Config  # with rows of the embedding for all tokens
    mesh: Mesh
    rows: np.ndarray  # the rows of each batch that this process makes
    corpus: Corpus
    identity: dict[str, Any]
    schedule: ow.Schedule
    optimizer: optax.GradientTransformation
    graphdef: nnx.GraphDef
    state: TrainState  # abstract: shapes, dtypes and shardings

    def describe(self) -> str:
        """Devices, attention and loader in one line."""
        parts = [
            describe_devices(self.mesh),
            attention.choose(self.config)[1],
            f"batches by {loader.choose(self.config.loader)}",
        ]
        return "; ".join(parts)

    @property
    def targets(self) -> Targets:
        """What the loss counts."""
        tokenizer = self.corpus.tokenizer
        end = tokenizer.end if self.config.document_mask else None
        return Targets(tokenizer.byte_lengths_V, end)

    def with_schedule(self, schedule: ow.Schedule | None) -> "Plan":
        """The plan with another schedule than that of the settings, or with theirs."""
        if schedule is None:
            return self
        optimizer = make_optimizer(self.config, schedule)
        return replace(self, schedule=schedule, optimizer=optimizer)


def describe_devices(mesh: Mesh) -> str:
    text = f"{mesh.size} x {jax.devices()[0].device_kind}"
    if jax.process_count() > 1:
        text += f" in {jax.process_count()} processes"
    if mesh.size > 1:
        text += f" (data {mesh.shape['data']}, fsdp {mesh.shape['fsdp']})"
    return text


def make_plan(config: Config) -> Plan:
    """Raises `InputError` on all processes if one of them finds a mistake."""
    plan = processes.together(lambda: make_own_plan(config))
    processes.agree(asdict(config) | plan.identity | versions())
    return plan


def make_own_plan(config: Config) -> Plan:
    mesh = sharding.make_mesh(config.batch_size, config.fsdp)
    attention.choose(config)
    loader.choose(config.loader)
    if config.tensorboard:
        tensorboard.require()
    corpus = load_corpus(config.data, config.heldout_fraction, config.length)
    config = fit_to(config, corpus)
    optimizer = make_optimizer(config)
    graphdef, state = abstract_state(config, optimizer, mesh)
    return Plan(
        config=config,
        mesh=mesh,
        rows=sharding.local_rows(mesh, config.batch_size),
        corpus=corpus,
        identity=identity(config, corpus),
        schedule=make_schedule(config),
        optimizer=optimizer,
        graphdef=graphdef,
        state=state,
    )


def fit_to(config: Config, corpus: Corpus) -> Config:
    """The settings, with as many rows of the embedding as there are tokens."""
    if config.document_mask and not corpus.has_ends:
        raise InputError(
            "document_mask needs the ends of documents, and a text that is read whole "
            "has none. Prepare it: python -m examples.transformer.prepare --help."
        )
    rows = embedding_rows(corpus.tokenizer)
    return config.replace(vocab_size=max(config.vocab_size, rows))


def check_space(folder: Path, config: Config, state: TrainState) -> None:
    """Raises `InputError` if the disk has no room for the checkpoints."""
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    # One of before a divergence may be kept as well, and the oldest is deleted once the
    # newest is complete.
    count = config.keep_checkpoints + 2
    needed = size * count
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"run_dir: {folder} has {free / 1e9:.2f} GB free, and "
            f"{count} checkpoints of {size / 1e9:.2f} GB need "
            f"{needed / 1e9:.2f} GB. Make room, choose another --run-dir, or keep "
            f"fewer with --keep-checkpoints."
        )


def bytes_per_target(plan: Plan) -> float:
    """Of all held-out sequences, and not only of those that this process evaluates."""
    config = plan.config
    batches = heldout_batches(
        plan.corpus,
        config.eval_sequences,
        batch_size=config.batch_size,
        length=config.length,
    )
    return plan.targets.bytes_per_target(batches)


def make_programs(plan: Plan) -> Programs:
    """The jitted functions; with `config.precompile` they are compiled and warmed up.

    Precompiling goes by shapes, before the state exists: with the state it would take
    its memory twice.
    """
    config, mesh = plan.config, plan.mesh
    targets = plan.targets
    loss_fn = loss_of(plan.graphdef, config.compute_dtype, targets.document_end)
    train_step = make_train_step(loss_fn, plan.optimizer, plan.state, mesh, targets)
    eval_loss = make_eval_loss(loss_fn, mesh, bytes_per_target(plan))
    if not config.precompile:
        return Programs(train_step, eval_loss)
    shape = (config.batch_size, config.length + 1)
    tokens = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=sharding.of_batch(mesh))
    return Programs(
        ow.precompile(train_step, plan.state, tokens),
        ow.precompile(eval_loss, plan.state.params, tokens),
    )

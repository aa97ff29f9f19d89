"""Everything that a run needs before its first update, checked on all processes.

Nothing here allocates device memory: shapes are enough to find most mistakes.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

import optax_warmup as ow

from ..core import attention, loader, sharding
from ..core.data import Corpus, load_corpus, load_heldout, tokenizer_of
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
from .estimate import check_memory
from .identity import identity


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked run."""

    config: Config  # with rows of the embedding for all tokens
    mesh: Mesh
    rows: np.ndarray  # the rows of each batch that this process makes
    corpus: Corpus
    eval_sets: dict[str, Corpus]
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
    text = f"{mesh.size} x {mesh.devices.flat[0].device_kind}"
    if jax.process_count() > 1:
        text += f" in {jax.process_count()} processes"
    if mesh.size > 1:
        text += f" (data {mesh.shape['data']}, fsdp {mesh.shape['fsdp']})"
    return text


def make_plan(config: Config) -> Plan:
    """Raises `InputError` on all processes if one of them finds a mistake."""
    plan = processes.together(lambda: make_own_plan(config))
    sets = {f"eval_data {name}": x.sha256 for name, x in plan.eval_sets.items()}
    processes.agree(asdict(config) | plan.identity | sets | versions())
    return plan


class Layout(NamedTuple):
    """What runs where, without any data."""

    mesh: Mesh
    optimizer: optax.GradientTransformation
    graphdef: nnx.GraphDef
    state: TrainState  # abstract


def make_layout(config: Config, devices: Sequence[jax.Device] | None = None) -> Layout:
    """On the devices of all processes, or on some that are only described."""
    mesh = sharding.make_mesh(
        config.batch_size, config.fsdp, config.microbatches, devices
    )
    optimizer = make_optimizer(config)
    return Layout(mesh, optimizer, *abstract_state(config, optimizer, mesh))


def make_own_plan(config: Config) -> Plan:
    config = with_rows(config)
    layout = make_layout(config)
    check_memory(config, layout.state)
    attention.choose(config)
    loader.choose(config.loader)
    if config.tensorboard:
        tensorboard.require()
    corpus = load_corpus(config.data, config.heldout_fraction, config.length)
    require_ends(config, corpus)
    return Plan(
        config=config,
        rows=sharding.local_rows(layout.mesh, config.batch_size),
        corpus=corpus,
        eval_sets={
            name: load_heldout(path, config.length, corpus.tokenizer)
            for name, path in config.eval_sets().items()
        },
        identity=identity(config, corpus),
        schedule=make_schedule(config),
        **layout._asdict(),
    )


def with_rows(config: Config) -> Config:
    """The settings, with a row of the embedding for each token of the data."""
    rows = embedding_rows(tokenizer_of(config.data))
    return config.replace(vocab_size=max(config.vocab_size, rows))


def require_ends(config: Config, corpus: Corpus) -> None:
    if config.document_mask and not corpus.has_ends:
        raise InputError(
            "document_mask needs the ends of documents, and a text that is read whole "
            "has none. Prepare it: python -m examples.transformer.prepare --help."
        )


def check_space(folder: Path, config: Config, state: TrainState) -> None:
    """Raises `InputError` if the disk has no room for the checkpoints."""
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    # One of before a divergence may be kept as well, and the oldest is deleted once the
    # newest is complete.
    count = config.keep_checkpoints + 2 + config.keep_best
    needed = size * count
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"run_dir: {folder} has {free / 1e9:.2f} GB free, and "
            f"{count} checkpoints of {size / 1e9:.2f} GB need "
            f"{needed / 1e9:.2f} GB. Make room, choose another --run-dir, or keep "
            f"fewer with --keep-checkpoints."
        )


class Programs(NamedTuple):
    """The jitted functions."""

    train_step: Callable  # (state, tokens_BxL) -> (state, metrics)
    eval_loss: Callable  # (params, tokens_BxL) -> loss, in nats per token


def make_train_program(
    config: Config, layout: Layout | Plan, targets: Targets
) -> jax.stages.Wrapped:
    """(state, tokens_BxL) -> (state, metrics), jitted; the loss in nats per byte."""
    return make_train_step(
        loss_of(layout.graphdef, config.compute_dtype, targets.document_end),
        layout.optimizer,
        layout.state,
        layout.mesh,
        microbatches=config.microbatches,
        reported=targets.nats_per_byte,
    )


def make_programs(plan: Plan) -> Programs:
    """The jitted functions; with `config.precompile` they are compiled and warmed up.

    Precompiling goes by shapes, before the state exists: with the state it would take
    its memory twice.
    """
    config, mesh = plan.config, plan.mesh
    end = plan.targets.document_end
    loss_fn = loss_of(plan.graphdef, config.compute_dtype, end)
    train_step = make_train_program(config, plan, plan.targets)
    eval_loss = make_eval_loss(loss_fn, mesh, microbatches=config.microbatches)
    if not config.precompile:
        return Programs(train_step, eval_loss)
    shape = (config.batch_size, config.length + 1)
    tokens = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=sharding.of_batch(mesh))
    return Programs(
        ow.precompile(train_step, plan.state, tokens),
        ow.precompile(eval_loss, plan.state.params, tokens),
    )

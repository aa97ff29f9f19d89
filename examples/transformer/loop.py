"""The training loop: take a batch, update, record, and at times evaluate and save."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import optax_warmup as ow

from . import processes
from .checkpoint import Checkpoints
from .data import heldout_batches, training_batch
from .loader import batches
from .plan import Plan
from .recorder import Recorder, Row
from .sharding import of_batch, put_batch
from .train_step import TrainState, loss_of, make_eval_loss, make_train_step


class Programs(NamedTuple):
    """What runs on the devices."""

    train_step: Callable
    eval_loss: Callable


def make_programs(plan: Plan) -> Programs:
    """Jitted: each compiles at its first call, or before, by `precompile`."""
    loss_fn = loss_of(plan.graphdef, plan.config.compute_dtype)
    return Programs(
        make_train_step(loss_fn, plan.optimizer, plan.state, plan.mesh),
        make_eval_loss(loss_fn, plan.mesh),
    )


def precompile(programs: Programs, plan: Plan) -> Programs:
    """Model warm-up: nothing that happens only once is left to the first step.

    From shapes alone, before there is a state, which would need its memory twice.
    """
    shape = (plan.config.batch_size, plan.config.length + 1)
    tokens = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=of_batch(plan.mesh))
    return Programs(
        ow.precompile(programs.train_step, plan.state, tokens),
        ow.precompile(programs.eval_loss, plan.state.params, tokens),
    )


def loop(
    plan: Plan,
    state: TrainState,
    start: int,
    programs: Programs,
    checkpoints: Checkpoints,
    recorder: Recorder,
) -> TrainState:
    """From the state after `start` updates to that after the last one."""
    config, corpus, mesh, rows = plan.config, plan.corpus, plan.mesh, plan.rows
    train_step, eval_loss = programs
    heldout = [
        put_batch(tokens, rows, mesh)
        for tokens in heldout_batches(corpus, config, rows)
    ]

    def evaluate(step: int) -> None:
        losses = [eval_loss(state.params, batch) for batch in heldout]
        row = {"heldout_loss": float(np.mean(jax.device_get(losses)))}
        recorder.evaluation(step, row | diagnostics(state))

    def save(step: int) -> None:
        recorder.flush()  # so that metrics.jsonl never lacks what is saved
        checkpoints.save(step, state, plan.identity)

    ahead = batches(
        lambda step: training_batch(corpus, config, step, rows),
        start,
        config.total_steps,
        config.loader,
    )
    for step, tokens in zip(range(start, config.total_steps), ahead, strict=True):
        if step % config.eval_every == 0:
            evaluate(step)
        state, metrics = train_step(state, put_batch(tokens, rows, mesh))
        recorder.update(step, metrics)
        if (step + 1) % config.checkpoint_every == 0:
            save(step + 1)
    evaluate(config.total_steps)
    save(config.total_steps)
    return state


def diagnostics(state: TrainState) -> Row:
    """What the record says of all parameters together, as flat numbers."""
    if not processes.is_first():
        return {}
    scalars = ow.diagnostics.to_scalars(state.opt_state)
    return {name: x for name, x in scalars.items() if name.count("/") == 1}

"""The transformer example, and the loop of flax's own examples around its model."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import optax_warmup as ow
from examples.transformer.core.model import next_token_loss
from examples.transformer.core.optimizer import make_optimizer, make_schedule, matrices
from examples.transformer.core.sharding import local_rows, make_mesh, put_batch
from examples.transformer.core.train_step import (
    abstract_state,
    init_state,
    loss_of,
    make_model,
    make_train_step,
)
from examples.transformer.run.config import Config
from examples.transformer.run.presets import PRESETS
from examples.transformer.run.recorder import Recorder

from .measure import Spent, clocked

TINY = PRESETS["demo"].replace(
    length=16, width=16, layers=1, heads=2, mlp_width=32, batch_size=4,
    total_steps=64, warmup_steps=4,
)  # fmt: skip
NEVER = [2**30]  # a step that no training reaches


class Example:
    """An update as in `examples.transformer.train`: puts the batch on the device,
    calls the step, and reads the metrics of the previous update.

    It starts in the middle of the run, where few updates are recorded.
    """

    def __init__(
        self,
        config: Config,
        batches: Sequence[np.ndarray],
        optimizer: optax.GradientTransformation | None = None,
    ):
        self.config, self.batches = config, batches
        self.mesh = make_mesh(config.batch_size, config.fsdp, config.microbatches)
        self.rows = local_rows(self.mesh, config.batch_size)
        self.step = config.total_steps // 2
        optimizer = optimizer or make_optimizer(config)
        with jax.set_mesh(self.mesh):
            graphdef, abstract = abstract_state(config, optimizer, self.mesh)
            self.train_step = make_train_step(
                loss_of(graphdef, config.compute_dtype),
                optimizer,
                abstract,
                self.mesh,
                microbatches=config.microbatches,
            )
            state = init_state(config, optimizer, abstract, self.mesh, config.seed)
            counted = counting_from(self.step, state.opt_state)
            self.state = state._replace(opt_state=counted)
        self.recorder = Recorder(config, ())
        self.advance(2)

    def advance(self, updates: int) -> Spent:
        def train() -> None:
            for _ in range(updates):
                tokens = self.batches[self.step % len(self.batches)]
                batch = put_batch(tokens, self.rows, self.mesh)
                self.state, metrics = self.train_step(self.state, batch)
                self.recorder.update(self.step, metrics)
                self.step += 1
            self.recorder.flush()
            jax.block_until_ready(self.state)

        with jax.set_mesh(self.mesh):
            return clocked(train)


def counting_from(step: int, opt_state: Any) -> Any:
    """The state with every count set to `step`, as if it had made so many updates."""

    def count(x: jax.Array) -> jax.Array:
        counts = x.shape == () and x.dtype == jnp.int32
        return jax.device_put(jnp.int32(step), x.sharding) if counts else x

    return jax.tree.map(count, opt_state)


def diagnosed(config: Config) -> dict[str, optax.GradientTransformation]:
    """The example's optimizer, without and with its schedule and its record."""

    def adamw(rate: Any) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
            optax.add_decayed_weights(config.weight_decay, mask=matrices),
            ow.scale_by_learning_rate(rate),
        )

    def clipped(optimizer: Any) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)

    def recorded(steps: Sequence[int]) -> optax.GradientTransformation:
        return clipped(
            ow.record_moments(
                adamw(make_schedule(config)),
                eps=config.eps,
                steps=steps,
            )
        )

    always = range(config.total_steps // 2, config.total_steps // 2 + 1000)
    return {
        "constant rate, no record": clipped(adamw(config.peak_value)),
        "the same again (the noise)": clipped(adamw(config.peak_value)),
        "schedule, no record": clipped(adamw(make_schedule(config))),
        "schedule and record, update not recorded": recorded(NEVER),
        "schedule and record, update recorded": recorded(always),
    }


class FlaxLoop:
    """The loop of Flax's examples: nnx.jit, nnx.Optimizer, metrics on the device."""

    def __init__(self, config: Config, batches: Sequence[np.ndarray]):
        self.batches, self.step = batches, 0
        # Flax's examples loop over their layers in Python.
        self.model = make_model(config.replace(scan_layers=False), config.seed)
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, config.peak_value, config.warmup_steps, config.total_steps
        )
        adamw = optax.adamw(
            schedule, config.b1, config.b2, config.eps,
            weight_decay=config.weight_decay,
        )  # fmt: skip
        clip = optax.clip_by_global_norm(config.clip_norm)
        self.optimizer = nnx.Optimizer(
            self.model, optax.chain(clip, adamw), wrt=nnx.Param
        )
        self.metrics = nnx.MultiMetric(loss=nnx.metrics.Average("loss"))
        self.train_step = flax_step()
        self.advance(2)

    def advance(self, updates: int) -> Spent:
        def train() -> None:
            for _ in range(updates):
                tokens = jnp.asarray(self.batches[self.step % len(self.batches)])
                self.train_step(self.model, self.optimizer, self.metrics, tokens)
                self.step += 1
            float(self.metrics.compute()["loss"])
            self.metrics.reset()
            jax.block_until_ready(nnx.state(self.model))

        return clocked(train)


def flax_step() -> Callable:
    @nnx.jit(donate_argnums=(0, 1, 2))
    def train_step(
        model: nnx.Module,
        optimizer: nnx.Optimizer,
        metrics: nnx.MultiMetric,
        tokens_BxL: jax.Array,
    ) -> None:
        loss, grads = nnx.value_and_grad(next_token_loss)(model, tokens_BxL)
        metrics.update(loss=loss)
        optimizer.update(model, grads)

    return train_step

"""A learning-rate range test of a run's own model, data and optimizer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

import optax_warmup as ow

from ..core.data import training_batch
from ..core.optimizer import make_optimizer
from ..core.sharding import put_batch
from ..core.train_step import init_state, loss_of
from ..core.update import TrainState, make_update
from . import processes
from .config import Config
from .plan import Plan, make_plan

STEPS = 200
MAX_VALUE = 10.0


def find_rate(config: Config, console: Console) -> Path:
    """Runs the test, prints what each rule suggests, and saves the curve as CSV."""
    plan = make_plan(config.replace(automatic_warmup=False))
    with jax.set_mesh(plan.mesh):
        state = init_state(
            plan.config, plan.optimizer, plan.state, plan.mesh, config.seed
        )
        curve = ow.finder.find_rate(
            make_step(plan), state, batches(plan), max_value=MAX_VALUE, steps=STEPS
        )
    path = Path(f"{config.run_dir}.range_test.csv")
    if processes.is_first():
        path.parent.mkdir(parents=True, exist_ok=True)
        curve.save(path)
    found = ow.finder.suggest(curve)
    for rule, (rate, caveat) in found._asdict().items():
        console.print(f"{rule:9} {rate:.2g}  {caveat}", highlight=False, soft_wrap=True)
    console.print(
        f"The curve is in {path}; plot it with optax-warmup find {path} --output "
        f"{path.with_suffix('.png')}",
        highlight=False,
        soft_wrap=True,
    )
    return path


def make_step(plan: Plan) -> Any:
    """(state, tokens, learning rate) -> (state, loss), jitted."""
    targets = plan.targets
    loss_fn = loss_of(plan.graphdef, plan.config.compute_dtype, targets.document_end)

    def step(
        state: TrainState, tokens_BxL: jax.Array, rate: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        update = make_update(
            loss_fn,
            make_optimizer(plan.config, rate),
            microbatches=plan.config.microbatches,
            reported=targets.nats_per_byte,
        )
        state, metrics = update(state, tokens_BxL)
        return state, metrics["loss"]

    return jax.jit(step, donate_argnums=0)


def batches(plan: Plan) -> Iterator[jax.Array]:
    """The batches of the run's first updates."""
    config = plan.config
    for step in range(STEPS):
        tokens_RxL = training_batch(
            plan.corpus,
            config.seed,
            step,
            batch_size=config.batch_size,
            length=config.length,
            rows=plan.rows,
        )
        yield put_batch(tokens_RxL, plan.rows, plan.mesh)

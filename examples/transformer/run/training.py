"""The training of a run: the loop with its batches, again after a divergence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import optax_warmup as ow

from ..core.data import Corpus, heldout_batches, training_batch
from ..core.loader import batches
from ..core.loop import Evaluate, loop, make_evaluate
from ..core.optimizer import averaged_params
from ..core.sharding import put_batch
from ..core.stop import Stopped, StopSignal
from ..core.update import TrainState
from .best import AVERAGE
from .divergence import Divergence
from .outputs import Outputs
from .plan import Plan, Programs, make_programs
from .profile import Profile
from .progress import Display
from .recorder import Row
from .start import state_after


@dataclass
class Training:
    """The loop, again from an earlier checkpoint after a divergence."""

    plan: Plan
    programs: Programs
    outputs: Outputs
    display: Display
    stop: StopSignal
    profile: Profile

    def run(self, start: int, state: TrainState, rows: list[Row]) -> TrainState:
        """Trains to the end. Raises `Stopped` at a signal, once a checkpoint is saved.

        `rows` are those of the updates before the start.
        """
        total = self.plan.config.total_steps
        while True:
            try:
                self.outputs.watch.replay(rows)
                state, done = self.loop(start, state)
                break
            except Divergence as error:
                reason = str(error)
            del state  # the checkpoint needs its memory
            start, rows = self.go_back(reason), []
            state = state_after(start, self.plan, self.outputs.checkpoints)
        if done < total:
            raise Stopped(self.stop.name, done)
        return state

    def go_back(self, reason: str) -> int:
        """Undoes the updates since a checkpoint of before a divergence."""
        watch, checkpoints = self.outputs.watch, self.outputs.checkpoints
        steps = [0, *checkpoints.whole_steps()]
        if not watch.goes_back:
            before = watch.policy.checkpoint_to_keep(steps)
            which = f"step {before}" if before else "the start"
            raise ow.runs.Diverged(
                f"{reason}. Go back to {which}, from before that, with --resume "
                f"--on-divergence rollback, or train on with --resume --on-divergence "
                f"continue."
            )
        step = watch.roll_back(steps)
        self.outputs.undo_after(step)
        if schedule := watch.schedule():
            self.plan = self.plan.with_schedule(schedule)
            self.programs = make_programs(self.plan)
        batch = watch.policy.batch(step)
        self.display.back_to(
            step, f"{reason}: going back to step {step}, and on with batch {batch}"
        )
        return step

    def loop(self, start: int, state: TrainState) -> tuple[TrainState, int]:
        """Feeds this process's rows of the batches to the loop."""
        plan, config = self.plan, self.plan.config
        batch_of = self.outputs.watch.policy.batch

        def make(step: int) -> np.ndarray:
            return training_batch(
                plan.corpus, config.seed, batch_of(step), **shape_of_batches(plan)
            )

        return loop(
            state,
            self.profile.around(self.programs.train_step, start),
            make_evaluation(plan, self.programs.eval_loss),
            (
                put_batch(tokens, plan.rows, plan.mesh)
                for tokens in batches(make, start, config.total_steps, config.loader)
            ),
            range(start, config.total_steps),
            self.outputs,
            eval_every=config.eval_every,
            checkpoint_every=config.checkpoint_every,
            stop=self.stop,
        )


def shape_of_batches(plan: Plan) -> dict[str, Any]:
    config = plan.config
    return {
        "batch_size": config.batch_size,
        "length": config.length,
        "rows": plan.rows,
    }


def make_evaluation(plan: Plan, eval_loss: Callable) -> Evaluate:
    """All held-out sets, with the weights and with their average if there is one."""
    config = plan.config

    def heldout(corpus: Corpus) -> list[np.ndarray]:
        """All rows, to count their bytes."""
        return heldout_batches(
            corpus,
            config.eval_sequences,
            batch_size=config.batch_size,
            length=config.length,
        )

    made = {"heldout_loss": heldout(plan.corpus)} | {
        f"heldout_loss/{name}": heldout(each) for name, each in plan.eval_sets.items()
    }
    sets = {
        name: [put_batch(x[plan.rows], plan.rows, plan.mesh) for x in batches]
        for name, batches in made.items()
    }
    units = {name: plan.targets.bytes_per_target(x) for name, x in made.items()}
    weights: dict[str, Callable[[TrainState], Any]] = {"": lambda state: state.params}
    if config.ema_decay:
        weights[AVERAGE] = lambda state: averaged_params(state.opt_state)
    return make_evaluate(eval_loss, sets, weights, units)

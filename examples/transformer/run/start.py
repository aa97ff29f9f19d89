"""Where a run starts: at its newest checkpoint that is whole, or at step 0."""

from dataclasses import dataclass, field
from typing import Any

from ..core.checkpoint import Checkpoints, Damaged
from ..core.checksums import structure
from ..core.settings import InputError
from ..core.train_step import TrainState, init_state
from . import processes
from .identity import differences
from .plan import Plan


@dataclass(frozen=True)
class Start:
    """The updates done, what has changed since, and what was saved about them."""

    step: int = 0
    changes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def describe(self, damaged: dict[int, str]) -> list[str]:
        """What to print when a run resumes."""
        if not self.step:
            return []
        passed = [
            f"the checkpoint of step {step} is damaged and was set aside: {problem}"
            for step, problem in sorted(damaged.items(), reverse=True)
        ]
        unchecked = "" if "checksums" in self.about else " (which has no checksums)"
        accepted = [f"accepted: {change}" for change in self.changes]
        return [
            *passed,
            f"resumed from the checkpoint of step {self.step}{unchecked}",
            *accepted,
        ]


def find_start(plan: Plan, checkpoints: Checkpoints, accept_changes: bool) -> Start:
    """The newest checkpoint whose files are whole, if it is of this very run."""
    processes.agree({"the newest checkpoint that it sees": checkpoints.latest()})
    while step := checkpoints.latest():
        try:
            about = checkpoints.about(step)
        except Damaged:
            continue
        changes = check_same_run(plan, checkpoints, step, about, accept_changes)
        return Start(step, changes, about)
    if checkpoints.damaged:
        problems = "; ".join(
            f"step {step}: {problem}" for step, problem in checkpoints.damaged.items()
        )
        raise InputError(
            f"no checkpoint in {checkpoints.folder} is whole ({problems}). Put one "
            f"back from a copy, or start again with --overwrite."
        )
    return Start()


def check_same_run(
    plan: Plan,
    checkpoints: Checkpoints,
    step: int,
    about: dict[str, Any],
    accept_changes: bool,
) -> list[str]:
    """What has changed since a checkpoint; raises `InputError` if it must not."""
    folder = checkpoints.folder
    changes = differences(about["identity"], plan.identity, step)
    if other := difference(about["structure"], structure(plan.state)):
        raise InputError(
            f"{folder} holds a checkpoint of another model or optimizer: "
            f"{'; '.join(changes) or other}. Use the settings that it was saved with, "
            f"or another --run-dir."
        )
    if changes and not accept_changes:
        raise InputError(
            f"the settings differ from those of the checkpoint of step {step} in "
            f"{folder}: {'; '.join(changes)}. Use the settings that it was "
            f"saved with, or resume anyway with --accept-changes."
        )
    if step > plan.config.total_steps:
        raise InputError(
            f"total_steps={plan.config.total_steps} is over: the newest checkpoint in "
            f"{folder} is of step {step}. Give more steps."
        )
    return changes


def difference(there: dict[str, str], here: dict[str, str]) -> str | None:
    """The first difference between the structures of two states, if any."""
    different = [
        f"{name} is {there.get(name, 'absent')} there and "
        f"{here.get(name, 'absent')} here"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name)
    ]
    return different[0] if different else None


def state_after(step: int, plan: Plan, checkpoints: Checkpoints) -> TrainState:
    """The state after `step` updates: from a checkpoint, or initialised."""
    if step:
        return checkpoints.restore(step, plan.state)
    return init_state(
        plan.config, plan.optimizer, plan.state, plan.mesh, plan.config.seed
    )


def restore(
    start: Start, plan: Plan, checkpoints: Checkpoints, accept_changes: bool
) -> tuple[Start, TrainState]:
    """The state at the start, or at an earlier one if its arrays are damaged."""
    while True:
        try:
            return start, state_after(start.step, plan, checkpoints)
        except Damaged:
            start = find_start(plan, checkpoints, accept_changes)

"""Which evaluation was the best so far, and so which checkpoint is kept for it."""

import math
from dataclasses import dataclass, field

from ..core.loop import Losses
from . import processes
from .config import Config
from .recorder import Row

AVERAGE = "average/"  # the prefix of losses of averaged weights


def main_loss(config: Config) -> str:
    """The name of the loss by which evaluations of a run compare."""
    return AVERAGE * bool(config.ema_decay) + "heldout_loss"


@dataclass
class Best:
    """The held-out losses by step, on every process. The lowest is the best one."""

    config: Config
    losses: dict[int, float] = field(default_factory=dict)

    def is_new(self, step: int, losses: Losses) -> bool:
        """Takes an evaluation; whether its checkpoint is to be kept for it."""
        self.losses[step] = losses[main_loss(self.config)]
        return step > 0 and self.of([each for each in self.losses if each]) == step

    def of(self, steps: list[int]) -> int | None:
        """The best of some steps, the first if there are several, if one is kept."""
        finite = [
            s for s in sorted(steps) if math.isfinite(self.losses.get(s, math.nan))
        ]
        if not (self.config.keep_best and finite):
            return None
        return min(finite, key=lambda step: self.losses[step])

    def replay(self, rows: list[Row]) -> None:
        """Takes the rows that a resumed run wrote earlier, as the first process has."""
        name = main_loss(self.config)
        earlier = [[row["step"], repr(row[name])] for row in rows if name in row]
        for step, loss in processes.first_says(earlier):
            self.losses[step] = float(loss)

    def forget_after(self, step: int) -> None:
        """Forgets the evaluations of updates that are undone."""
        for later in [each for each in self.losses if each > step]:
            del self.losses[later]

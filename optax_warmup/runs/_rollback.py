"""A policy for host loops: when and where to go back after a divergence."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from optax_warmup import _check
from optax_warmup._schedules.combine import multiply
from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule
from optax_warmup._schedules.switch import rewarm, switch

_OWNER = "Rollback"
# The standard deviation of Gaussian noise over its median absolute deviation.
_SIGMA = 1.4826
# Below this share of the median a deviation may be rounding, as of bfloat16.
_FLOOR = 1e-2
# Losses before the first one that may count as too high.
_FEWEST = 32


class Diverged(RuntimeError):
    """A run that no rollback can save: there is no checkpoint, or no attempt, left.

    Example:
        >>> import optax_warmup as ow
        >>> issubclass(ow.runs.Diverged, RuntimeError)
        True
    """


class RollbackEvent(NamedTuple):
    """One rollback: where the run went back to, and what it passes over.

    Attributes:
        begin: the checkpoint that was restored, in completed updates.
        next_batch: the index of the batch that update `begin` uses from then on.
        bad_step: the step of the first loss that was bad.
        noticed: the step at which the run went back.
        reason: what was wrong, in words.

    Example:
        >>> import optax_warmup as ow
        >>> event = ow.runs.RollbackEvent(100, 131, 128, 130, "the loss is NaN")
        >>> event._asdict()["next_batch"]
        131
    """

    begin: int
    next_batch: int
    bad_step: int
    noticed: int
    reason: str


class Rollback:
    """Decides after a spike or NaN which checkpoint, data and rate a run goes on with.

    A loop tells it every loss it sees. A loss is bad if it is NaN or infinite, or above

        median + threshold * max(1.4826 * MAD, 0.01 * |median|)

    of the last `window` good ones, MAD being their median absolute deviation. Before 32
    good losses (or `window`, if that is less) none is too high. The run has diverged
    after `patience` bad losses in a row, or `nonfinite_patience` that are not finite.

    It then goes back to the newest checkpoint that is not younger than the last good
    loss, passes over the batches from there to where the divergence was noticed, and
    warms up again. If it diverges once more before it has passed that place, it goes
    back one checkpoint further. After `max_rollbacks` it gives up.

    Losses may be reported late or only now and then. In several processes give all of
    them the same losses, those of the global batch, and all decide alike.

    Args:
        window: good losses that a loss is compared with, >= 8.
        threshold: in standard deviations, > 0.
        patience: bad losses in a row that are a divergence, >= 1.
        nonfinite_patience: the same for those that are NaN or infinite, >= 1. Increase
            it if the optimizer skips such updates by itself (`skip_nonfinite`).
        margin: go back to a checkpoint at least this many updates before the last good
            loss, >= 0.
        skip_batches: pass over so many batches more, >= 0.
        rewarm_steps: length of the warmup after a rollback, >= 0.
        rate_factor: what each rollback multiplies the learning rate by, in (0, 1].
        max_rollbacks: how often, >= 0.
        events: those of this run so far, as `RollbackEvent`s or dictionaries, when the
            run is resumed.

    Returns:
        The policy. Its only state worth saving is `events`: a tuple of
        `RollbackEvent`, whose `_asdict()` is JSON.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range, or an event is malformed.

    Example:
        >>> import optax_warmup as ow
        >>> policy = ow.runs.Rollback(rewarm_steps=10)
        >>> for step in range(60):
        ...     reason = policy.observe(step, 2.0 if step < 57 else float("nan"))
        ...     if reason:
        ...         break
        >>> reason, policy.checkpoint_to_keep([20, 40, 58])
        ('the loss of step 57 is nan', 40)
        >>> event = policy.roll_back([20, 40, 58])
        >>> event.begin, policy.batch(39), policy.batch(40), policy.batch(41)
        (40, 39, 58, 59)
        >>> policy.schedule(ow.constant(0.1))
        rewarm(constant(0.1), begin=40, steps=10)

    Source: A. Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways", 2022,
    arXiv:2204.02311, section 5.1 (go back about 100 steps, pass over 200 to 500
    batches).
    """

    def __init__(
        self,
        *,
        window: int = 128,
        threshold: float = 6.0,
        patience: int = 5,
        nonfinite_patience: int = 1,
        margin: int = 0,
        skip_batches: int = 0,
        rewarm_steps: int = 0,
        rate_factor: float = 1.0,
        max_rollbacks: int = 3,
        events: Iterable[RollbackEvent | Mapping[str, Any]] = (),
    ) -> None:
        self.window = _whole("window", window, 8)
        self.threshold = _check.scalar(_OWNER, "threshold", threshold, above=0)
        self.patience = _whole("patience", patience, 1)
        self.nonfinite_patience = _whole("nonfinite_patience", nonfinite_patience, 1)
        self.margin = _whole("margin", margin, 0)
        self.skip_batches = _whole("skip_batches", skip_batches, 0)
        self.rewarm_steps = _whole("rewarm_steps", rewarm_steps, 0)
        self.rate_factor = _check.scalar(
            _OWNER, "rate_factor", rate_factor, above=0, maximum=1
        )
        self.max_rollbacks = _whole("max_rollbacks", max_rollbacks, 0)
        self.events = tuple(_event(event) for event in events)
        self._good: deque[tuple[int, float]] = deque(maxlen=self.window)
        self._bad: list[tuple[int, float]] = []  # those in a row, up to now

    def observe(self, step: int, loss: float) -> str | None:
        """Takes a loss, and says in words what is wrong if the run has diverged.

        Args:
            step: the number of updates done before the one that has this loss; larger
                than that of the loss before.
            loss: one number.

        Returns:
            None as long as the run goes on.
        """
        step, loss = _whole("step", step, 0), float(np.asarray(loss))
        if math.isfinite(loss) and loss <= self._limit():
            self._good.append((step, loss))
            self._bad.clear()
            return None
        self._bad.append((step, loss))
        nonfinite = 0
        for _, value in reversed(self._bad):
            if math.isfinite(value):
                break
            nonfinite += 1
        if nonfinite < self.nonfinite_patience and len(self._bad) < self.patience:
            return None
        return self._reason()

    def checkpoint_to_keep(self, checkpoints: Iterable[int]) -> int | None:
        """Returns the checkpoint that a rollback would restore now; do not delete it.

        Args:
            checkpoints: the completed updates of those that there are; 0 stands for the
                initial state, if the loop can make it again.

        Returns:
            One of them, or None if all are too young.
        """
        if self._good:
            latest = self._good[-1][0] - self.margin
        elif self._bad:
            latest = self._bad[0][0] - 1 - self.margin
        else:
            return max(checkpoints, default=None)
        return max((c for c in checkpoints if c <= latest), default=None)

    def roll_back(self, checkpoints: Iterable[int]) -> RollbackEvent:
        """Chooses where to go on after `observe` has found a divergence.

        The loop then restores checkpoint `begin` of the event, and asks `batch` and
        `schedule` again.

        Args:
            checkpoints: as for `checkpoint_to_keep`.

        Returns:
            The new event, which is in `events` from now on.

        Raises:
            Diverged: no checkpoint is old enough, or there were `max_rollbacks`.
            ValueError: no bad loss was observed.
        """
        if not self._bad:
            raise ValueError(
                f"{_OWNER}: there is nothing to roll back: no loss is bad."
            )
        available = sorted(set(checkpoints))
        bad_step, noticed = self._bad[0][0], self._bad[-1][0]
        reason = self._reason()
        if len(self.events) >= self.max_rollbacks:
            raise Diverged(
                f"{reason}, after {len(self.events)} rollbacks (max_rollbacks="
                f"{self.max_rollbacks}). Lower the peak rate, lengthen the warmup, or "
                "look at the data there."
            )
        begin = self.checkpoint_to_keep(available)
        if self.events and bad_step <= self.events[-1].noticed:
            # It did not get past that place: an older start may help.
            older = [c for c in available if c < self.events[-1].begin]
            begin = older[-1] if older else begin
        if begin is None:
            have = f"those there are: {available}" if available else "there is none"
            raise Diverged(
                f"{reason}, and no checkpoint is from before that ({have}). Save more "
                "often, and keep the one that checkpoint_to_keep names."
            )
        next_batch = self.batch(noticed) + 1 + self.skip_batches
        event = RollbackEvent(begin, next_batch, bad_step, noticed, reason)
        self.events = (*self.events, event)
        self._bad.clear()
        good = [(step, loss) for step, loss in self._good if step < begin]
        self._good = deque(good, maxlen=self.window)
        return event

    def batch(self, step: int) -> int:
        """Returns the index of the batch that an update uses.

        Args:
            step: updates done before it.

        Returns:
            `step`, but for what the rollbacks passed over.
        """
        for event in reversed(self.events):
            if step >= event.begin:
                return event.next_batch + step - event.begin
        return step

    def schedule(self, schedule: ScheduleLike) -> Schedule:
        """Returns a schedule with a warmup, or a lower rate, from each rollback on.

        Args:
            schedule: that of the run, or a number for a constant rate.

        Returns:
            The schedule to go on with, at the run's own step.
        """
        base = result = as_schedule(schedule, _OWNER, "schedule")
        for begin, times in self._restarts():
            if self.rate_factor < 1:
                result = switch(
                    result,
                    multiply(base, self.rate_factor**times),
                    begin,
                    steps=self.rewarm_steps,
                    init_value=0.0 if self.rewarm_steps else None,
                    allow_jump=True,
                )
            elif self.rewarm_steps:
                result = rewarm(result, begin, self.rewarm_steps)
        return result

    def _restarts(self) -> list[tuple[int, int]]:
        """Where the run went on, and after how many rollbacks.

        Without those places that it has gone back behind since.
        """
        kept: list[tuple[int, int]] = []
        for times, event in enumerate(self.events, start=1):
            kept = [place for place in kept if place[0] < event.begin]
            kept.append((event.begin, times))
        return kept

    def _limit(self) -> float:
        """The largest loss that is not too high."""
        losses = np.array([loss for _, loss in self._good])
        if len(losses) < min(_FEWEST, self.window):
            return math.inf
        median = float(np.median(losses))
        deviation = _SIGMA * float(np.median(np.abs(losses - median)))
        return median + self.threshold * max(deviation, _FLOOR * abs(median))

    def _reason(self) -> str:
        step, loss = self._bad[-1]
        if not math.isfinite(loss):
            return f"the loss of step {step} is {loss}"
        first, times = self._bad[0][0], len(self._bad)
        return (
            f"{times} losses in a row since step {first} are too high, the last "
            f"{loss:.4g} (the limit is {self._limit():.4g})"
        )


def _whole(name: str, value: Any, minimum: int) -> int:
    return _check.count(_OWNER, name, value, minimum=minimum)


def _event(event: Any) -> RollbackEvent:
    try:
        fields = event if isinstance(event, RollbackEvent) else RollbackEvent(**event)
    except TypeError:
        raise ValueError(
            f"{_OWNER}: an event must be a RollbackEvent, or a dictionary with the "
            f"fields {', '.join(RollbackEvent._fields)}, got {event!r}."
        ) from None
    checked = {
        name: _whole(f"events: {name}", value, 0)
        for name, value in fields._asdict().items()
        if name != "reason"
    }
    return fields._replace(**checked, reason=str(fields.reason))

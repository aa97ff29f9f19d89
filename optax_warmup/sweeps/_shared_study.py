"""What a worker does with an Optuna study that it shares: each trial counts once.

A worker that is killed leaves its trials running. Another one declares them failed,
which Optuna allows only once, and puts trials with the same values in their places.
"""

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from optax_warmup.sweeps._heartbeat import Heartbeat
from optax_warmup.sweeps._lineages import (
    BY,
    VOID,
    Lineage,
    allowed,
    is_alive,
    is_settled,
    lineages,
    replacement,
    times_lost,
)
from optax_warmup.sweeps._points import Configuration
from optax_warmup.sweeps._same_study import SameStudy
from optax_warmup.sweeps._slots import Training
from optax_warmup.sweeps._storage import Storage


class SharedStudy:
    """A study, as one of its workers sees it; a context manager."""

    def __init__(
        self,
        same: SameStudy,
        study: Any,
        space: Callable[[Any], Configuration],
        trials: int,
        grace_period: float,
        max_retry: int,
    ) -> None:
        self.study = study
        self.total = trials
        self.storage = Storage(study, grace_period)
        self._same = same
        self._space = space
        self._grace_period = grace_period
        self._max_retry = max_retry
        self._mine: dict[int, Any] = {}  # the trials that this worker trains
        self._failed: dict[int, float] = {}  # trials, and since when this is known
        self._left_out: set[int] = set()
        self._heartbeat = Heartbeat(study, grace_period)

    def __enter__(self) -> "SharedStudy":
        self.storage.call(self._same.sign)
        self.storage.call(self._heartbeat.start)
        return self

    def __exit__(self, *error: object) -> None:
        """Gives back what is not finished, so that others need not wait for it."""
        self.storage.patience = 0.0
        with contextlib.suppress(Exception):  # else they find out by themselves
            for trial in list(self._mine.values()):
                self._fail(trial)
            self._replace_failed(self.storage.trials())
        self._heartbeat.stop()

    def settled(self) -> int:
        """Returns how many of the trials need no more training, by any worker."""
        trials = self.storage.trials()
        self._same.require(trials)
        counted = lineages(trials, self.total)
        return sum(is_settled(each, self._max_retry) for each in counted)

    def take(self, count: int) -> list[Training]:
        """Returns up to `count` trials that nobody else trains.

        Those of lost workers come first, then new ones. Others take the places of
        those that `space` excludes, as long as there are any.
        """
        taken: list[Training] = []
        excluded = True
        while excluded:
            asked = self._take_once(count - len(taken))
            found = [each for each in asked if each is not None]
            taken, excluded = taken + found, len(found) < len(asked)
        return taken

    def _take_once(self, count: int) -> list[Training | None]:
        """The trials that this worker gets; None for those that `space` excludes."""
        self._fail_lost(self.storage.trials())
        self._replace_failed(self.storage.trials())
        counted = lineages(self.storage.trials(), self.total)
        waiting = sum(x.state.name == "WAITING" for each in counted for x in each)
        ready = waiting + self.total - len(counted)
        asked = [self._ask() for _ in range(min(count, ready))]
        counting = allowed(self.storage.trials(), self.total) if asked else set()
        taken: list[Training | None] = []
        for trial in asked:
            if trial.number not in counting:
                self._fail(trial)  # another worker was faster
                continue
            configuration = self._configuration(trial)
            self._same.compare(trial.number, trial.distributions)
            taken.append(
                None if configuration is None else Training(trial, configuration)
            )
        return taken

    def _configuration(self, trial: Any) -> Configuration | None:
        """Asks `space`; None if it excludes the point, which prunes the trial."""
        import optuna

        try:
            return self.storage.call(partial(self._space, trial), once=True)
        except optuna.TrialPruned:
            self.finish(trial, None)
            return None

    def report(self, trial: Any, value: float, part: int) -> None:
        """Reports a value to the pruner; a loss that is not finite as NaN."""
        # An infinite one would be the best of those that are maximized.
        value = value if math.isfinite(value) else math.nan
        with self._unless_lost(trial):
            self.storage.call(partial(trial.report, value, part))

    def should_prune(self, trial: Any) -> bool:
        """Asks the pruner of the study."""
        with self._unless_lost(trial):
            return bool(self.storage.call(trial.should_prune))
        return False

    def finish(self, trial: Any, value: float | None) -> None:
        """Tells the value of a trial, or None if it was pruned or has diverged."""
        self._tell(trial, "PRUNED" if value is None else "COMPLETE", value)

    def owns(self, trial: Any) -> bool:
        """Returns whether this worker still trains it: nobody declared it lost."""
        return trial.number in self._mine

    def best(self) -> Any:
        """Returns the best trial that was trained to its end."""
        sign = -1 if self.study.direction.name == "MAXIMIZE" else 1
        done = [x for x in self.storage.trials() if x.state.name == "COMPLETE"]
        if not done:
            raise ValueError(
                f"search: none of the {self.total} trials of study "
                f"{self.study.study_name!r} was trained to its end: all have diverged, "
                "were pruned or lost. study.trials has their values; suggest lower "
                "rates, prune less, or go on with more trials."
            )
        return min(done, key=lambda each: sign * each.value)

    def _ask(self) -> Any:
        trial = self.storage.call(self.study.ask)
        if trial.number in self._mine:
            raise self.storage.gone("it gave a trial twice")
        self._mine[trial.number] = trial
        by = {"program": self._same.program, "worker": self._heartbeat.worker}
        self.storage.call(partial(trial.set_user_attr, BY, by))
        return trial

    def _tell(self, trial: Any, state: str, value: float | None) -> None:
        """Tells a state, unless another worker has declared the trial lost."""
        import optuna

        wanted = optuna.trial.TrialState[state]

        def tell() -> None:
            # Of a trial that is finished; or of a sampler that would like to stop the
            # study, after it has stored the state.
            with contextlib.suppress(ValueError, RuntimeError, *_finished()):
                self.study.tell(trial, value, state=wanted)

        if not self.owns(trial):
            return
        self.storage.call(tell)
        del self._mine[trial.number]
        (stored,) = (x for x in self.storage.trials() if x.number == trial.number)
        if not stored.state.is_finished():
            raise self.storage.gone(f"it does not keep trial {trial.number}")

    def _fail(self, trial: Any) -> None:
        """Fails a trial of this worker that is given back, or that is one too many."""
        counts = trial.number in allowed(self.storage.trials(), self.total)
        why = "given back" if counts else "surplus"
        with self._unless_lost(trial):
            self.storage.call(partial(trial.set_user_attr, VOID, why))
            self._tell(trial, "FAIL", None)
            self._failed[trial.number] = -math.inf

    def _fail_lost(self, trials: list[Any]) -> None:
        """Fails the trials of lost workers."""
        import optuna

        self._same.require(trials)
        running = {
            each.number: each.user_attrs.get(BY, {}).get("worker")
            for each in trials
            if each.state.name == "RUNNING"
        }
        failed = optuna.trial.TrialState.FAIL
        for number in self.storage.call(partial(self._heartbeat.lost, running)):
            # Of several workers that try this, one has success.
            with contextlib.suppress(ValueError, *_finished()):
                self.storage.call(partial(self.study.tell, number, state=failed))
                self._failed[number] = -math.inf

    def _replace_failed(self, trials: list[Any]) -> None:
        """Puts new trials in the place of those that have failed.

        That is for the worker to do who declared them failed. Others do it if that one
        is lost as well. Two may do it at the same time: see `allowed`.
        """
        now = time.monotonic()
        for lineage in lineages(trials, self.total):
            if is_alive(lineage):
                continue
            seen = self._failed.setdefault(lineage[-1].number, now)
            if now - seen <= self._grace_period:
                continue
            if times_lost(lineage) > self._max_retry:
                self._leave_out(lineage)
            else:
                again = replacement(lineage)
                self.storage.call(partial(self.study.add_trial, again))

    def _leave_out(self, lineage: Lineage) -> None:
        number = lineage[0].number
        if number not in self._left_out:
            self._left_out.add(number)
            warnings.warn(
                f"search: trial {number} with {lineage[0].params} was lost with its "
                f"worker {times_lost(lineage)} times and is left out. Does it need too "
                "much memory? max_retry allows more.",
                stacklevel=6,
            )

    @contextlib.contextmanager
    def _unless_lost(self, trial: Any) -> Iterator[None]:
        """Forgets a trial that others have declared lost: they train it again."""
        try:
            yield
        except _finished():
            self._mine.pop(trial.number, None)


def _finished() -> tuple[type[Exception], ...]:
    """What Optuna raises about a trial that is finished."""
    import optuna

    return (optuna.exceptions.UpdateFinishedTrialError,)

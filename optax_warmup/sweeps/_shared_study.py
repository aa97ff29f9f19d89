"""An Optuna study that several workers share: each trial is trained once.

A worker that is killed leaves its trials running. Another one declares them failed,
which Optuna allows only once, and puts them back as new trials with the same values. A
trial and those that replace it are one lineage, which counts once.
"""

import contextlib
import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from optax_warmup.sweeps._heartbeat import Heartbeat
from optax_warmup.sweeps._points import Configuration
from optax_warmup.sweeps._slots import Training

T = TypeVar("T")
# Attributes of a trial.
_BY = "search"  # {"program": what it trains, "worker": who trains it}
_ROOT = "search_root"  # the number of the trial that this one replaces
_VOID = "search_void"  # given back, or one too many: its failure is nobody's fault
# Attributes of a study, for each program: what distinguishes it.
_PROGRAM = "search_program:"


class SharedStudy:
    """What a worker does with a study."""

    def __init__(
        self,
        study: Any,
        space: Callable[[Any], Configuration],
        trials: int,
        identity: dict[str, Any],
        grace_period: float,
        max_retry: int,
    ) -> None:
        self.study = study
        self.total = trials
        self._space = space
        text = json.dumps(identity, sort_keys=True)
        self._program = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._identity = identity
        self._grace_period = self._patience = grace_period
        self._max_retry = max_retry
        self._mine: dict[int, Any] = {}  # the trials that this worker trains
        self.pause = min(1.0, grace_period / 10)  # between two looks at the study
        self._failed: dict[int, float] = {}  # trials, and since when they are known
        self._left_out: set[int] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "SharedStudy":
        key = _PROGRAM + self._program
        self._do(lambda: self.study.set_user_attr(key, self._identity))
        heartbeat = Heartbeat(self.study, self._grace_period)
        self._heartbeat = self._do(lambda: self._stack.enter_context(heartbeat))
        return self

    def __exit__(self, *error: object) -> None:
        """Gives back what is not finished, so that others need not wait for it."""
        self._patience = 0.0
        with contextlib.suppress(Exception):  # else they find out by themselves
            for trial in list(self._mine.values()):
                self._void(trial)
            self._replace(self._view())
        self._stack.close()

    def check(self, distributions: dict[str, Any]) -> None:
        """Refuses a study of another objective or space."""
        self._distributions = distributions
        self._refuse_others(self._view())

    def settled(self) -> int:
        """How many of the trials need no more training, by any worker."""
        view = self._view()
        lineages = self._lineages(view)
        return sum(
            any(each.state.name in ("COMPLETE", "PRUNED") for each in lineage)
            or (not any(map(_alive, lineage)) and self._exhausted(lineage))
            for lineage in lineages[: self.total]
        )

    def take(self, count: int) -> list[Training]:
        """Returns up to `count` trials that nobody else trains.

        Those of lost workers come first, then new ones.
        """
        view = self._view()
        self._refuse_others(view)
        if self._retry_lost(view):
            view = self._view()
        lineages = self._lineages(view)
        waiting = sum(
            each.state.name == "WAITING"
            for lineage in lineages[: self.total]
            for each in lineage
        )
        unasked = max(0, self.total - len(lineages))
        asked = [self._ask() for _ in range(min(count, waiting + unasked))]
        if not asked:
            return []
        mine = self._allowed(self._view())
        taken = []
        for trial in asked:
            if trial.number not in mine:
                self._void(trial)
                continue
            configuration = self._do(partial(self._space, trial), once=True)
            self._compare(trial.number, trial.distributions)
            taken.append(Training(trial, configuration))
        return taken

    def report(self, trial: Any, value: float, part: int) -> None:
        # What is not finite is not better than anything, whatever is optimized.
        value = value if math.isfinite(value) else math.nan
        with self._if_mine(trial):
            self._do(lambda: trial.report(value, part))

    def should_prune(self, trial: Any) -> bool:
        with self._if_mine(trial):
            return bool(self._do(trial.should_prune))
        return False

    def finish(self, trial: Any, value: float | None) -> None:
        """Tells the value of a trial, or None if it was pruned or has diverged."""
        self._tell(trial, "PRUNED" if value is None else "COMPLETE", value)

    def owns(self, trial: Any) -> bool:
        """Whether nobody has declared it lost."""
        return trial.number in self._mine

    def best(self) -> Any:
        """The best trial that was trained to its end, or None."""
        sign = -1 if self.study.direction.name == "MAXIMIZE" else 1
        done = [each for each in self._view() if each.state.name == "COMPLETE"]
        return min(done, key=lambda each: sign * each.value, default=None)

    def _view(self) -> list[Any]:
        trials = self._do(lambda: self.study.get_trials(deepcopy=False))
        return sorted(trials, key=lambda each: each.number)

    def _lineages(self, view: list[Any]) -> list[list[Any]]:
        """The trials, each with those that replace it, in the order of their roots."""
        found: dict[int, list[Any]] = {}
        for each in view:
            surplus = each.user_attrs.get(_VOID) == "surplus"
            if _ROOT in each.user_attrs or not surplus:
                root = each.user_attrs.get(_ROOT, each.number)
                found.setdefault(root, []).append(each)
        return [found[root] for root in sorted(found)]

    def _allowed(self, view: list[Any]) -> set[int]:
        """The trials that count: of each lineage the first that has not failed."""
        firsts = (
            next(filter(_alive, lineage), None)
            for lineage in self._lineages(view)[: self.total]
        )
        return {each.number for each in firsts if each is not None}

    def _exhausted(self, lineage: list[Any]) -> bool:
        lost = [
            each
            for each in lineage
            if each.state.name == "FAIL" and _VOID not in each.user_attrs
        ]
        return len(lost) > self._max_retry

    def _retry_lost(self, view: list[Any]) -> bool:
        running = [
            (each.number, each.user_attrs.get(_BY, {}).get("worker"))
            for each in view
            if each.state.name == "RUNNING"
        ]
        lost = self._do(lambda: self._heartbeat.lost(running))
        for number in lost:
            # Of several workers that try this, one has success.
            with contextlib.suppress(ValueError, *_finished_errors()):
                self._do(partial(self.study.tell, number, state=_fail()))
                self._failed[number] = -math.inf
        return self._replace(self._view() if lost else view)

    def _replace(self, view: list[Any]) -> bool:
        """Puts back the trials that have failed.

        That is for the worker to do who declared them failed. Others do it if that one
        is lost as well. Two may do it at the same time: see `_allowed`.
        """
        replaced, now = False, time.monotonic()
        for lineage in self._lineages(view)[: self.total]:
            if any(map(_alive, lineage)):
                continue
            seen = self._failed.setdefault(lineage[-1].number, now)
            if now - seen <= self._grace_period:
                continue
            if self._exhausted(lineage):
                if lineage[0].number in self._left_out:
                    continue
                self._left_out.add(lineage[0].number)
                warnings.warn(
                    f"search: trial {lineage[0].number} with {lineage[0].params} was "
                    f"lost with its worker {self._max_retry + 1} times and is left "
                    "out. Does it need too much memory? max_retry allows more.",
                    stacklevel=5,
                )
                continue
            again = _copy(lineage[-1], lineage[0].number)
            self._do(partial(self.study.add_trial, again))
            replaced = True
        return replaced

    def _ask(self) -> Any:
        trial = self._do(self.study.ask)
        if trial.number in self._mine:
            raise RuntimeError(self._gone("it gave a trial twice"))
        self._mine[trial.number] = trial
        by = {"program": self._program, "worker": self._heartbeat.worker}
        self._do(lambda: trial.set_user_attr(_BY, by))
        return trial

    def _void(self, trial: Any) -> None:
        """Fails a trial that is given back, or that is one too many."""
        surplus = trial.number not in self._allowed(self._view())
        with self._if_mine(trial):
            why = "surplus" if surplus else "given back"
            self._do(lambda: trial.set_user_attr(_VOID, why))
            self._tell(trial, "FAIL", None)
            self._failed[trial.number] = -math.inf

    def _tell(self, trial: Any, state: str, value: float | None) -> None:
        """Tells a state, unless another worker has declared the trial lost."""
        import optuna

        wanted = optuna.trial.TrialState[state]

        def tell() -> None:
            with contextlib.suppress(ValueError, RuntimeError, *_finished_errors()):
                # Samplers that stop a study raise after they have stored the state.
                self.study.tell(trial, value, state=wanted)

        if trial.number not in self._mine:
            return
        self._do(tell)
        del self._mine[trial.number]
        stored = next(each for each in self._view() if each.number == trial.number)
        if not stored.state.is_finished():
            raise RuntimeError(self._gone(f"it does not keep trial {trial.number}"))

    @contextlib.contextmanager
    def _if_mine(self, trial: Any) -> Iterator[None]:
        """Forgets a trial that others have declared lost: they train it again."""
        try:
            yield
        except _finished_errors():
            self._mine.pop(trial.number, None)

    def _do(self, call: Callable[[], T], once: bool = False) -> T:
        """Calls the storage, and again for a while if it does not answer."""
        until = time.monotonic() + self._patience
        while True:
            try:
                return call()
            except Exception as error:
                if not _is_outage(error):
                    raise
                if once or time.monotonic() > until:
                    raise RuntimeError(self._gone(str(error) or repr(error))) from error
            time.sleep(self.pause)

    def _gone(self, why: str) -> str:
        return (
            f"search: the storage of study {self.study.study_name!r} does not answer "
            f"({why}). What was told before is kept there: when it is back, the same "
            "call goes on, and trains again what was under way."
        )

    def _refuse_others(self, view: list[Any]) -> None:
        name = self.study.study_name
        for each in view:
            by = each.user_attrs.get(_BY)
            if by is None and each.state.name in ("COMPLETE", "PRUNED"):
                raise ValueError(
                    f"search: trial {each.number} of study {name!r} was not trained by "
                    "search, so its value may be that of another objective. Take a new "
                    "study; values to begin with can be given by study.enqueue_trial."
                )
            if by is not None and by["program"] != self._program:
                raise ValueError(self._another(by["program"]))
            self._compare(each.number, each.distributions)

    def _another(self, program: str) -> str:
        found = self.study.user_attrs.get(_PROGRAM + program, {})
        names = [k for k, v in self._identity.items() if found.get(k) != v]
        return (
            f"search: study {self.study.study_name!r} belongs to another objective: it "
            f"differs in {', '.join(names)}. Give what it was made with, or take "
            "another study."
        )

    def _compare(self, number: int, found: dict[str, Any]) -> None:
        """Refuses a trial of another space."""
        mine = self._distributions
        common = mine.keys() & found.keys()
        for name in sorted(common):
            if mine[name] != found[name]:
                raise ValueError(
                    f"search: study {self.study.study_name!r} has another space: "
                    f"{name} is from {found[name]} in trial {number}, and from "
                    f"{mine[name]} in space. Take the same space, or another study."
                )
        if found and mine and not common:
            raise ValueError(
                f"search: study {self.study.study_name!r} has another space: trial "
                f"{number} has {', '.join(sorted(found))}, and space suggests "
                f"{', '.join(sorted(mine))}. Take the same space, or another study."
            )
        self._distributions = found | mine


def _alive(trial: Any) -> bool:
    return bool(trial.state.name != "FAIL")


def _fail() -> Any:
    import optuna

    return optuna.trial.TrialState.FAIL


def _finished_errors() -> tuple[type[Exception], ...]:
    """What Optuna raises about a trial that somebody else has finished."""
    import optuna

    return (optuna.exceptions.UpdateFinishedTrialError,)


def _is_outage(error: Exception) -> bool:
    """Whether the storage did not answer: a file system, a database, a server."""
    import optuna

    known = (OSError, optuna.exceptions.StorageInternalError)
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, known) or package in ("sqlalchemy", "redis", "grpc")


def _copy(failed: Any, root: int) -> Any:
    """A waiting trial in the place of one that failed."""
    import optuna

    # A pruner's notes are those of the training that was lost.
    notes = {
        name: value
        for name, value in failed.system_attrs.items()
        if not name.startswith("completed_rung_")
    }
    kept = {k: v for k, v in failed.user_attrs.items() if k not in (_BY, _VOID)}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.WAITING,
        params=failed.params,
        distributions=failed.distributions,
        user_attrs=kept | {_ROOT: root},
        system_attrs=notes,
    )

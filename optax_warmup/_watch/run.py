"""What is known of a run that is watched."""

import functools
import time
from array import array
from bisect import bisect_left
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from optax_warmup._watch.folder import Place, find, total_steps
from optax_warmup._watch.follow import GrowingFile, ReplacedFile
from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._advise import advise
from optax_warmup.diagnostics._history import MomentHistory, load_moments
from optax_warmup.diagnostics._history_file import printable
from optax_warmup.diagnostics._metrics_file import METRICS, Row, number_of, parse_row
from optax_warmup.diagnostics._run_folders import MOMENTS

SAMPLES = "moments/effective_sample_size"
_KEPT = (SAMPLES, "moments/learning_rate")  # of the many that a record has


class Column:
    """The numbers of one name, with their rows and steps."""

    def __init__(self) -> None:
        self.rows, self.steps, self.values = array("q"), array("q"), array("d")

    def add(self, row: int, step: int, value: float) -> None:
        self.rows.append(row)
        self.steps.append(step)
        self.values.append(value)

    def keep_before(self, row: int) -> None:
        end = bisect_left(self.rows, row)
        for each in (self.rows, self.steps, self.values):
            del each[end:]


@dataclass
class Change:
    """What a poll found, in the order in which it is said."""

    dropped: int = 0  # rows that the run has taken back
    problems: list[str] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    moments: bool = False  # there is a new record
    advice: list[Advice] = field(default_factory=list)  # which was not given before


class WatchedRun:
    """A run's rows, its record, and the advice about it, as far as they are there."""

    def __init__(self, run: Path):
        self.run = run
        self.name = printable(run.name or run.resolve().name)
        self.place: Place = find(run)
        self.columns: defaultdict[str, Column] = defaultdict(Column)
        self.history: MomentHistory | None = None
        self.advice: tuple[Advice, ...] = ()
        self.problems: list[str] = []
        self.total: int | None = None
        self._metrics, self._moments = GrowingFile(), ReplacedFile()
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=20)

    def poll(self, last: bool = False) -> Change:
        """Looks at the files again. `last` says that no other poll comes.

        Then a last line without an end counts too, if it is a whole row.
        """
        self.place = find(self.run)  # first: a run that has ended writes no more
        self.total = total_steps(self.place.folder)
        change = Change()
        self._poll_rows(change, last or self.place.ended)
        self._poll_moments(change)
        self.problems += change.problems
        return change

    @property
    def step(self) -> int | None:
        """The step of the last row, or of the record."""
        steps = self.columns.get("step")
        if steps and steps.steps:
            return steps.steps[-1]
        if self.history is not None and len(self.history.steps):
            return int(self.history.steps[-1])
        return None

    def curve(self, *names: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of the first of these names that there is."""
        for name in names:
            column = self.columns.get(name)
            if column and column.steps:
                return np.array(column.steps), np.array(column.values)
        return np.empty(0, int), np.empty(0)

    @property
    def rate(self) -> tuple[np.ndarray, np.ndarray]:
        """The learning rate, from the rows or else from the record."""
        logged = self.curve("learning_rate", "moments/learning_rate")
        if logged[0].size or self.history is None:
            return logged
        return self.history.steps, self.history.learning_rate

    @property
    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """The effective sample size, from the record or else from the rows."""
        if self.history is None or not len(self.history.steps):
            return self.curve(SAMPLES)
        recorded = self.history.steps, self.history.effective_sample_size
        steps, values = self.curve(SAMPLES)
        later = steps > recorded[0][-1]
        return (
            np.append(recorded[0], steps[later]),
            np.append(recorded[1], values[later]),
        )

    @property
    def age(self) -> float | None:
        """Seconds since the last row, by the file's time."""
        for name in (METRICS, MOMENTS):
            try:
                written = (self.place.folder / name).stat().st_mtime
            except OSError:
                continue
            return max(time.time() - written, 0.0)
        return None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the speed that was seen."""
        if self.total is None or len(self._arrivals) < 3:
            return None
        (first, start), (last, now) = self._arrivals[0], self._arrivals[-1]
        if now <= start:
            return None
        return max(self.total - now, 0) * (last - first) / (now - start)

    def _poll_rows(self, change: Change, last: bool) -> None:
        known = len(self._metrics)
        news = self._metrics.poll(self.place.folder / METRICS)
        change.dropped = news.dropped
        start = known - news.dropped
        if news.dropped:
            self._arrivals.clear()
            for column in self.columns.values():
                column.keep_before(start)
        for number, line in enumerate(news.lines, start):
            try:
                change.rows.append(self._add(number, parse_row(line)))
            except ValueError as error:
                change.problems.append(
                    f"line {number + 1} of {METRICS} cannot be read ({error})"
                )
        if last and news.rest:
            try:
                row = parse_row(news.rest)
            except ValueError:
                pass  # half written
            else:
                change.rows.append(self._add(len(self._metrics), row))
        if change.rows and known and self.step is not None:
            self._arrivals.append((time.monotonic(), self.step))

    def _add(self, number: int, row: Row) -> dict[str, float]:
        """Keeps the numbers of a row, and returns them."""
        numbers: dict[str, float] = {}
        for name in row:
            kept = not name.startswith("moments/") or name in _KEPT
            value = _number(row, name) if kept else None
            if value is not None:
                numbers[_shown(name)] = value
        step = row.get("step")
        if step is not None:
            for name, value in numbers.items():
                self.columns[name].add(number, step, value)
        return numbers

    def _poll_moments(self, change: Change) -> None:
        path = self.place.folder / MOMENTS
        if not self._moments.is_new(path):
            return
        try:
            self.history = load_moments(path)
        except (OSError, ValueError) as error:
            change.problems.append(str(error))
            return
        if not len(self.history.steps):
            self.advice = ()
            return
        change.moments = True
        steps, losses = self.curve("loss")
        known = dict(zip(steps.tolist(), losses.tolist(), strict=True))
        before = {advice.code for advice in self.advice}
        self.advice = advise(self.history, losses=known)
        change.advice = [x for x in self.advice if x.code not in before]


_shown = functools.cache(printable)


def _number(row: Row, name: str) -> float | None:
    try:
        return number_of(row, name)
    except ValueError:
        return None  # a note, such as the phase of the training

"""Scores by arm, peak and seed, from the runs that are kept."""

from collections.abc import Sequence

import numpy as np

from .plan import Seeds
from .protocol import best_length
from .store import Run, Store
from .tasks import Task

WITHIN = "linear, within the run"  # tuned among the lengths that reach the peak
HARMLESS = 1.0


class Results:
    """The runs of one task. Only arms with every peak and seed are compared."""

    def __init__(self, task: Task, seeds: Seeds, store: Store):
        self.task, self.seeds = task, seeds
        self.runs = store.latest(task.name)
        linear = self._linear()
        self.tables = {
            arm: self._table(runs) for arm, runs in self.runs.items() if arm != "linear"
        }
        self.lengths = {
            "linear": self._tuned(linear, np.inf),
            WITHIN: self._tuned(linear, HARMLESS),
        }
        for arm, lengths in self.lengths.items():
            chosen = [r for r in self.runs.get("linear", []) if self._is(r, lengths)]
            self.tables[arm] = self._table(chosen)
        self.peaks = tuple(
            peak
            for peak in task.peaks
            if any((peak, seed) in self.tables["linear"] for seed in seeds.scoring)
        )

    def _table(self, runs: Sequence[Run]) -> dict[tuple[float, int], Run]:
        return {(run.job.peak, run.job.seed): run for run in runs}

    def _is(self, run: Run, lengths: dict[float, float]) -> bool:
        return lengths.get(run.job.peak) == run.job.length

    def _linear(self) -> dict[tuple[float, float], dict[int, float]]:
        """Selection scores of linear warmups: (peak, length) -> seed -> score."""
        found: dict[tuple[float, float], dict[int, float]] = {}
        for run in self.runs.get("linear", []):
            if run.job.seed in self.seeds.selection:
                assert run.job.length is not None, run.job
                setting = run.job.peak, run.job.length
                found.setdefault(setting, {})[run.job.seed] = run.score
        whole = set(self.seeds.selection)
        return {key: seen for key, seen in found.items() if set(seen) == whole}

    def _tuned(self, linear: dict, at_most: float) -> dict[float, float]:
        tuned = {}
        for peak in self.task.peaks:
            table = {
                x: list(seen.values()) for (p, x), seen in linear.items() if p == peak
            }
            if any(length <= at_most for length in table):
                tuned[peak] = best_length(table, at_most)
        return tuned

    def fixed_lengths(self) -> dict[float, np.ndarray]:
        """Selection scores, [peaks, seeds], of each linear length."""
        linear = self._linear()
        found = {}
        for length in sorted({x for _, x in linear}):
            if all((peak, length) in linear for peak in self.peaks):
                rows = [linear[peak, length] for peak in self.peaks]
                found[length] = np.array(
                    [[row[seed] for seed in self.seeds.selection] for row in rows]
                )
        return found

    def complete(self, arm: str, seeds: Sequence[int]) -> tuple[int, ...]:
        """The seeds for which an arm has a run at every peak."""
        table = self.tables.get(arm, {})
        return tuple(
            seed for seed in seeds if all((peak, seed) in table for peak in self.peaks)
        )

    def paired(self, arm: str) -> tuple[int, ...]:
        both = set(self.complete(arm, self.seeds.scoring))
        return tuple(sorted(both & set(self.complete("linear", self.seeds.scoring))))

    def scores(self, arm: str, seeds: Sequence[int]) -> np.ndarray:
        """Scores of an arm, [peaks, seeds]."""
        table = self.tables[arm]
        return np.array(
            [[table[peak, seed].score for seed in seeds] for peak in self.peaks]
        )

    def arms(self) -> list[str]:
        """The arms that can be compared, tuned linear first."""
        return [arm for arm in self.order() if self.peaks and self.paired(arm)]

    def order(self) -> list[str]:
        from .arms import ARMS

        others = [arm.name for arm in ARMS if arm.name != "linear"]
        return ["linear", WITHIN, *others]

    def failures(self, arm: str) -> tuple[int, int]:
        """The number of failed runs and of all runs, among the scored ones."""
        runs = [
            run
            for (_, seed), run in self.tables[arm].items()
            if seed in self.seeds.scoring
        ]
        return sum(run.failed for run in runs), len(runs)

    def of_peak(self, arm: str, peak: float) -> list[Run]:
        """The scored runs at a peak."""
        table = self.tables.get(arm, {})
        return [table[peak, s] for s in self.seeds.scoring if (peak, s) in table]

    def rates(self, run: Run) -> np.ndarray:
        """The applied learning rate at the kept steps: factor times schedule."""
        steps = self.kept(run) / self.task.steps
        return run.job.peak * 0.5 * (1 + np.cos(np.pi * steps)) * np.array(run.factors)

    def kept(self, run: Run) -> np.ndarray:
        return np.linspace(0, self.task.steps - 1, len(run.factors)).round()

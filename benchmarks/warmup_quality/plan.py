"""The runs of a task, in the order of their worth.

Some depend on the results of others: the length of linear warmup that is scored, and
the factors of the replays. `jobs` lists those that can run now.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

import numpy as np

from . import arms, train
from .arms import BY_NAME, LENGTHS
from .protocol import best_length
from .store import Job, Run, Store
from .tasks import Task


@dataclass(frozen=True)
class Seeds:
    """Lengths are selected on some seeds, and everything is scored on others."""

    selection: tuple[int, ...] = (0, 1, 2)
    scoring: tuple[int, ...] = (3, 4, 5, 6, 7)


QUICK = Seeds((0, 1), (3, 4, 5))
REPLAYS = ("replay", "shuffled")


def fingerprint(task: Task, arm: str, seeds: Seeds) -> str:
    """A hash of the task's constants and data, and of the arm's code."""
    fields = dataclasses.asdict(task)
    del fields["name"], fields["peaks"]  # another grid does not change a run
    whole = json.dumps([fields, train.prepared(task).data], sort_keys=True)
    constants = hashlib.sha256(whole.encode()).hexdigest()[:12]
    code = arms.code_version(BY_NAME["automatic" if arm in REPLAYS else arm])
    # A replay depends on the recorded runs.
    recorded = "-".join(map(str, seeds.selection)) if arm in REPLAYS else ""
    return f"{constants}-{code}" + (f"-of-{recorded}" if recorded else "")


class Plan:
    def __init__(self, task: Task, names: tuple[str, ...], seeds: Seeds, store: Store):
        suitable = [name for name in names if BY_NAME[name].suits(task)]
        self.task, self.seeds, self.store = task, seeds, store
        self.arms = tuple(suitable)
        needed = {*suitable, *(("automatic",) if {*suitable} & {*REPLAYS} else ())}
        self.prints = {name: fingerprint(task, name, seeds) for name in needed}

    def job(self, arm: str, peak: float, seed: int, length: float | None = None) -> Job:
        return Job(self.task.name, arm, peak, seed, length, self.prints[arm])

    def jobs(self) -> list[Job]:
        """The jobs that can run now and are not done: selection first, by seed."""
        order = [
            *(("selection", seed) for seed in self.seeds.selection),
            *(("scoring", seed) for seed in self.seeds.scoring),
        ]
        found = [job for kind, seed in order for job in self._of_seed(kind, seed)]
        return [job for job in dict.fromkeys(found) if job not in self.store]

    def _of_seed(self, kind: str, seed: int) -> list[Job]:
        jobs = []
        for name in self.prints:
            for peak in self.task.peaks:
                if name == "linear":
                    lengths = LENGTHS if kind == "selection" else self.chosen(peak)
                    jobs += [self.job(name, peak, seed, x) for x in lengths]
                elif self.runs_now(name, peak, kind):
                    jobs.append(self.job(name, peak, seed))
        return jobs

    def runs_now(self, arm: str, peak: float, kind: str) -> bool:
        if arm in REPLAYS and not self.recorded(peak):
            return False
        return arm == "automatic" or kind == "scoring"

    def chosen(self, peak: float) -> tuple[float, ...]:
        """The best linear length, and the best of those that end within the run."""
        table = {}
        for length in LENGTHS:
            wanted = [self.job("linear", peak, s, length) for s in self.seeds.selection]
            runs = self.store.found(wanted)
            if runs is None:
                return ()
            table[length] = [run.score for run in runs]
        return best_length(table), best_length(table, at_most=1)

    def recorded(self, peak: float) -> list[Run] | None:
        wanted = [self.job("automatic", peak, seed) for seed in self.seeds.selection]
        return self.store.found(wanted)

    def remaining(self) -> int:
        """The number of missing runs, including those that depend on others."""
        scored = len(self.seeds.scoring) * len(self.task.peaks)
        wait = 0
        for peak in self.task.peaks:
            if "linear" in self.arms and not self.chosen(peak):
                wait += 2 * scored // len(self.task.peaks)
            replays = len({*self.arms} & {*REPLAYS})
            if replays and not self.recorded(peak):
                wait += replays * scored // len(self.task.peaks)
        return len(self.jobs()) + wait

    def factors(self, job: Job) -> np.ndarray | None:
        """The factor of each update of a job, or None if it is not known before."""
        if job.arm not in REPLAYS:
            length = None
            if job.length:
                length = max(1, round(job.length * self.task.steps))
            return BY_NAME[job.arm].factors(self.task, length)
        records = self.recorded(job.peak) or []
        curves = np.array([run.factors for run in records])
        curves = np.nan_to_num(curves, nan=0.0)
        if job.arm == "replay":
            return spread(curves.mean(axis=0), self.task.steps)
        curve = curves[job.seed % len(curves)]
        return spread(shuffled(curve, job.seed), self.task.steps)


def spread(curve: np.ndarray, steps: int) -> np.ndarray:
    """Interpolates kept points to all updates, linearly in the logarithm."""
    at = train.kept_steps(steps)
    logs = np.log(np.maximum(curve, 1e-30))
    return np.exp(np.interp(np.arange(steps), at, logs)).astype(np.float32)


def shuffled(curve: np.ndarray, seed: int) -> np.ndarray:
    """The same start and steps of growth in another order, and so the same end."""
    logs = np.log(np.maximum(curve, 1e-30))
    growth = np.random.default_rng(seed).permutation(np.diff(logs))
    return np.exp(np.concatenate([logs[:1], logs[0] + np.cumsum(growth)]))

"""Finished runs, one JSON line each, in a file that only grows.

A run is identified by its `Job`, with a fingerprint of its constants and code. So
nothing runs twice, and after a change no stale run is read.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "results" / "warmup_quality"


@dataclass(frozen=True)
class Job:
    """A run to make. `length` is that of a linear warmup, as a fraction of the run."""

    task: str
    arm: str
    peak: float
    seed: int
    length: float | None
    fingerprint: str  # "task-arm", see `plan.fingerprint`


@dataclass(frozen=True)
class Run:
    """A job and its result. A loss of NaN is a result too."""

    job: Job
    loss: float
    initial: float
    losses: tuple[float, ...]
    factors: tuple[float, ...]
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether the loss rose, or ended as NaN or infinity."""
        return not math.isfinite(self.loss) or self.loss > self.initial

    @property
    def score(self) -> float:
        """The loss; for a failed run the loss before training."""
        return self.initial if self.failed else self.loss


def line(run: Run) -> str:
    def number(x: float, digits: int) -> float | None:
        return float(f"{x:.{digits}g}") if math.isfinite(x) else None

    fields = dataclasses.asdict(run.job)
    fields |= {"loss": number(run.loss, 8), "initial": number(run.initial, 8)}
    fields |= {"losses": [number(x, 4) for x in run.losses]}
    fields |= {"factors": [number(x, 4) for x in run.factors]}
    fields |= {"seconds": number(run.seconds, 3)}
    return json.dumps(fields, separators=(",", ":"), allow_nan=False) + "\n"


def parse(text: str) -> Run:
    fields = json.loads(text)

    def number(x: float | None) -> float:
        return math.nan if x is None else float(x)

    return Run(
        Job(**{each.name: fields[each.name] for each in dataclasses.fields(Job)}),
        loss=number(fields["loss"]),
        initial=number(fields["initial"]),
        losses=tuple(map(number, fields["losses"])),
        factors=tuple(map(number, fields["factors"])),
        seconds=number(fields["seconds"]),
    )


class Store:
    def __init__(self, path: Path = RESULTS / "runs.jsonl"):
        self.path = path
        self.runs = {run.job: run for run in self.read()}

    def read(self) -> Iterator[Run]:
        """Reads whole lines only: a killed process may have left half a line."""
        if not self.path.exists():
            return
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                yield parse(text)
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, run: Run) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * half + line(run))
        self.runs[run.job] = run

    def __contains__(self, job: Job) -> bool:
        return job in self.runs

    def found(self, jobs: Sequence[Job]) -> list[Run] | None:
        """The runs of these jobs, or None if one is missing."""
        if all(job in self.runs for job in jobs):
            return [self.runs[job] for job in jobs]
        return None

    def latest(self, task: str) -> dict[str, list[Run]]:
        """The runs of a task by arm, with the latest constants and the latest code."""
        runs = [run for run in self.runs.values() if run.job.task == task]
        prints = [run.job.fingerprint.split("-")[0] for run in runs]
        found: dict[str, list[Run]] = {}
        for run, constants in zip(runs, prints, strict=True):
            if constants == prints[-1]:
                found.setdefault(run.job.arm, []).append(run)
        return {
            arm: [
                run for run in all_ if run.job.fingerprint == all_[-1].job.fingerprint
            ]
            for arm, all_ in found.items()
        }

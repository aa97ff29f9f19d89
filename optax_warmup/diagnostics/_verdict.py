"""A report in one sentence."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from optax_warmup.diagnostics._advice import Advice
from optax_warmup.diagnostics._advise import SEVERITIES, counted

_FAULTS = ("problem", "warning")
_NAMES = 3  # runs that are listed; more are counted
_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z])")  # where a sentence ends


@dataclass(frozen=True)
class Verdict:
    """What a report comes to. `severity` is that of the worst advice, or "fine"."""

    severity: str
    sentence: str


def verdict(advice: Mapping[str, tuple[Advice, ...]]) -> Verdict:
    """Returns the verdict on runs, from the advice on each by its name."""
    every = [(name, each) for name, found in advice.items() for each in found]
    if every and all(each.code == "empty-record" for _, each in every):
        return Verdict("note", "No update is recorded yet.")
    faults = [(name, each) for name, each in every if each.severity in _FAULTS]
    if not faults:
        notes = sum(each.severity == "note" for _, each in every)
        what = "No problems found" if notes else "No issues found"
        where = f" in {len(advice)} runs" if len(advice) > 1 else ""
        more = f"; the notes below ({notes}) are for information" if notes else ""
        return Verdict("fine", f"{what}{where}{more}.")
    name, worst = min(faults, key=lambda pair: SEVERITIES.index(pair[1].severity))
    counts = " and ".join(counted(each for _, each in faults))
    finding = _SENTENCE.split(worst.finding, maxsplit=1)[0]
    if len(advice) == 1:
        return Verdict(worst.severity, f"{counts}: {finding}")
    ill = list(dict.fromkeys(name for name, _ in faults))
    return Verdict(
        worst.severity,
        f"{counts} in {_listed(ill)}; in “{name}”: {finding}",
    )


def _listed(names: list[str]) -> str:
    if len(names) > _NAMES:
        return f"{len(names)} runs"
    names = [f"“{name}”" for name in names]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)

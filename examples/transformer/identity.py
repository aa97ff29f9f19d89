"""What makes two runs the same run: compared between processes, and on resume."""

import dataclasses
from typing import Any

import optax_warmup as ow

from .config import IDENTITY, Config
from .data import Corpus
from .optimizer import make_schedule

SCHEDULE = ("schedule", "schedule_fingerprint")


def identity(config: Config, corpus: Corpus) -> dict[str, Any]:
    """Model, data and training, ready for JSON.

    The schedule is in it as itself, too: `optimizer.py` may have been edited. The text
    counts by what it is, not by where it lies.
    """
    settings = {
        each.name: getattr(config, each.name)
        for each in dataclasses.fields(config)
        if each.metadata["section"] in IDENTITY and each.name != "data"
    }
    schedule = make_schedule(config)
    return settings | {
        "corpus_sha256": corpus.sha256,
        "schedule": ow.to_config(schedule),
        "schedule_fingerprint": ow.fingerprint(schedule),
    }


def differences(old: dict[str, Any], new: dict[str, Any], step: int) -> list[str]:
    """A sentence for each difference, where a run at `step` goes on as another one."""
    found = [
        f"{name} was {old.get(name)!r} and is {new.get(name)!r}"
        for name in dict.fromkeys([*old, *new])
        if name not in SCHEDULE and old.get(name) != new.get(name)
    ]
    if old["schedule_fingerprint"] != new["schedule_fingerprint"]:
        rates = [float(ow.from_config(each["schedule"])(step)) for each in (old, new)]
        found.append(
            "the schedule changed: the learning rate of the next update "
            f"was {rates[0]:.4g} and is {rates[1]:.4g}"
        )
    return found

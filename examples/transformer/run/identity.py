"""The identity of a run: compared between processes, and on resume."""

import dataclasses
from typing import Any

import optax_warmup as ow

from ..core.data import Corpus
from ..core.optimizer import make_schedule
from .config import IDENTITY, Config

SCHEDULE = ("schedule", "schedule_fingerprint")


def identity(config: Config, corpus: Corpus) -> dict[str, Any]:
    """Settings of model, data and training, ready for JSON.

    It includes the schedule, since `optimizer.py` may have been edited, and the hash
    of the text in place of its path.
    """
    settings = {
        each.name: getattr(config, each.name)
        for each in dataclasses.fields(config)
        if each.metadata["section"] in IDENTITY and each.name != "data"
    }
    schedule, tokenizer = make_schedule(config), corpus.tokenizer.fingerprint
    return settings | {
        "tokenizer": tokenizer,
        "corpus_sha256": corpus.sha256,
        "schedule": ow.to_config(schedule),
        "schedule_fingerprint": ow.fingerprint(schedule),
    }


def differences(old: dict[str, Any], new: dict[str, Any], step: int) -> list[str]:
    """Describes each difference between the old and the new run at `step`."""
    # A setting that is newer than the old run had the value that is now the default.
    defaults = {each.name: each.default for each in dataclasses.fields(Config)}
    old = {name: x for name, x in defaults.items() if name in new} | old
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

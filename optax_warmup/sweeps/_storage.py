"""Calls of a study's storage that wait while it does not answer."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Storage:
    """The storage of a study, which may be on another machine."""

    def __init__(self, study: Any, patience: float) -> None:
        self.study = study
        self.patience = patience  # seconds
        self.pause = min(1.0, patience / 10)  # between two calls

    def call(self, function: Callable[[], T], once: bool = False) -> T:
        """Calls a function, and again for a while if the storage does not answer."""
        until = time.monotonic() + self.patience
        while True:
            try:
                return function()
            except Exception as error:
                if not _is_outage(error):
                    raise
                if once or time.monotonic() > until:
                    raise self.gone(str(error) or repr(error)) from error
            time.sleep(self.pause)

    def trials(self) -> list[Any]:
        """All trials of the study, in the order of their numbers."""
        found = self.call(lambda: self.study.get_trials(deepcopy=False))
        return sorted(found, key=lambda each: each.number)

    def gone(self, why: str) -> RuntimeError:
        return RuntimeError(
            f"search: the storage of study {self.study.study_name!r} does not answer "
            f"({why}). What was told before is kept there: when it is back, the same "
            "call goes on, and trains again what was under way."
        )


def _is_outage(error: Exception) -> bool:
    """Whether the storage did not answer: a file system, a database, a server."""
    import optuna

    known = (OSError, optuna.exceptions.StorageInternalError)
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, known) or package in ("sqlalchemy", "redis", "grpc")

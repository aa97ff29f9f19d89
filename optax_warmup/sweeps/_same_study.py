"""Whether a study is that of the same objective and space."""

import hashlib
import json
from typing import Any

from optax_warmup.sweeps._lineages import BY

# Attributes of a study, for each program: what distinguishes it.
_PROGRAM = "search_program:"


class SameStudy:
    """Refuses a study of another objective or space."""

    def __init__(
        self, study: Any, identity: dict[str, Any], distributions: dict[str, Any]
    ) -> None:
        text = json.dumps(identity, sort_keys=True)
        self.program = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._study = study
        self._identity = identity
        self._distributions = distributions

    def sign(self) -> None:
        """Writes what distinguishes the program into the study, for messages."""
        self._study.set_user_attr(_PROGRAM + self.program, self._identity)

    def require(self, trials: list[Any]) -> None:
        """Raises if a trial is of another objective or space."""
        name = self._study.study_name
        for each in trials:
            by = each.user_attrs.get(BY)
            if by is None and each.state.name in ("COMPLETE", "PRUNED"):
                raise ValueError(
                    f"search: trial {each.number} of study {name!r} was not trained by "
                    "search, so its value may be that of another objective. Take a new "
                    "study; values to begin with can be given by study.enqueue_trial."
                )
            if by is not None and by["program"] != self.program:
                raise ValueError(self._another(by["program"]))
            if each.state.name != "RUNNING":  # it may not have all its values yet
                self.compare(each.number, each.distributions)

    def _another(self, program: str) -> str:
        found = self._study.user_attrs.get(_PROGRAM + program, {})
        names = [k for k, v in self._identity.items() if found.get(k) != v]
        return (
            f"search: study {self._study.study_name!r} belongs to another objective: "
            f"it differs in {', '.join(names)}. Give what it was made with, or take "
            "another study."
        )

    def compare(self, number: int, found: dict[str, Any]) -> None:
        """Refuses a trial of another space."""
        mine = self._distributions
        common = mine.keys() & found.keys()
        for name in sorted(common):
            if mine[name] != found[name]:
                raise ValueError(
                    f"search: study {self._study.study_name!r} has another space: "
                    f"{name} is from {found[name]} in trial {number}, and from "
                    f"{mine[name]} in space. Take the same space, or another study."
                )
        if found and mine and not common:
            raise ValueError(
                f"search: study {self._study.study_name!r} has another space: trial "
                f"{number} has {', '.join(sorted(found))}, and space suggests "
                f"{', '.join(sorted(mine))}. Take the same space, or another study."
            )
        self._distributions = found | mine

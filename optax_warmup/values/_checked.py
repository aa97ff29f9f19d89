"""Arguments of functions: checked by their annotations, refused where unknown."""

from __future__ import annotations

import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from optax_warmup.values._kinds import Kind, find_kind

# What other libraries call an argument, and what it is called here.
_ELSEWHERE = {
    "peak": "peak_value",
    "peak_lr": "peak_value",
    "max_lr": "peak_value",
    "lr": "peak_value",
    "learning_rate": "peak_value",
    "base_lr": "init_value",
    "min_lr": "end_value",
    "eta_min": "end_value",
    "final_value": "end_value",
    "warmup": "warmup_steps",
    "num_warmup_steps": "warmup_steps",
    "warmup_ratio": "warmup_steps",
    "num_training_steps": "total_steps",
    "num_steps": "total_steps",
    "decay_steps": "total_steps",
    "transition_steps": "steps",
}


def require_known(owner: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuses an argument that does not exist, and names the one that is meant."""
    for name in given:
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        close = close or [other for other in known if other in name]
        meant = [_ELSEWHERE[name]] if _ELSEWHERE.get(name) in known else close
        question = f" Did you mean {meant[0]}?" if meant else ""
        if name == "warmup_ratio" and meant:
            question += " A share of the run is round(0.1 * total_steps)."
        raise TypeError(
            f"{owner}: there is no argument {name!r}.{question} The arguments are "
            f"{', '.join(known)}."
        )


_Function = TypeVar("_Function", bound=Callable[..., Any])


def checked(namespace: str = "") -> Callable[[_Function], _Function]:
    """Decorates a function so that its arguments are checked by their annotations.

    Errors give the function's name with `namespace` in front. Defaults, and arguments
    whose annotation has no kind, are passed on unchecked.
    """

    def decorate(function: _Function) -> _Function:
        owner = f"{namespace}{function.__name__}"
        names = tuple(inspect.signature(function).parameters)

        @functools.cache
        def kinds() -> dict[str, Kind]:
            hints = typing.get_type_hints(function, include_extras=True)
            found = {name: find_kind(hints.get(name)) for name in names}
            return {name: kind for name, kind in found.items() if kind is not None}

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            require_known(owner, kwargs, names)
            known = kinds()
            # Python itself refuses what is too much.
            given = list(args)
            for k, name in enumerate(names[: len(args)]):
                if name in known:
                    given[k] = known[name].check(owner, name, args[k])
            for name, x in kwargs.items():
                if name in known:
                    kwargs[name] = known[name].check(owner, name, x)
            return function(*given, **kwargs)

        return typing.cast(_Function, call)

    return decorate

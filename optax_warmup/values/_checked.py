"""Arguments of functions: checked by their annotations, refused where unknown."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from optax_warmup import _elsewhere as elsewhere
from optax_warmup.values._kinds import Kind, find_kind

# What a schedule of JAX has in place of an optimizer that it steps.
_NO_OPTIMIZER = (
    " A schedule is made before the optimizer, which takes it: optax.adamw(schedule)."
)


def require_known(owner: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuses an argument that does not exist, and names the one that is meant."""
    for name in given:
        if name in known:
            continue
        part = next((other for other in known if other in name), None)
        close = elsewhere.nearest(name, known) or part
        meant = elsewhere.argument(name, known) or close
        question = f" Did you mean {meant}?" if meant else ""
        if name in elsewhere.SHARES and meant:
            question += " A share of the run is round(0.1 * total_steps)."
        if name == "optimizer":
            question += _NO_OPTIMIZER
        raise TypeError(
            f"{owner}: there is no argument {name!r}.{question} The arguments are "
            f"{', '.join(known)}."
        )


_Function = TypeVar("_Function", bound=Callable[..., Any])


def names_arguments(function: _Function) -> _Function:
    """Decorates a function so that an unknown argument names the one that is meant."""
    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.keys() <= set(names):
            require_known(function.__name__, kwargs, names)
        return function(*args, **kwargs)

    return typing.cast(_Function, call)


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

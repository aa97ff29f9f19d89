"""Which arrays a regular expression or a function picks, by their paths."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _check
from optax_warmup._state.masks import keys

Match: TypeAlias = str | re.Pattern[str] | Callable[..., bool]

_SHOWN = 5  # paths in a message


class Array(NamedTuple):
    """What rules know of an array: its path, "encoder/layers_3/kernel", and shape."""

    path: str
    like: jax.ShapeDtypeStruct


def arrays_of(tree: Any) -> list[Array]:
    """The arrays of a tree, in the order of `jax.tree.leaves`.

    Raises:
        ValueError: keys with "/" in them give two arrays the same path.
    """
    places: dict[str, Any] = {}
    arrays = []
    for place, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = "/".join(keys(place)) or "parameters"
        if path in places:
            one, other = map(jax.tree_util.keystr, (places[path], place))
            raise ValueError(
                f"groups: two arrays have the path {path!r}, params{one} and "
                f"params{other}, so that no rule can tell them apart. Rename one."
            )
        places[path] = place
        like = jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))
        arrays.append(Array(path, like))
    return arrays


def checked_match(owner: str, name: str, match: Any) -> Any:
    """Refuses what is neither a regular expression nor a function of the path."""
    if isinstance(match, str):
        try:
            re.compile(match)
        except re.error as error:
            raise ValueError(
                f"{owner}: {name} must be a regular expression, got {match!r}: {error}."
            ) from error
        if not match:
            raise ValueError(
                f"{owner}: {name} must not be empty; '.*' matches every path."
            )
        return match
    if isinstance(match, re.Pattern):
        if not isinstance(match.pattern, str):
            raise TypeError(f"{owner}: {name} must match text, got {match!r}.")
        return match
    if not callable(match) or isinstance(match, type):
        raise TypeError(
            f"{owner}: {name} must be a regular expression or a function of the path, "
            f"got {match!r}."
        )
    return _check.function(
        owner, name, match, *(["path", "array"] if _takes_array(match) else ["path"])
    )


def matches(owner: str, match: Match, array: Array) -> bool:
    """Whether an array is picked; a regular expression is searched in the path."""
    if isinstance(match, str | re.Pattern):
        return re.search(match, array.path) is not None
    found = match(*array) if _takes_array(match) else match(array.path)
    if not isinstance(found, bool | np.bool_):
        raise TypeError(
            f"{owner}: {name_of(match)} must return True or False, got {found!r} for "
            f"{array.path}."
        )
    return bool(found)


def _takes_array(match: Callable[..., Any]) -> bool:
    """Whether it needs the array: the second of `lambda path, j=j: ...` it does not."""
    try:
        inspect.signature(match).bind("path")
    except TypeError:
        return True
    except ValueError:  # a builtin does not tell its arguments
        return False
    return False


def name_of(match: Match) -> str:
    """The pattern, or the name of the function."""
    if isinstance(match, str):
        return match
    if isinstance(match, re.Pattern):
        return match.pattern
    return getattr(match, "__name__", repr(match))


def listed(paths: Sequence[str]) -> str:
    """The first paths, for a message."""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more

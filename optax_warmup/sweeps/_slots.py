"""Trainings under way, side by side in one program, each at a part of its own."""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _check
from optax_warmup.sweeps import _columns as columns
from optax_warmup.sweeps._points import Configuration
from optax_warmup.sweeps._program import Program

_OF_SPACE = columns.Names(
    "search", "what space returns", "{name!r} of what space returns"
)


@dataclasses.dataclass
class Training:
    """A training in a slot, and how many of its parts are done."""

    trial: Any
    configuration: Configuration
    parts: int = 0


class Slots:
    """As many trainings as a program has rows for.

    A slot that becomes free takes the next training: whether a training begins or goes
    on is an argument of the program, so nothing is compiled again.
    """

    def __init__(
        self,
        train: Callable[..., Any],
        init: Callable[..., Any] | None,
        shared: tuple[Any, ...],
        example: Configuration,
        devices: Sequence[jax.Device] | None,
    ):
        self.example = example
        row = jax.tree.map(lambda column: column[0], _stacked([example]))
        with _names_space(example):
            self._one, kept = _one_part(train, init, shared, row)
            self._rows = {"configuration": row, "begins": np.zeros((), bool)}
            value = jax.eval_shape(self._one, shared, kept, self._rows)[1]
        one_number = isinstance(value, jax.ShapeDtypeStruct) and value.shape == ()
        if not one_number or not _check.is_real(value.dtype):
            raise ValueError(
                "search: train must return one real number to rank trials by, got "
                f"{jax.tree.map(lambda x: f'{x.dtype}{list(x.shape)}', value)}; return "
                "the final validation loss, for example."
            )
        self._kept = kept
        self.program = Program("search", self._one, shared, (kept, self._rows), devices)

    def lower(self, shared: tuple[Any, ...]) -> Any:
        """The program of a single training, by which a study is recognized."""
        return jax.jit(self._one).lower(shared, self._kept, self._rows)

    def compile(self, chunk: int, free_memory: float | None) -> None:
        size = self.program.fit(chunk, chunk, free_memory)
        self._sizes = size, self.program.whole(math.ceil(size / 4))
        self.trainings: list[Training | None] = [None] * size
        self._state = self.program.put(
            jax.tree.map(lambda x: np.zeros((size, *x.shape), x.dtype), self._kept)
        )

    @property
    def busy(self) -> list[Training]:
        return [each for each in self.trainings if each is not None]

    @property
    def free(self) -> int:
        return self._sizes[0] - len(self.busy)

    def check(self, configuration: Any) -> None:
        """Raises if a configuration does not belong to the program."""
        stacked = _stacked([self.example, configuration])
        jax.tree.map(_as, stacked, self._rows["configuration"])

    def add(self, training: Training) -> None:
        """Puts a training into a free slot."""
        if None not in self.trainings:
            self._resize(self._sizes[0])
        self.trainings[self.trainings.index(None)] = training

    def remove(self, training: Training) -> None:
        self.trainings[self.trainings.index(training)] = None

    def advance(self) -> list[tuple[Training, float]]:
        """Trains each by one part, and returns the values after it."""
        if len(self.busy) <= self._sizes[1] < len(self.trainings):
            self._resize(self._sizes[1])
        filler = self.busy[0]  # a free slot repeats a training, and is not read
        filled = [each or filler for each in self.trainings]
        points = [self.example, *(each.configuration for each in filled)]
        stacked = jax.tree.map(
            lambda column, row: _as(column, row)[1:],
            _stacked(points),
            self._rows["configuration"],
        )
        begins = np.array([x is None or x.parts == 0 for x in self.trainings])
        rows = {"configuration": stacked, "begins": begins}
        self._state, values = self.program.run(self._state, rows)
        found = np.asarray(jax.device_get(values), np.float64).tolist()
        done = []
        for training, value in zip(self.trainings, found, strict=True):
            if training is not None:
                training.parts += 1
                done.append((training, value))
        return done

    def _resize(self, size: int) -> None:
        """Moves the trainings into as many slots: the last ones need fewer."""
        chosen = [i for i, each in enumerate(self.trainings) if each is not None]
        at = np.resize(np.array(chosen or [0]), size)
        moved: list[Training | None] = [self.trainings[i] for i in chosen]
        self.trainings = moved + [None] * (size - len(moved))
        self._state = self.program.put(jax.tree.map(lambda x: x[at], self._state))


def _stacked(points: Sequence[Any]) -> columns.Columns:
    return columns.stack(points, _OF_SPACE)


@contextlib.contextmanager
def _names_space(example: Configuration) -> Iterator[None]:
    """Says of an argument that is missing that `space` should return it."""
    try:
        yield
    except TypeError as error:
        if not re.search(r"missing \d+ required .*argument", str(error)):
            raise
        raise TypeError(
            f"search: {error}. space must return all arguments of train and init that "
            f"are not shared, and it returns {', '.join(example)}."
        ) from error


def _one_part(
    train: Callable[..., Any],
    init: Callable[..., Any] | None,
    shared: tuple[Any, ...],
    row: columns.Columns,
) -> tuple[Callable[..., Any], Any]:
    """Returns one(shared, state, row) -> (state, value), and the shape of a state."""
    if init is None:

        def whole(shared: Any, state: Any, row: Any) -> Any:
            return state, train(*shared, **row["configuration"])

        return whole, ()

    begin: Callable[..., Any] = init

    def part(shared: Any, state: Any, row: Any) -> Any:
        fresh = begin(*shared, **row["configuration"])
        state = jax.tree.map(
            lambda new, old: jnp.where(row["begins"], new, _unpacked(old, new)),
            fresh,
            state,
        )
        found = train(state, *shared, **row["configuration"])
        if not (isinstance(found, tuple) and len(found) == 2):
            raise TypeError(
                "search: with init, train must return a tuple (state, value), got "
                f"{type(found).__name__}."
            )
        before, after = (jax.tree.map(_shape, x) for x in (fresh, found[0]))
        if before != after:
            raise ValueError(
                "search: train must return a state like that of init, got "
                f"{after} and not {before}."
            )
        return jax.tree.map(_packed, found[0]), found[1]

    kept = jax.eval_shape(
        lambda shared, row: jax.tree.map(_packed, begin(*shared, **row)), shared, row
    )
    return part, kept


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x))


def _packed(x: Any) -> Any:
    """Random keys as integers, of which zeros can be made."""
    return jax.random.key_data(x) if _is_key(x) else x


def _unpacked(x: Any, like: Any) -> Any:
    if not _is_key(like):
        return x
    return jax.random.wrap_key_data(x, impl=jax.random.key_impl(like))


def _is_key(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _as(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """A column in the dtype of the program."""
    if not np.can_cast(column.dtype, row.dtype, "same_kind"):
        raise TypeError(
            f"search: a value of space must have the same type in all trials, got "
            f"{column.dtype} after {row.dtype}: write 0.0 in place of 0, for example."
        )
    return column.astype(row.dtype)

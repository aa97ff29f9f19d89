"""Counts the updates of epochs as data loaders and accumulation make them."""

import math
from fractions import Fraction
from typing import Any, Literal, NamedTuple, get_args

from optax_warmup import _check

LastWindow = Literal["continue", "update", "drop"]


class Epochs(NamedTuple):
    """How an epoch ends.

    Attributes:
        drop_last: whether its last batch is dropped where it is incomplete; None where
            batches run across epochs.
        accumulation_steps: microbatches of an update.
        last_window: what becomes of microbatches that are fewer.
    """

    drop_last: bool | None
    accumulation_steps: int
    last_window: LastWindow

    @classmethod
    def of(
        cls,
        owner: str,
        drop_last: Any,
        accumulation_steps: Any,
        last_window: LastWindow,
    ) -> "Epochs":
        """Checks the arguments."""
        if drop_last is not None:
            _check.flag(owner, "drop_last", drop_last)
        steps = _check.count(owner, "accumulation_steps", accumulation_steps, minimum=1)
        windows = get_args(LastWindow)
        if not isinstance(last_window, str) or last_window not in windows:
            raise ValueError(
                f"{owner}: last_window must be one of {', '.join(map(repr, windows))}, "
                f"got {last_window!r}."
            )
        if drop_last is None and last_window != "continue":
            raise TypeError(
                f"{owner}: last_window={last_window!r} needs drop_last as well, as "
                "batches run across epochs without it; pass drop_last=True or False."
            )
        if drop_last is None and steps > 1:
            raise TypeError(
                f"{owner}: accumulation_steps={steps} has no effect without epochs "
                "and drop_last: batch_size is that of an update, over all its "
                "microbatches. Leave it out, or pass drop_last=True or False."
            )
        return cls(drop_last, steps, last_window)

    def updates(
        self, owner: str, epochs: Fraction, dataset_size: int, batch_size: int
    ) -> Fraction:
        """The number of updates in some epochs.

        Where R processes take b examples each, an epoch has as many batches as where
        one takes R b: ceil(ceil(n / R) / b) = ceil(n / (R b)), and so for floors.
        """
        window = self.accumulation_steps
        if batch_size % window:
            raise ValueError(
                f"{owner}: accumulation_steps must divide batch_size, the examples of "
                f"all microbatches of an update, got {window} and {batch_size}."
            )
        size = batch_size // window
        microbatches = _parts(dataset_size, size, self.drop_last)
        if not microbatches:
            raise ValueError(
                f"{owner}: drop_last=True leaves nothing of an epoch of {dataset_size} "
                f"examples, as a batch has {size}; pass drop_last=False, or the "
                "batch_size that is used."
            )
        if self.last_window == "continue":
            whole = math.floor(epochs * microbatches + Fraction(1, 2)) // window
            return Fraction(max(whole, 1) if epochs else 0)
        each = _parts(microbatches, window, self.last_window == "drop")
        if not each:
            raise ValueError(
                f"{owner}: last_window='drop' leaves nothing of an epoch of "
                f"{microbatches} microbatches, as an update takes {window}; pass "
                "last_window='update' or 'continue'."
            )
        return epochs * each


def _parts(whole: int, size: int, drop: bool | None) -> int:
    """The number of parts of some size, with the incomplete last one or without."""
    return whole // size if drop else -(-whole // size)

"""Layer-wise decay of the learning rate."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup.groups._depth import Layers, layers_of
from optax_warmup.groups._match import Array, Match, checked_match, listed, matches
from optax_warmup.groups._rule import Printed, RuleSet, Setting, Settings

_OWNER = "groups.layerwise_decay"


@dataclasses.dataclass(frozen=True, repr=False)
class layerwise_decay(Printed, RuleSet):
    """Lowers the rate from layer to layer towards the input.

    With layers 0 to L - 1 and g = `head_gap`,

        head: 1,   layer i: decay**(L - 1 - i + g),   embeddings: decay**(L + g)

    Layers are found in the paths: "layers_3", "Block_3", "layers/3", "encoder.layer.3",
    or haiku's "linear", "linear_1". They are counted by rank, so numbers may have gaps.
    Where layers are stacked in one array, as by `scan`, each slice along its first axis
    gets its own multiplier.

    Args:
        decay: what the rate is multiplied by from one layer to the next, in (0, 1].
        embed: which arrays are in front of the layers: a regular expression or a
            function, as for `Rule`; None if there are none.
        head: which arrays are behind them, the last norm too; None if there are none.
        layers: how the number of a layer is found: None looks for the outermost key
            that numbers several; a regular expression with groups around numbers, such
            as r"stage_(\\d+)/block_(\\d+)"; or a function from the path to the number.
        stacked: which arrays hold all layers along their first axis.
        head_gap: 1 as in BEiT and MAE; 2 as in ELECTRA, whose last layer has decay**2;
            0 for a last layer with the rate of the head.

    Raises:
        TypeError: an argument is of another type.
        ValueError: a number is out of its range; later, where it is used, `embed`,
            `head` or `stacked` matches nothing, or two of them the same array; no layer
            is found for an array, or layers of several kinds.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> params = {"embed": jnp.ones(2), "layers": [jnp.ones(2)] * 2}
        >>> rules = ow.groups.layerwise_decay(0.5, embed="embed", head=None)
        >>> print(ow.groups.table(rules, params))
        path      shape  rule     multiplier  learning rate  decay
        embed     (2,)   embed         0.125  common             1
        layers/0  (2,)   layer_0        0.25  common             1
        layers/1  (2,)   layer_1         0.5  common             1

    Source: K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators
    Rather Than Generators", 2020, arXiv:2003.10555; H. Bao et al., "BEiT: BERT
    Pre-Training of Image Transformers", 2022, arXiv:2106.08254; K. He et al., "Masked
    Autoencoders Are Scalable Vision Learners", 2022, arXiv:2111.06377.
    """

    decay: ArrayLike
    embed: Match | None = dataclasses.field(kw_only=True)
    head: Match | None = dataclasses.field(kw_only=True)
    layers: Layers | None = dataclasses.field(default=None, kw_only=True)
    stacked: Match | None = dataclasses.field(default=None, kw_only=True)
    head_gap: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        _check.one(_OWNER, "decay", self.decay, "a number")
        decay = _check.number(_OWNER, "decay", self.decay, above=0, maximum=1)
        object.__setattr__(self, "decay", decay)
        object.__setattr__(
            self, "head_gap", _check.count(_OWNER, "head_gap", self.head_gap)
        )
        for name in ("embed", "head", "stacked", "layers"):
            match: Any = getattr(self, name)
            if match is not None:
                checked_match(_OWNER, name, match)
        if isinstance(self.layers, str | re.Pattern):
            if not re.compile(self.layers).groups:
                raise ValueError(
                    f"{_OWNER}: layers must have a group around the number of the "
                    f"layer, such as r'layers_(\\d+)', got {self.layers!r}."
                )
            if self.stacked is not None:
                raise ValueError(
                    f"{_OWNER}: give layers= for layers in arrays of their own, or "
                    "stacked= for layers that share arrays, not both."
                )

    def settings(self, owner: str, arrays: Sequence[Array]) -> Settings:
        """The multiplier of each array, or of each slice of a stacked one."""
        sides = [self._side(owner, array) for array in arrays]
        for name in ("embed", "head", "stacked"):
            match = getattr(self, name)
            if match is not None and name not in sides:
                raise ValueError(
                    f"{owner}: {name}={match!r} matches nothing; paths are such as "
                    f"{listed([array.path for array in arrays])}."
                )
        inner = [a for a, side in zip(arrays, sides, strict=True) if side == "layer"]
        stacks = [a for a, side in zip(arrays, sides, strict=True) if side == "stacked"]
        if inner and stacks:
            raise ValueError(
                f"{owner}: layers are stacked in {stacks[0].path}, but {inner[0].path} "
                "is neither stacked nor embed or head."
            )
        ranks = dict(
            zip(
                [array.path for array in inner],
                layers_of(owner, inner, self.layers),
                strict=True,
            )
        )
        count = _size(owner, stacks) if stacks else max(ranks.values(), default=-1) + 1
        layer = [self._setting(f"layer_{i}", count - 1 - i) for i in range(count)]
        ends = {
            "embed": self._setting("embed", count),
            "head": Setting("head"),
        }
        return [
            tuple(layer)
            if side == "stacked"
            else (ends[side] if side in ends else layer[ranks[array.path]],)
            for array, side in zip(arrays, sides, strict=True)
        ]

    def _setting(self, name: str, above: int) -> Setting:
        """That of a layer with so many others above it."""
        multiplier: Any = self.decay ** (above + self.head_gap)  # type: ignore[operator]
        return Setting(name, multiplier=multiplier)

    def _side(self, owner: str, array: Array) -> str:
        sides = [
            name
            for name in ("embed", "head", "stacked")
            if (match := getattr(self, name)) is not None
            and matches(owner, match, array)
        ]
        if len(sides) > 1:
            raise ValueError(
                f"{owner}: {array.path} matches both {sides[0]}="
                f"{getattr(self, sides[0])!r} and {sides[1]}="
                f"{getattr(self, sides[1])!r}; make one of them narrower."
            )
        return sides[0] if sides else "layer"


def _size(owner: str, stacks: Sequence[Array]) -> int:
    """The number of stacked layers."""
    first = stacks[0]
    for array in stacks:
        if not array.like.shape or array.like.shape[0] != (*first.like.shape, 0)[0]:
            raise ValueError(
                f"{owner}: stacked arrays must have one slice a layer along their "
                f"first axis, got {first.path} of shape {first.like.shape} and "
                f"{array.path} of shape {array.like.shape}."
            )
    return int(first.like.shape[0])

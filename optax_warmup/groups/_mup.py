"""Width multipliers: the maximal update parametrization."""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from optax_warmup import _check
from optax_warmup.groups._match import Array, Match, arrays_of, checked_match, matches
from optax_warmup.groups._rule import RuleSet, Setting, Settings

_VECTORS = r"(^|[/._])(b|bias|scale|offset|gamma|beta)$"


class _Width(NamedTuple):
    """How an array has grown: its role, and its fan-in and fan-out, old to new."""

    role: str  # "input" (biases and norms too), "hidden", "output" or "fixed"
    fan_in: float
    fan_out: float


@dataclasses.dataclass(frozen=True, repr=False)
class _ByWidth(RuleSet):
    """What all have in common: which arrays grow with the width, and how.

    Args:
        base_params: the parameters of the model at the width at which the rate was
            tuned: arrays, or their shapes as of `jax.eval_shape`.
        readout_multiplier: whether the model multiplies its output by 1 / (its width /
            the base width).
        out_first: whether the first axis of a matrix is its output, as in torch.
        inputs: which arrays have an axis that is their output, as biases and embeddings
            do, where shapes do not tell.
        outputs: which arrays have an axis that is their input, as the last matrix has.
    """

    base_params: dataclasses.InitVar[Any]
    readout_multiplier: bool = dataclasses.field(default=False, kw_only=True)
    out_first: bool = dataclasses.field(default=False, kw_only=True)
    inputs: Match = dataclasses.field(default=_VECTORS, kw_only=True)
    outputs: Match | None = dataclasses.field(default=None, kw_only=True)
    base: tuple[Array, ...] = dataclasses.field(default=(), init=False)

    @property
    def _owner(self) -> str:
        return f"groups.{type(self).__name__}"

    def __post_init__(self, base_params: Any) -> None:
        _check.flag(self._owner, "readout_multiplier", self.readout_multiplier)
        _check.flag(self._owner, "out_first", self.out_first)
        checked_match(self._owner, "inputs", self.inputs)
        if self.outputs is not None:
            checked_match(self._owner, "outputs", self.outputs)
        try:
            base = tuple(arrays_of(base_params))
        except TypeError as error:
            raise TypeError(
                f"{self._owner}: base_params must be a tree of arrays or of their "
                f"shapes, got {base_params!r}."
            ) from error
        if not base:
            raise ValueError(f"{self._owner}: base_params holds no arrays.")
        object.__setattr__(self, "base", base)

    def __repr__(self) -> str:
        return f"{self._owner}(<shapes of {len(self.base)} arrays>)"

    def settings(self, owner: str, arrays: Sequence[Array]) -> Settings:
        """The setting of each array, by its shape and that in the base model."""
        base = {array.path: array for array in self.base}
        found: Settings = []
        for array in arrays:
            if array.path not in base:
                raise ValueError(
                    f"{owner}: base_params of {self._owner} has no {array.path}. Both "
                    "models must have the same parameters, but for their widths."
                )
            width = self._width(owner, base[array.path], array)
            found.append((self._setting(width),))
        return found

    @abc.abstractmethod
    def _setting(self, width: _Width) -> Setting:
        """What an array gets."""

    def _width(self, owner: str, base: Array, array: Array) -> _Width:
        old, new = base.like.shape, array.like.shape
        if len(old) != len(new):
            raise ValueError(
                f"{owner}: {array.path} has shape {new}, and {old} in base_params of "
                f"{self._owner}; the number of axes must not change."
            )
        ratios = [n / o if o else 1.0 for n, o in zip(new, old, strict=True)]
        grown = [axis for axis, ratio in enumerate(ratios) if ratio != 1]
        if not grown:
            return _Width("fixed", 1.0, 1.0)
        by_name = matches(owner, self.inputs, array)
        if by_name or len(grown) == 1:
            ratio = math.prod(ratios)
            if not by_name and self._is_output(owner, array, grown[0]):
                return _Width("output", ratio, 1.0)
            return _Width("input", 1.0, ratio)
        if len(grown) > 2:
            raise ValueError(
                f"{owner}: {array.path} grows along {len(grown)} axes, from {old} to "
                f"{new}. Let width grow in two at most: change the number of heads or "
                "their size, and keep the number of layers."
            )
        first, second = (ratios[axis] for axis in grown)
        return _Width(
            "hidden", *((second, first) if self.out_first else (first, second))
        )

    def _is_output(self, owner: str, array: Array, axis: int) -> bool:
        """Whether the only axis that grows is the input of an array."""
        if self.outputs is not None and matches(owner, self.outputs, array):
            return True
        axes = len(array.like.shape)
        if axes == 1:
            return False
        if axes == 2:
            return (axis == 1) is self.out_first
        if not self.out_first and axis in (axes - 1, axes - 2) and axes != 3:
            return axis == axes - 2  # a convolution: (height, width, in, out)
        if not self.out_first and axis in (0, 2) and axes == 3:
            return axis == 0  # attention: (heads, size, out)
        raise ValueError(
            f"{owner}: {array.path} of shape {array.like.shape} grows along axis "
            f"{axis}; whether that is its input or its output cannot be told. Say "
            "outputs= or inputs=, a regular expression that matches it."
        )


class mup_adam(_ByWidth):
    """Scales the rates of Adam with the width, so that the best rate stays (muP).

    With r_in and r_out the fan-in and fan-out of an array over those in the base model,
    multipliers of the rate are

        input arrays, embeddings, biases, norms: 1,   hidden matrices: 1 / r_in,
        output matrices: 1 / r_in, or 1 with `readout_multiplier`

    and those of the weight decay are their inverses, so that rate times decay does not
    change with the width. Which arrays grow, and along which axes, is told by the
    shapes in both models. A matrix is taken to be (in, out).

    The rates are one half of the parametrization. The model must begin with the other
    half: hidden matrices of variance 1 / fan_in; output matrices of 1 / (r_in fan_in),
    or 1 / fan_in of the base with `readout_multiplier`; attention scores divided by the
    size of a head, not its root, if that grows. Adam's eps is scaled by `scale_eps`.

    Args:
        base_params: the parameters of the model at the width at which the rate was
            tuned: arrays, or their shapes, as of `jax.eval_shape`.
        readout_multiplier: whether the model multiplies its output by 1 / r_in, as in
            table 8 of the paper; False is table 3.
        out_first: whether a matrix is (out, in), as in torch.
        inputs: which arrays have only outputs, such as biases of several axes: a
            regular expression or a function, as for `Rule`. As it stands it finds
            bias, scale, b, offset, gamma and beta.
        outputs: which arrays have only inputs that grow, where shapes do not tell.

    Raises:
        TypeError: an argument is of another type.
        ValueError: `base_params` is empty; later, where it is used, models differ by
            more than widths, or the role of an array cannot be told.

    Example:
        >>> import jax, jax.numpy as jnp, optax_warmup as ow
        >>> def shapes(width):
        ...     sizes = {"in": (8, width), "mid": (width, width), "out": (width, 4)}
        ...     return jax.eval_shape(lambda: {k: jnp.ones(sizes[k]) for k in sizes})
        >>> rules = ow.groups.mup_adam(shapes(64))
        >>> print(ow.groups.table(rules, shapes(256)))
        path  shape       rule    multiplier  learning rate  decay
        in    (8, 256)    input            1  common             1
        mid   (256, 256)  hidden        0.25  common             4
        out   (256, 4)    output        0.25  common             4

    Source: G. Yang et al., "Tensor Programs V: Tuning Large Neural Networks via
    Zero-Shot Hyperparameter Transfer", 2022, arXiv:2203.03466, tables 3 and 8.
    """

    def _setting(self, width: _Width) -> Setting:
        multipliers = {
            "hidden": 1 / width.fan_in,
            "output": 1.0 if self.readout_multiplier else 1 / width.fan_in,
        }
        return _with_inverse_decay(width.role, multipliers.get(width.role, 1.0))


class mup_sgd(_ByWidth):
    """Scales the rates of SGD with the width, so that the best rate stays (muP).

    As `mup_adam`, with the multipliers

        input arrays, embeddings, biases, norms: r_out,   hidden matrices: r_out / r_in,
        output matrices: 1 / r_in, or r_in with `readout_multiplier`

    Args:
        base_params: as for `mup_adam`.
        readout_multiplier: as for `mup_adam`.
        out_first: as for `mup_adam`.
        inputs: as for `mup_adam`.
        outputs: as for `mup_adam`.

    Raises:
        TypeError, ValueError: as `mup_adam`.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> rules = ow.groups.mup_sgd({"w": jnp.ones((8, 8)), "bias": jnp.ones(8)})
        >>> params = {"w": jnp.ones((32, 32)), "bias": jnp.ones(32)}
        >>> print(ow.groups.table(rules, params))
        path  shape     rule    multiplier  learning rate  decay
        bias  (32,)     input            4  common          0.25
        w     (32, 32)  hidden           1  common             1

    Source: as `mup_adam`.
    """

    def _setting(self, width: _Width) -> Setting:
        up = self.readout_multiplier
        multipliers = {
            "input": width.fan_out,
            "hidden": width.fan_out / width.fan_in,
            "output": width.fan_in if up else 1 / width.fan_in,
        }
        return _with_inverse_decay(width.role, multipliers.get(width.role, 1.0))


class mup_eps(_ByWidth):
    """Scales Adam's eps with the width, as gradients scale under muP.

    Multipliers of eps, for `scale_eps`: 1 / r_out for input arrays and hidden matrices,
    1 for output matrices, or 1 / r_in with `readout_multiplier`.

    Args:
        base_params: as for `mup_adam`.
        readout_multiplier: as for `mup_adam`.
        out_first: as for `mup_adam`.
        inputs: as for `mup_adam`.
        outputs: as for `mup_adam`.

    Raises:
        TypeError, ValueError: as `mup_adam`.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> base, params = {"w": jnp.ones((8, 8))}, {"w": jnp.ones((32, 32))}
        >>> optimizer = optax.chain(
        ...     ow.groups.scale_eps(ow.groups.mup_eps(base)),  # eps = 1e-8 / 4
        ...     optax.scale_by_adam(eps=1e-8),
        ...     ow.groups.scale_by_rules(
        ...         ow.groups.mup_adam(base), 1e-3, weight_decay=0.1
        ...     ),
        ... )
        >>> state = optimizer.init(params)
        >>> round(ow.learning_rate(state), 8)
        0.00025

    Source: K. Everett et al., "Scaling Exponents Across Parameterizations and
    Optimizers", 2024, arXiv:2407.05872 (that eps must scale as the gradients do).
    """

    def _setting(self, width: _Width) -> Setting:
        if width.role == "output":
            return Setting(
                "output", 1 / width.fan_in if self.readout_multiplier else 1.0
            )
        return Setting(width.role, 1 / width.fan_out)


def _with_inverse_decay(role: str, multiplier: float) -> Setting:
    return Setting(role, multiplier=multiplier, decay=1 / multiplier)

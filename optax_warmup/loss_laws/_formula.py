"""The multi-power law: the loss of a run as a function of its learning rates.

    L(t) = L0 + A S(t)**-alpha
           - B sum_k (eta_(k-1) - eta_k) (1 - (1 + C eta_k**-gamma (S(t) - S_k))**-beta)

S(t) is the sum of the learning rates of the first t updates, S_k that of the updates
before k, and eta_k the rate of update k, with 0 before the first. The second part is
what changes of the rate bring: a decrease brings B times its size in the end, at first
nothing and then more and more of it. An increase, as in a warmup, takes as much away.

The sum is that over each update if the rate changes at no more than `GROUPS` of them,
or if the schedule is traced. Else changes that follow each other are added up, and
placed at the mean of their S_k.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup._schedules.schedule import Schedule, ScheduleLike, as_schedule

# The sum over the changes of the rate has about so many terms. For one decay the loss
# is then off by up to 1e-3 on the way, as a step inside a group counts all of it or
# none, and by up to 4e-4 at the end; for a rate that goes up and down all the time by
# some 5e-3.
GROUPS = 256
_LONGEST = 2**18  # updates that are evaluated one by one
# A rate has begun to fall if it is below its maximum by more than rounding.
_ROUNDING = 1e-6
# The law has 1 / eta. Where a schedule ends at 0, nothing is summed behind it.
_SMALLEST = 1e-7


class Constants(NamedTuple):
    """The constants of the law, in the units of the learning rate."""

    L0: Any
    A: Any
    alpha: Any
    B: Any
    C: Any
    beta: Any
    gamma: Any


class Path(NamedTuple):
    """What the law needs to know of a schedule, to predict the loss at some steps.

    Attributes:
        sums: the sum of the rates before each of the steps, shape (steps,).
        decreases: by how much the rate falls at the k-th change, shape (changes,).
        sums_before: the sum of the rates before that change.
        rates_after: the rate after it.
    """

    sums: Any
    decreases: Any
    sums_before: Any
    rates_after: Any


class Rates(NamedTuple):
    """The learning rates of a run: of every update, or of every `stride`-th one."""

    values: np.ndarray
    stride: int

    @property
    def peak(self) -> float:
        """The highest rate."""
        return float(self.values.max())

    @property
    def begin(self) -> int:
        """The first of the values that is below those before it; their number if none.

        What comes before is a warmup or constant.
        """
        highest = np.maximum.accumulate(self.values)
        falls = self.values < highest * (1 - _ROUNDING)
        return int(falls.argmax()) if falls.any() else len(falls)

    @property
    def warmup_end(self) -> int:
        """The step at which the rate reaches the maximum that it first falls from."""
        first = self.values[: max(self.begin, 1)]
        return int((first >= first.max() * (1 - _ROUNDING)).argmax()) * self.stride

    @property
    def top(self) -> int:
        """The first step at the peak, behind a warmup of any number of stages.

        One step later if it is the last one, since then the rate rises to the end.
        """
        first = int((self.values >= self.peak * (1 - _ROUNDING)).argmax())
        return (first + (first == len(self.values) - 1)) * self.stride


def one_schedule(x: ScheduleLike, owner: str, name: str) -> Schedule:
    """Converts `x` to a schedule; refuses a stack of several."""
    schedule = as_schedule(x, owner, name)
    shape = np.shape(jax.eval_shape(schedule, jnp.int32(0)))
    if shape != ():
        raise ValueError(
            f"{owner}: {name} must be one schedule, got a stack of shape {shape}."
        )
    return schedule


def rates_of(schedule: Schedule, steps: int) -> Rates:
    """Evaluates a schedule at the first `steps` updates."""
    stride = -(-steps // _LONGEST)
    values = np.asarray(schedule(np.arange(0, steps, stride)), np.float64)
    return Rates(values, stride)


def path(rates: Rates, steps: np.ndarray, groups: int = GROUPS) -> Path:
    """Returns what the law needs to predict the loss after `steps` updates."""
    values, stride = rates
    sums = np.concatenate([[0.0], np.cumsum(values) * stride])
    decreases = np.concatenate([[0.0], values[:-1]]) - values
    after = np.maximum(values, max(_SMALLEST * rates.peak, 1e-30))
    positions = np.asarray(steps, np.float64) / stride
    return Path(
        np.interp(positions, np.arange(len(sums)), sums),
        *_grouped(decreases, sums[:-1], after, groups),
    )


def _grouped(
    decreases: np.ndarray, before: np.ndarray, after: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Adds up decreases that follow each other, until about `groups` are left."""
    sizes = np.abs(decreases)
    real = sizes > 0
    decreases, before, after = decreases[real], before[real], after[real]
    sizes = sizes[real]
    if len(sizes) <= groups:
        return decreases, before, after
    filled = np.cumsum(sizes) / sizes.sum()
    group = np.minimum(filled * groups, groups - 1).astype(int)
    # A rise and a fall beside each other are not added up: they would cancel.
    group = np.unique(2 * group + (decreases > 0), return_inverse=True)[1]
    weight = np.bincount(group, sizes)

    def mean(x: np.ndarray) -> np.ndarray:
        return np.bincount(group, sizes * x) / weight

    return np.bincount(group, decreases), mean(before), mean(after)


def traced_path(schedule: Schedule, steps: int) -> Path:
    """The same for one number of steps and a schedule whose numbers may be traced."""
    values = schedule(jnp.arange(steps))
    sums = jnp.concatenate([jnp.zeros(1), jnp.cumsum(values)])
    decreases = jnp.concatenate([jnp.zeros(1), values[:-1]]) - values
    after = jnp.maximum(values, jnp.maximum(_SMALLEST * jnp.max(values), 1e-30))
    return Path(sums[-1:], decreases, sums[:-1], after)


def loss(constants: Constants, path: Path, xp: Any = np) -> Any:
    """Evaluates the law at the steps of a path, in NumPy or in jax.numpy."""
    power, gain = terms(constants, path, xp)
    return constants.L0 + constants.A * power - constants.B * gain


def terms(constants: Constants, path: Path, xp: Any = np) -> tuple[Any, Any]:
    """Returns the two parts of the law without their factors A and B."""
    behind = xp.maximum(path.sums[:, None] - path.sums_before, 0.0)
    # The loss is infinite while the sum of the rates is 0.
    with np.errstate(divide="ignore", over="ignore"):
        grown = 1 + constants.C * path.rates_after**-constants.gamma * behind
        gain = (1 - grown**-constants.beta) @ path.decreases
        return path.sums**-constants.alpha, gain

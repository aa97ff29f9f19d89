"""The methods that are compared. Each builds an optimizer for a task and a peak rate.

At a given peak all share the optimizer and the decay: only the warmup differs. The
exceptions are methods that replace the learning rate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

import optax_warmup as ow

from . import first_version
from .optimizers import DECAYS, MOMENTUM, OPTIMIZERS
from .tasks import Task

# Lengths of the tuned linear warmup, as fractions of the run; above 1 it never ends.
LENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0)

Optimizer: TypeAlias = optax.GradientTransformation


@dataclass(frozen=True)
class Arm:
    """A method.

    `build(task, peak, length)` makes the optimizer; peak and length, in updates, may be
    traced. `lengths` are those to choose from, as fractions of the run; most methods
    have one, which they do not read. `one_peak`: the rate is the method's own affair.
    `final(state, params)` are the parameters to evaluate. `uses`: functions of the
    library; when their modules change, old runs are stale.
    """

    name: str
    build: Callable[[Task, Any, Any], Optimizer]
    lengths: tuple[float, ...] = (0.0,)
    one_peak: bool = False
    only_adam: bool = False
    final: Callable[[Any, Any], Any] = lambda state, params: params
    uses: tuple[Callable[..., Any], ...] = ()

    def suits(self, task: Task) -> bool:
        return task.optimizer == "adam" or not self.only_adam


def decayed(task: Task, peak: Any) -> optax.Schedule:
    return lambda step: peak * DECAYS[task.decay](jnp.asarray(step / task.steps))


def complete(task: Task, peak: Any) -> Optimizer:
    return OPTIMIZERS[task.optimizer](decayed(task, peak))


def linear(task: Task, peak: Any, length: Any) -> Optimizer:
    factor = ow.scale_by_warmup(lambda step: jnp.minimum(1, (step + 1) / length))
    return optax.chain(complete(task, peak), factor)


def automatic(task: Task, peak: Any, length: Any) -> Optimizer:
    return ow.automatic_warmup(complete(task, peak))


def judged(task: Task, peak: Any, length: Any) -> Optimizer:
    return ow.automatic_warmup(complete(task, peak), feedback=True)


def first(task: Task, peak: Any, length: Any) -> Optimizer:
    momentum = MOMENTUM.get(task.optimizer, 0.9)
    return first_version.automatic_warmup(complete(task, peak), task.steps, momentum)


def prodigy(task: Task, peak: Any, length: Any) -> Optimizer:
    return optax.contrib.prodigy(decayed(task, 1.0), betas=(0.9, 0.99))


def d_adaptation(task: Task, peak: Any, length: Any) -> Optimizer:
    return optax.contrib.dadapt_adamw(decayed(task, 1.0), betas=(0.9, 0.99))


def schedule_free(task: Task, peak: Any, length: Any) -> Optimizer:
    warmup = ow.warmup(peak, max(1, task.steps // 20), offset=1)
    return optax.contrib.schedule_free(optax.rmsprop(warmup, 0.99, eps=1e-8), peak, 0.9)


ARMS = (
    Arm("linear", linear, LENGTHS),
    Arm("automatic", automatic, uses=(ow.automatic_warmup,)),
    Arm("with feedback", judged, uses=(ow.automatic_warmup,)),
    Arm("none", linear, (0.0,)),
    Arm("5 %", linear, (0.05,)),
    Arm("10 %", linear, (0.1,)),
    Arm("first version", first),
    Arm("prodigy", prodigy, one_peak=True, only_adam=True),
    Arm("D-Adaptation", d_adaptation, one_peak=True, only_adam=True),
    Arm(
        "schedule-free",
        schedule_free,
        only_adam=True,
        final=optax.contrib.schedule_free_eval_params,
    ),
)
BY_NAME = {arm.name: arm for arm in ARMS}


def realised(state: optax.OptState) -> jax.Array:
    """The factor of the last update; 1 where the method has none."""

    def has_factor(node: Any) -> bool:
        return hasattr(node, "factor")

    nodes = jax.tree.leaves(state, is_leaf=has_factor)
    found = [node.factor for node in nodes if has_factor(node)]
    return found[0] if found else jnp.float32(1)

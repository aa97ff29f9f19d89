"""The methods that are compared: each makes an optimizer from a task and a peak rate.

All share the same decay, a cosine from the peak to 0 over the whole run, which the
warmup multiplies. So at a given peak only the warmup differs.
"""

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow

from .tasks import Task

# Lengths of linear warmups, as fractions of the run; above 1 they never reach the peak.
LENGTHS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 2.0, 5.0)

Optimizer: TypeAlias = optax.GradientTransformation
Wrapper = Callable[[optax.GradientTransformation], optax.GradientTransformation]


@dataclass(frozen=True)
class Arm:
    """A way to warm up: a factor known before the run, or an optimizer of its own.

    `factor(task, length)` is a schedule; `length` is that of a linear warmup, and other
    arms ignore it. All arms with a factor run the same program, whose argument it is.
    `build(task, peak)` is an optimizer; the peak may be traced. An arm with neither
    gets its factors from the plan.
    """

    name: str
    factor: Callable[[Task, Any], optax.Schedule] | None = None
    build: Callable[[Task, Any], optax.GradientTransformation] | None = None
    # Functions of the library; if their code changes, old runs are stale.
    uses: tuple[Callable, ...] = ()
    only_adam: bool = False

    def suits(self, task: Task) -> bool:
        return task.optimizer == "adamw" or not self.only_adam

    def factors(self, task: Task, length: int | None = None) -> np.ndarray | None:
        """The factor of each update, float32 [steps], or None if it is not known."""
        if self.factor is None:
            return None
        factors = self.factor(task, length)(np.arange(task.steps))
        return np.broadcast_to(np.asarray(factors, np.float32), (task.steps,))

    def optimizer(
        self, task: Task, peak: Any, factors: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        if self.build is not None:
            return optax.with_extra_args_support(self.build(task, peak))
        factors = jnp.asarray(factors)
        scale = ow.scale_by_warmup(lambda step: factors[step])
        return optax.with_extra_args_support(optax.chain(complete(task, peak), scale))


def complete(task: Task, peak: Any, wrap: Wrapper = lambda adam: adam) -> Optimizer:
    """The optimizer without warmup: at its peak rate from the first update, then decay.

    `wrap` goes around Adam alone, inside of weight decay and learning rate.
    """
    rate = ow.scale_by_learning_rate(
        ow.transition(peak, 0.0, task.steps, ow.shapes.cosine)
    )
    if task.optimizer == "sgd":
        return optax.chain(optax.trace(task.b1), rate)
    adam = wrap(optax.scale_by_adam(task.b1, task.b2))
    return optax.chain(adam, optax.add_decayed_weights(task.weight_decay), rate)


def stable(task: Task, peak: Any) -> Optimizer:
    clip = functools.partial(ow.clip_update_rms, b2=task.b2)
    return complete(task, peak, clip)


def automatic(task: Task, peak: Any, told: float = 1.0) -> Optimizer:
    return ow.automatic_warmup(complete(task, peak), round(told * task.steps))


ARMS = (
    Arm("none", lambda task, _: ow.constant(1.0)),
    Arm("linear", lambda task, length: ow.warmup(1.0, length, offset=1)),
    Arm(
        "untuned_linear",
        lambda task, _: ow.factors.untuned_linear(task.b2),
        only_adam=True,
    ),
    Arm(
        "untuned_exponential",
        lambda task, _: ow.factors.untuned_exponential(task.b2),
        only_adam=True,
    ),
    Arm("radam", lambda task, _: ow.factors.radam(task.b2), only_adam=True),
    Arm(
        "gi_adam",
        build=lambda task, peak: complete(
            task, peak, ow.init_second_moment_from_gradient
        ),
        uses=(ow.init_second_moment_from_gradient,),
        only_adam=True,
    ),
    Arm(
        "stable_adamw",
        build=stable,
        uses=(ow.clip_update_rms,),
        only_adam=True,
    ),
    Arm("automatic", build=automatic, uses=(ow.automatic_warmup,)),
    # Does it matter if the length of the run is known only roughly?
    Arm(
        "told_half",
        build=functools.partial(automatic, told=0.5),
        uses=(ow.automatic_warmup,),
    ),
    Arm(
        "told_twice",
        build=functools.partial(automatic, told=2.0),
        uses=(ow.automatic_warmup,),
    ),
    Arm("replay"),  # the mean factor of automatic: does it matter that it adapts?
    Arm("shuffled"),  # its growth in another order: does it matter when it grows?
)
BY_NAME = {arm.name: arm for arm in ARMS}


def realised(state: optax.OptState) -> jax.Array:
    """The factor of the last update; 1 if the warmup is inside of Adam's state."""
    kinds = (ow.states.AutomaticWarmupState, ow.states.ScaleByWarmupState)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds))
    found = [node.factor for node in nodes if isinstance(node, kinds)]
    return found[0] if found else jnp.float32(1)


def code_version(arm: Arm) -> str:
    """A hash of the method's code, without its comments and docstrings."""
    paths = sorted({inspect.getfile(function) for function in arm.uses})
    text = ""
    for path in paths:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and is_text(body[0]):
                body.pop(0)
        text += ast.dump(tree)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

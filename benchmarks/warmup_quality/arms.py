"""The methods that are compared: each makes an optimizer from a task and a peak rate.

All share one decay, a cosine from the peak to 0 over the whole run, which the warmup
multiplies. So at a given peak arms differ in nothing but the warmup.
"""

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_warmup as ow

from .tasks import Task

# Of linear warmups, as fractions of the run; beyond 1 the peak is never reached.
LENGTHS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 2.0, 5.0)

Optimizer = optax.GradientTransformationExtraArgs
Wrapper = Callable[[optax.GradientTransformation], optax.GradientTransformation]


@dataclass(frozen=True)
class Arm:
    """A way to warm up: a factor known before the run, or an optimizer of its own.

    With `factor(task, length)`, a schedule for the length of a linear warmup (others
    ignore it): all these arms run the same program, to which their factors are an
    argument. Else `build(task, peak)`, where the peak may be traced. Arms with neither
    are given their factors by the plan.
    """

    name: str
    factor: Callable[[Task, int | None], optax.Schedule] | None = None
    build: Callable[[Task, Any], optax.GradientTransformation] | None = None
    uses: tuple[Callable, ...] = ()  # of the library: new code makes old runs stale
    only_adam: bool = False

    def suits(self, task: Task) -> bool:
        return task.optimizer == "adamw" or not self.only_adam

    def factors(self, task: Task, length: int | None = None) -> np.ndarray | None:
        """What each update is multiplied by, float32 [steps], where that is known."""
        if self.factor is None:
            return None
        factors = self.factor(task, length)(np.arange(task.steps))
        return np.broadcast_to(np.asarray(factors, np.float32), (task.steps,))

    def optimizer(self, task: Task, peak: Any, factors: Any = None) -> Optimizer:
        if self.build is not None:
            return optax.with_extra_args_support(self.build(task, peak))
        factors = jnp.asarray(factors)
        return optax.chain(
            complete(task, peak), ow.scale_by_warmup(lambda step: factors[step])
        )


def complete(task: Task, peak: Any, wrap: Wrapper = lambda adam: adam) -> Optimizer:
    """The optimizer at its peak rate from the first update on; then the shared decay.

    With `wrap` around Adam proper: inside of weight decay and learning rate.
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
    # Does it matter that the length of the run is well known?
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
    Arm("replay"),  # the automatic's mean factor: does it matter that it adapts?
    Arm("shuffled"),  # its growth at other times: does it matter when it grows?
)
BY_NAME = {arm.name: arm for arm in ARMS}


def realised(state: optax.OptState) -> jax.Array:
    """What the last update was multiplied by; 1 where Adam's state does the warmup."""
    kinds = (ow.states.AutomaticWarmupState, ow.states.ScaleByWarmupState)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds))
    found = [node.factor for node in nodes if isinstance(node, kinds)]
    return found[0] if found else jnp.float32(1)


def code_version(arm: Arm) -> str:
    """Changes when the code of the method does; not with its comments or docstrings."""
    paths = sorted({inspect.getsourcefile(function) for function in arm.uses})
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

"""Random optimizers: the rate that is reported must be the rate that is applied.

Each optimizer is built twice: as it is, and its twin, with 1 in place of every rate and
factor. Both see the same gradients and parameters, so what the first does to an array
is what its twin does, times the rate that was applied, whatever the two are made of.
An optimizer, or reading its rate, may be refused with an error that names its function.
"""

import random
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from fuzz_optimizers import Both, optimizer, path_of
from fuzz_schedules import Outcome

import optax_warmup as ow

STEPS = 6
EXACT = 2e-5  # relative; both round the same direction
PARAMS = {
    "embed": {"w": jnp.linspace(0.5, 2.0, 6).reshape(2, 3)},
    "layers_0": {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.ones(3)},
    "layers_1": {"w": jnp.linspace(1.0, -2.0, 6).reshape(2, 3), "b": jnp.ones(3)},
    "head": {"w": jnp.linspace(2.0, 0.1, 6).reshape(2, 3)},
}


def try_chains(rng: random.Random, index: int) -> list[Outcome]:
    text = "not built"
    try:
        both = optimizer(rng)
        text = both.text
        # Operation by operation: nothing is compiled as a whole, but for a few.
        with jax.disable_jit(index % 50 != 0):
            return [(_trained(both, rng, compiled=index % 50 == 0), text)]
    except (TypeError, ValueError) as error:
        named = str(error).partition(": ")[0].replace(".", "_").isidentifier()
        return [("refused" if named else f"unclear error {error}", text)]
    except Exception as error:  # noqa: BLE001 what else comes is what is looked for
        return [(f"raised {type(error).__name__}: {error}", text)]


def _trained(both: Both, rng: random.Random, *, compiled: bool) -> str:
    """Trains for a few steps; says "right", or which rate is not as reported."""
    params, ours, twin = PARAMS, *map(optax.with_extra_args_support, both[:2])
    state, other = ours.init(params), twin.init(params)
    update = (jax.jit(ours.update), jax.jit(twin.update))
    if not compiled:
        update = ours.update, twin.update
    draw = np.random.default_rng(rng.getrandbits(32))
    first = ow.learning_rates(state, schedule=both.given)
    for step in range(STEPS):
        grads = jax.tree.map(
            lambda x: jnp.asarray(draw.normal(size=x.shape), jnp.float32), params
        )
        loss = jnp.float32(rng.choice((1.0, 0.9, 1.1, 1.0)))
        updates, state = update[0](grads, state, params, value=loss)
        directions, other = update[1](grads, other, params, value=loss)
        reported = ow.learning_rates(state, schedule=both.given)
        found = _compared(reported, updates, directions, both.label)
        if found != "right":
            return f"at step {step}: {found}"
        if set(first) != set(reported):
            return f"at step {step}: groups {set(first)}, then {set(reported)}"
        params = optax.apply_updates(params, updates)
    return "right"


def _compared(
    reported: dict[str, Any],
    updates: Any,
    directions: Any,
    label: Callable[[str], str] | None,
) -> str:
    """Each array moves by a reported rate times its direction, and each rate is used.

    Where the twin does not move either, as between updates of an accumulation, nothing
    is known of the rate.
    """
    if not all(np.isfinite(rate) for rate in reported.values()):
        return f"reported {reported}"
    used: set[str] = set()
    moving, of = True, dict(jax.tree.leaves_with_path(directions))
    for place, leaf in jax.tree.leaves_with_path(updates):
        path = path_of(place)
        wanted, update = (np.asarray(x, np.float64) for x in (of[place], leaf))
        largest = np.abs(wanted).max()
        if not largest:
            moving = False
            if update.any():
                return f"{path} moves where its twin does not"
            continue
        fitting = {
            name
            for name, rate in reported.items()
            if np.allclose(update, rate * wanted, EXACT, EXACT * largest * rate)
        }
        own = label(path) if label else ""
        if own in reported:
            fitting = {name for name in fitting if own in name.split("/")}
        if not fitting:
            applied = float(update.ravel()[0] / wanted.ravel()[0])
            return f"{path} moves at {applied:.6g}, reported are {reported}"
        used |= fitting
    # Which parameters a mask around a factor lets through, no state shows, nor which
    # are in one part of a partition and in one of another.
    shown = not any("/" in name or "masked" in name for name in reported)
    if moving and shown and used != set(reported):
        return f"no array moves at the reported {set(reported) - used} of {reported}"
    return "right"

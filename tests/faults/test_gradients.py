"""Sixty bad gradients against each chain that the docs recommend.

Five numbers, at four places of a run, in three dtypes of parameters. A chain survives
if every parameter ends where that of the undisturbed run does. The way there is long
enough that a frozen coordinate does not get there.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from selection import parametrize

import optax_warmup as ow

STEPS, WARMUP, EVERY = 160, 20, 4
SCHEDULE = ow.warmup_linear(0.05, WARMUP, 400, offset=1)
TARGET = jnp.array([1.5, -0.5, 0.75, 2.0])

NUMBERS = {
    "nan": jnp.nan,
    "inf": jnp.inf,
    "1e20": 1e20,
    "1e38": 1e38,
    "denormal": 1e-40,
}
PLACES = {"first": 0, "second": 1, "mid-warmup": WARMUP // 2, "accumulating": 42}
DTYPES = ("float32", "bfloat16", "float16")
BAD = list(itertools.product(NUMBERS, PLACES, DTYPES))

# With parameters in 16 bits only `protect` is recommended.
WIDE = {
    "skip(clip, adamw)": lambda: ow.skip_nonfinite(
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(SCHEDULE))
    ),
    "skip(clip, automatic)": lambda: ow.skip_nonfinite(
        optax.chain(
            optax.clip_by_global_norm(1.0),
            ow.automatic_warmup(optax.adamw(0.05)),
        )
    ),
}
ANY = {
    "protect(adamw)": lambda: ow.guards.protect(optax.adamw(SCHEDULE)),
    "protect(automatic)": lambda: ow.guards.protect(
        ow.automatic_warmup(optax.adamw(0.05))
    ),
    "protect(record(lion))": lambda: ow.guards.protect(
        optax.chain(optax.scale_by_lion(), ow.scale_by_learning_rate(0.01))
    ),
    "protect(sgd)": lambda: ow.guards.protect(optax.sgd(SCHEDULE, 0.9)),
    "skip_spikes(protect)": lambda: ow.guards.skip_spikes(
        ow.guards.protect(ow.record_moments(optax.adamw(SCHEDULE))), window=16
    ),
    "protect(clip_update_norm)": lambda: ow.guards.protect(
        optax.chain(
            optax.scale_by_adam(),
            ow.guards.clip_update_norm(window=16),
            ow.scale_by_learning_rate(SCHEDULE),
        )
    ),
}
CHAINS = ANY | WIDE


@functools.cache
def run(chain, accumulate):
    """A training, compiled once for each dtype: (dtype, number, step) -> parameters."""
    optimizer = CHAINS[chain]()
    if accumulate:
        optimizer = ow.skip_nonfinite(optax.MultiSteps(CHAINS[chain](), EVERY))

    @functools.partial(jax.jit, static_argnums=0)
    def training(dtype, bad, at):
        params = {"w": jnp.zeros(4, dtype), "b": jnp.full((), 0.5, dtype)}

        def step(carry, k):
            params, state = carry
            gradient = {"w": params["w"] - TARGET.astype(dtype), "b": 0.1 * params["b"]}
            spoilt = gradient["w"].at[1].set(bad.astype(dtype))
            gradient["w"] = jnp.where(k == at, spoilt, gradient["w"])
            updates, state = optimizer.update(gradient, state, params)
            moved = optax.apply_updates(params, updates)
            return (moved, state), None

        carry = (params, optimizer.init(params))
        times = STEPS * (EVERY if accumulate else 1)
        (params, _), _ = jax.lax.scan(step, carry, jnp.arange(times))
        return params

    return training


NEVER = jnp.int32(-1)


def distance(params, others):
    """The largest difference of two parameters, NaN if one is not finite."""
    differences = jax.tree.map(
        lambda x, y: np.abs(
            np.asarray(x, np.float64) - np.asarray(y, np.float64)
        ).max(),
        params,
        others,
    )
    return float(np.max(list(differences.values())))


@pytest.mark.train
@parametrize("chain", list(CHAINS), quick={"protect(adamw)", "skip(clip, automatic)"})
def test_sixty_bad_gradients(chain):
    died = []
    for dtype in DTYPES if chain in ANY else DTYPES[:1]:
        for number, place in itertools.product(NUMBERS, PLACES):
            accumulate = place == "accumulating"
            training = run(chain, accumulate)
            at = jnp.int32(PLACES[place])
            bad = jnp.float32(NUMBERS[number])
            error = distance(training(dtype, bad, at), training(dtype, bad, NEVER))
            if not error < 0.1:
                died.append((number, place, dtype, error))
    assert not died


@pytest.mark.train
@pytest.mark.parametrize("number", ["nan", "1e20"])
def test_the_battery_can_fail(number, monkeypatch):
    """Plain adamw does not survive."""
    monkeypatch.setitem(CHAINS, "plain", lambda: optax.adamw(SCHEDULE))
    training = run("plain", False)
    bad = jnp.float32(NUMBERS[number])
    params, clean = (training("float32", bad, at) for at in (jnp.int32(1), NEVER))
    assert not distance(params, clean) < 0.1

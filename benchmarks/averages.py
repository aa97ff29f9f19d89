"""Compares averages of the parameters with a decay of the learning rate.

    python -m benchmarks.averages [--write]

A small network learns scikit-learn's digits with 20 % of the training labels replaced
at random, so that noise matters. Every method sees the same batches in the same number
of updates; the runs with a constant rate share their trajectory. One program trains all
peaks and seeds.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import optax_warmup as ow
from optax_warmup import averages

UPDATES, WARMUP, COOLDOWN, BATCH = 1000, 50, 200, 32
PEAKS = (1e-3, 3e-3, 1e-2)
SEEDS = 8
EVERY = 20  # updates between snapshots
SNAPSHOTS = COOLDOWN // EVERY
RESULTS = Path(__file__).parent / "results" / "averages.md"
METHODS = {
    "constant": "constant, the last parameters",
    "linear": "linear decay over the whole run",
    "wsd": f"constant, then linear decay over the last {COOLDOWN} (WSD)",
    "exponential": "constant, exponential average, decay 0.99",
    "slow": "constant, exponential average, decay 0.998",
    "polynomial": "constant, polynomial average, power 8",
    "latest": f"constant, mean of {SNAPSHOTS} snapshots, one every {EVERY}",
    "merged": f"constant, checkpoints every {EVERY} merged as a linear decay (WSM)",
    "wsd averaged": "WSD, exponential average, decay 0.99",
}


def data() -> tuple[Any, Any, Any, Any]:
    digits = load_digits()
    random = np.random.default_rng(0)
    order = random.permutation(len(digits.target))
    x, y = digits.data[order] / 16.0, digits.target[order]
    noisy = np.where(random.random(len(y)) < 0.2, random.integers(10, size=len(y)), y)
    return (
        jnp.asarray(x[:1200], jnp.float32),
        jnp.asarray(noisy[:1200]),
        jnp.asarray(x[1200:], jnp.float32),
        jnp.asarray(y[1200:]),
    )


X, Y, HELD_X, HELD_Y = data()


def init(seed: jax.Array) -> dict[str, jax.Array]:
    first, second = jax.random.split(jax.random.key(seed))
    return {
        "w1": jax.random.normal(first, (64, 64)) / 8,
        "b1": jnp.zeros(64),
        "w2": jax.random.normal(second, (64, 10)) / 8,
        "b2": jnp.zeros(10),
    }


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
    logits = hidden @ params["w2"] + params["b2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def run(optimizer: Any, seed: jax.Array) -> tuple[Any, Any, Any]:
    """The last parameters, the last state, and checkpoints every few updates."""
    params = init(seed)

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        params, state = carry
        rows = jax.random.randint(key, (BATCH,), 0, len(Y))
        gradients = jax.grad(loss)(params, X[rows], Y[rows])
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), None

    def some(carry: Any, keys: jax.Array) -> tuple[Any, Any]:
        carry, _ = jax.lax.scan(step, carry, keys)
        return carry, carry[0]

    keys = jax.random.split(jax.random.key(seed + 1000), UPDATES)
    keys = keys.reshape(UPDATES // EVERY, EVERY)
    carry = params, optimizer.init(params)
    (params, state), kept = jax.lax.scan(some, carry, keys)
    return params, state, kept


def losses(peak: jax.Array, seed: jax.Array) -> dict[str, jax.Array]:
    """The held-out loss of each method."""

    def held(params: Any) -> jax.Array:
        return loss(params, HELD_X, HELD_Y)

    def adam(schedule: Any) -> Any:
        return optax.adamw(schedule, weight_decay=0.0)

    def averaged(weight: Any) -> Any:
        _, state, _ = run(averages.average_params(adam(constant), weight), seed)
        return averages.averaged_params(state)

    constant = ow.warmup_constant(peak, WARMUP)
    cooled = ow.cooldown(constant, UPDATES - COOLDOWN, COOLDOWN)
    last, _, kept = run(adam(constant), seed)
    _, snapshots, _ = run(
        averages.average_latest(adam(constant), every=EVERY, size=SNAPSHOTS), seed
    )
    weights = averages.merge_weights(
        ow.transition(1.0, 0.0, COOLDOWN), every=EVERY, checkpoints=SNAPSHOTS + 1
    )
    checkpoints = [
        jax.tree.map(lambda x, i=i: x[i - SNAPSHOTS - 1], kept)
        for i in range(SNAPSHOTS + 1)
    ]
    linear, _, _ = run(adam(ow.warmup_linear(peak, WARMUP, UPDATES)), seed)
    wsd, state, _ = run(
        averages.average_params(adam(cooled), averages.exponential(0.99)), seed
    )
    found = {
        "constant": last,
        "linear": linear,
        "wsd": wsd,
        "exponential": averaged(averages.exponential(0.99)),
        "slow": averaged(averages.exponential(0.998)),
        "polynomial": averaged(averages.polynomial(8)),
        "latest": averages.averaged_params(snapshots),
        "merged": averages.merge(checkpoints, weights.tolist()),
        "wsd averaged": averages.averaged_params(state),
    }
    return {name: held(params) for name, params in found.items()}


def table() -> str:
    points = ow.sweeps.grid(peak=PEAKS, seed=range(SEEDS))
    found = ow.sweeps.sweep(losses, points)
    lines = [
        "# Averages against a decay",
        "",
        "Made by `python -m benchmarks.averages --write` on "
        f"{jax.devices()[0].platform} with jax {jax.__version__}, optax "
        f"{optax.__version__}. Digits with 20 % random labels, 64-64-10 network, "
        f"AdamW, {UPDATES} updates of {BATCH} examples, warmup {WARMUP}. Held-out loss "
        f"in nats: mean over {SEEDS} seeds, and its standard error.",
        "",
        "| method | " + " | ".join(f"peak {peak:g}" for peak in PEAKS) + " |",
        "|---" * (len(PEAKS) + 1) + "|",
    ]
    for name, title in METHODS.items():
        values = found[name].reshape(len(PEAKS), SEEDS)
        means, errors = values.mean(1), values.std(1, ddof=1) / np.sqrt(SEEDS)
        cells = [f"{m:.3f} ± {e:.3f}" for m, e in zip(means, errors, strict=True)]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    text = table()
    print(text)
    if options.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()

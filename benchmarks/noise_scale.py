"""Compares two ways to the gradient noise scale with the truth.

    python -m benchmarks.noise_scale [--write]

A small network learns scikit-learn's digits with Adam and a linear warmup. The truth is
tr(Sigma) / |G|**2 over the per-example gradients of the whole data set: at the
parameters of the update, and with both averaged over the last 40 updates. The record
takes it from the momentum, without any gradients besides those of the training. The
two-batch method (McCandlish et al. 2018, arXiv:1812.06162, appendix A.1) compares the
gradients of quarters of the batch with that of the whole, over the same 40 updates.
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

WARMUP, WINDOW, MICRO = 50, 40, 4
EVERY = 5  # updates between two measurements of the truth
AT = (25, 50, 100, 200, 400, 800)
RUNS = (  # batch, peak rate, b1
    (8, 1e-3, 0.9),
    (32, 1e-3, 0.9),
    (128, 1e-3, 0.9),
    (32, 3e-3, 0.9),
    (32, 1e-3, 0.95),
)
RESULTS = Path(__file__).parent / "results" / "noise_scale.md"
_DIGITS = load_digits()
X = jnp.asarray(_DIGITS.data / 16.0, jnp.float32)
Y = jnp.asarray(_DIGITS.target)


def init(key: jax.Array) -> dict[str, jax.Array]:
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (64, 64)) / 8,
        "b1": jnp.zeros(64),
        "w2": jax.random.normal(second, (64, 10)) / 8,
        "b2": jnp.zeros(10),
    }


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    logits = hidden @ params["w2"] + params["b2"]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return jnp.mean(losses)


def square(tree: Any) -> jax.Array:
    return jnp.asarray(optax.tree.norm(tree, squared=True))


@jax.jit
def truth(params: Any) -> tuple[jax.Array, jax.Array]:
    """tr(Sigma) and |G|**2 of single examples."""

    def one(x: jax.Array, y: jax.Array) -> Any:
        return jax.grad(loss)(params, x[None], y[None])

    each = jax.vmap(one)(X, Y)
    mean = square(jax.tree.map(lambda g: g.mean(axis=0), each))
    n = len(X)
    return (square(each) / n - mean) * n / (n - 1), mean


def run(batch: int, peak: float, b1: float) -> list[tuple[float, ...]]:
    """The numbers of a row of the table, in examples, at each of AT."""
    optimizer = ow.record_moments(
        optax.adam(ow.warmup_constant(peak, WARMUP), b1=b1), samples=None
    )

    def step(carry: Any, key: jax.Array) -> Any:
        params, state = carry
        rows = jax.random.randint(key, (batch,), 0, len(X))
        parts = rows.reshape(MICRO, -1)
        each = jax.vmap(lambda i: jax.grad(loss)(params, X[i], Y[i]))(parts)
        gradients = jax.tree.map(lambda g: g.mean(axis=0), each)
        small, big = square(each) / MICRO, square(gradients)
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), (small, big)

    @jax.jit
    def some(carry: Any, keys: jax.Array) -> Any:
        return jax.lax.scan(step, carry, keys)

    params = init(jax.random.key(0))
    carry = params, optimizer.init(params)
    keys = jax.random.split(jax.random.key(1), AT[-1])
    norms: list[np.ndarray] = []
    truths: list[Any] = []
    found: list[tuple[float, ...]] = []
    for end in range(EVERY, AT[-1] + 1, EVERY):
        truths.append(truth(carry[0]))
        carry, sums = some(carry, keys[end - EVERY : end])
        norms.append(np.stack(sums))
        if end in AT:
            overall = ow.read_moments(carry[1]).overall
            now, recent = truth(carry[0]), np.mean(truths[-WINDOW // EVERY :], axis=0)
            found.append(
                (
                    float(now[0] / now[1]),
                    float(recent[0] / recent[1]),
                    two_batches(batch, np.concatenate(norms, axis=1)[:, -WINDOW:]),
                    batch * float(overall["noise_scale"][-1]),
                    batch * float(overall["noise_scale_bound"][-1]),
                )
            )
    return found


def two_batches(batch: int, norms: np.ndarray) -> float:
    """The method of McCandlish et al., NaN where it finds no signal."""
    small, big = norms.mean(axis=1)
    part = batch // MICRO
    signal = (batch * big - part * small) / (batch - part)
    noise = (small - big) / (1 / part - 1 / batch)
    return float(noise / signal) if signal > 0 else np.nan


def number(x: float) -> str:
    return "-" if not np.isfinite(x) else f"{x:,.0f}"


def table(results: dict[Any, Any]) -> str:
    heads = ["batch", "peak", "b1", "update", "truth", f"truth, mean of {WINDOW}"]
    heads += ["two batches", "record", "record: at most"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (batch, peak, b1), rows in results.items():
        for update, row in zip(AT, rows, strict=True):
            cells = " | ".join(map(number, row))
            lines.append(f"| {batch} | {peak:g} | {b1:g} | {update} | {cells} |")
    return "\n".join(lines)


def page(results: dict[Any, Any]) -> str:
    rows = np.array([row for found in results.values() for row in found])
    _, mean, batches, ours, bound = rows.T
    lines = [
        "# The gradient noise scale: momentum against two batches",
        "",
        "    python -m benchmarks.noise_scale --write",
        "",
        "Scikit-learn's digits, a network of 64 tanh units, Adam, linear warmup of "
        f"{WARMUP} updates; in examples. The truth comes from the gradients of all "
        f"single examples, now or with both parts averaged over the last {WINDOW} "
        "updates. Two batches: quarters of the batch against the whole (McCandlish et "
        f"al. 2018), over the same {WINDOW} updates. Record: `noise_scale` times the "
        "batch, from the momentum alone; at most: `noise_scale_bound` times the batch. "
        "A dash: not known.",
        "",
        table(results),
        "",
        "Ratio to the mean truth:",
        "",
        "| method | known | smallest | median | largest |",
        "|---|---|---|---|---|",
    ]
    methods = {"two batches": batches, "record": ours, "record: at most": bound}
    early = np.tile(np.array(AT) < AT[-1], len(RUNS))
    for when, chosen in ((f"before {AT[-1]}", early), (f"at {AT[-1]}", ~early)):
        for name, values in methods.items():
            ratio = (values / mean)[chosen]
            ratio = ratio[np.isfinite(ratio)]
            cells = np.quantile(ratio, [0, 0.5, 1]) if len(ratio) else []
            numbers = [f"{x:.2f}" for x in cells] or ["-"] * 3
            lines.append(
                f"| {name}, {when} | {len(ratio)} of {chosen.sum()} | "
                f"{' | '.join(numbers)} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    write = parser.parse_args().write
    text = page({setting: run(*setting) for setting in RUNS})
    print(text)
    if write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()

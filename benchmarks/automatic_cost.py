"""What the automatic warmup adds to Adam, on this machine.

    python -m benchmarks.automatic_cost

147 arrays of 10.4 million parameters. All times are CPU time of all threads: medians of
interleaved updates, and the fastest of three compilations without a cache.
"""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optax_warmup as ow

SHAPES = [(512, 256)] * 49 + [(256, 320)] * 49 + [(256,)] * 49
UPDATES, ROUNDS = 60, 3
OPTIMIZERS = {
    "adamw": optax.adamw(1e-3),
    "automatic_warmup(adamw)": ow.automatic_warmup(optax.adamw(1e-3)),
}


def compiled(optimizer: optax.GradientTransformation, *arguments: Any) -> Any:
    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1)).lower(*arguments).compile()


def main() -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    keys = jax.random.split(jax.random.key(0), len(SHAPES))
    params = [jax.random.normal(k, s) for k, s in zip(keys, SHAPES, strict=True)]
    grads = [jnp.cos(p) for p in params]
    steps, carries, compilation = {}, {}, {}
    for name, optimizer in OPTIMIZERS.items():
        state = optimizer.init(params)
        taken = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            steps[name] = compiled(optimizer, params, state, grads)
            taken.append(time.process_time() - begin)
            jax.clear_caches()
        compilation[name] = min(taken)
        carries[name] = jax.tree.map(jnp.copy, (params, state))
    times: dict[str, list[float]] = {name: [] for name in OPTIMIZERS}
    for _ in range(UPDATES):
        for name, step in steps.items():
            begin = time.process_time()
            carries[name] = jax.block_until_ready(step(*carries[name], grads))
            times[name].append(time.process_time() - begin)
    print("| optimizer | CPU ms an update | ratio | compilation, s | ratio |")
    print("|---|---|---|---|---|")
    median = {name: statistics.median(values) for name, values in times.items()}
    for name in OPTIMIZERS:
        print(
            f"| {name} | {1e3 * median[name]:.1f} | "
            f"{median[name] / median['adamw']:.2f} | {compilation[name]:.2f} | "
            f"{compilation[name] / compilation['adamw']:.2f} |"
        )


if __name__ == "__main__":
    main()

"""Times the options of the transformer example, next to its preset.

    python -m benchmarks.example_options [--preset NAME] [--rounds N] [--quick]

Accumulation, recomputation, the record, the automatic warmup, an average of the
weights, and FSDP where there are several devices. The trainings take turns: on a CPU
by the process time of all threads, on a GPU by wall time.
"""

import argparse
from collections.abc import Callable
from functools import partial

import jax
import optax

from benchmarks.schedule_speed import as_table
from benchmarks.training_speed.__main__ import clock, make_batches, start
from benchmarks.training_speed.measure import Training, take_turns
from benchmarks.training_speed.with_jax import TINY, Example
from examples.transformer.core.optimizer import make_optimizer
from examples.transformer.run import throughput
from examples.transformer.run.config import Config
from examples.transformer.run.presets import PRESETS

HEAD = ["run", "time, next to the preset", "error", "tokens/s", "utilisation"]
UPDATES = 4  # of each training in a round


def runs(config: Config, devices: int) -> dict[str, Config]:
    """What is compared, by the options that say it."""
    parts = [n for n in (2, 4) if config.batch_size % (n * devices) == 0]
    found = {"the preset": config}
    found |= {f"--microbatches {n}": config.replace(microbatches=n) for n in parts}
    found["--remat"] = config.replace(remat=True)
    found["--automatic-warmup"] = config.replace(automatic_warmup=True)
    found["--ema-decay 0.999"] = config.replace(ema_decay=0.999)
    if devices > 1:
        found[f"--fsdp {devices}"] = config.replace(fsdp=devices)
        found |= {
            f"--fsdp {devices} --microbatches {n}": config.replace(
                fsdp=devices, microbatches=n
            )
            for n in parts
        }
    return found


def unrecorded(config: Config) -> optax.GradientTransformation:
    """The example's optimizer without the wrapper that records."""
    return make_optimizer(config, record=False)


def rows(config: Config, rounds: int) -> tuple[list[list[str]], list[str]]:
    """The table, and what did not start, with the reason."""
    batches = make_batches(config)
    configs = runs(config, jax.device_count())
    makers: dict[str, Callable[[], Training]] = {
        name: partial(Example, each, batches) for name, each in configs.items()
    }
    makers["no record"] = partial(Example, config, batches, unrecorded(config))
    trainings, failures = start(makers)
    times = take_turns(trainings, rounds, UPDATES)
    found = []
    for name in trainings:
        ratio = times.ratio(name, "the preset", clock())
        speed = config.batch_size * config.length / times.per_update(name, "wall")
        used = throughput.utilisation(config, speed)
        found.append(
            [
                f"`{name}`" if name.startswith("-") else name,
                f"{ratio.median:.3f}",
                f"{ratio.error:.3f}",
                f"{speed:,.0f}",
                "-" if used is None else f"{used:.1%}",
            ]
        )
    return found, [f"Left out: {name} ({why})." for name, why in failures.items()]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, help="gpt2 on a GPU, else demo")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="tiny, for a test")
    options = parser.parse_args(arguments)
    usual = "gpt2" if jax.default_backend() == "gpu" else "demo"
    config = TINY if options.quick else PRESETS[options.preset or usual]
    table, left_out = rows(config, 2 if options.quick else options.rounds)
    print(
        f"# Options of the example\n\n{config.layers} layers of width {config.width}, "
        f"{config.batch_size} x {config.length} tokens an update, "
        f"{config.compute_dtype}, {jax.device_count()} devices.\n"
    )
    print("\n".join([*as_table(HEAD, table), *left_out]))


if __name__ == "__main__":
    main()

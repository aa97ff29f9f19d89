"""Times the ways to run through a transformer's layers.

    python -m benchmarks.layer_loop [--preset NAME] [--batch-size N] [--rounds N]
        [--write | --quick]

The same model, batch and precision; the trainings take turns. On a CPU the time is the
process time of all threads, on a GPU wall time.
"""

import argparse
import time

import jax

from benchmarks.schedule_speed import as_table
from benchmarks.tables import RESULTS
from benchmarks.training_speed.__main__ import clock, make_batches
from benchmarks.training_speed.measure import Training, take_turns
from benchmarks.training_speed.with_jax import TINY, Example
from examples.transformer.run.config import Config
from examples.transformer.run.presets import PRESETS

SCAN = "a scan: `--scan-unroll 1`"
HEAD = ["layers", "time, next to a scan", "error", "seconds until it trains"]


def ways(config: Config) -> dict[str, Config]:
    stacked = config.replace(scan_layers=True)
    return {
        SCAN: stacked.replace(scan_unroll=1),
        f"the scan, unrolled: `--scan-unroll {config.layers}`": stacked.replace(
            scan_unroll=config.layers
        ),
        "a Python loop over parameters of their own: `--no-scan-layers`": (
            config.replace(scan_layers=False)
        ),
    }


def rows(config: Config, rounds: int) -> list[list[str]]:
    batches = make_batches(config)
    now = time.process_time if clock() == "cpu" else time.perf_counter
    trainings: dict[str, Training] = {}
    starts = {}
    for name, changed in ways(config).items():
        began = now()
        trainings[name] = Example(changed, batches)
        starts[name] = now() - began
    times = take_turns(trainings, rounds, updates=1)
    return [
        [
            name,
            f"{times.ratio(name, SCAN, clock()).median:.3f}",
            f"{times.ratio(name, SCAN, clock()).error:.3f}",
            f"{starts[name]:.1f}",
        ]
        for name in trainings
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--batch-size", type=int, help="default: the preset's")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="tiny, for a test")
    parser.add_argument("--write", action="store_true", help="keep the table")
    options = parser.parse_args(arguments)
    config = TINY.replace(layers=2) if options.quick else PRESETS[options.preset]
    config = config.replace(batch_size=options.batch_size or config.batch_size)
    rounds = 2 if options.quick else options.rounds
    unit = "CPU" if clock() == "cpu" else "wall"
    command = (
        f"python -m benchmarks.layer_loop --preset {options.preset} --batch-size "
        f"{config.batch_size} --rounds {rounds}"
    )
    text = "\n".join(
        [
            "# Ways to run through the layers",
            "",
            f"Made by `{command}` on {jax.device_count()} x "
            f"{jax.devices()[0].device_kind} with jax {jax.__version__}. "
            f"{config.layers} layers of width {config.width}, {config.batch_size} x "
            f"{config.length} tokens an update, {config.compute_dtype}. Medians of "
            f"{rounds} rounds in which the trainings take turns, by {unit} time. "
            f"The last column includes compilation.",
            "",
            *as_table(HEAD, rows(config, rounds)),
        ]
    )
    print(text)
    if options.write:
        (RESULTS / "layer_loop.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

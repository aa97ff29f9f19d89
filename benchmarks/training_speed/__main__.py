"""Compares the training speed of the transformer example with public equivalents.

    python -m benchmarks.training_speed [--preset NAME] [--rounds N] [--write | --quick]

All trainings have the same model, batch and precision. They take turns in a shuffled
order, and each ratio is a median over rounds, since the machine may be shared. On a CPU
the time is the process time of all threads, which suffers less from other processes; on
a GPU it is wall time. `--write` saves the tables under results/.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax

from examples.transformer.core import attention
from examples.transformer.run import throughput
from examples.transformer.run.config import Config
from examples.transformer.run.presets import PRESETS

from . import with_torch
from .measure import Times, Training, progress, take_turns
from .with_jax import TINY, Example, FlaxLoop, diagnosed

OURS = "this example"
UPDATES = 4  # of each training in a round
# Leaves memory for the other process on the same GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.6")


def settings(preset: str) -> Config:
    """The preset; "gpt2" has rows for GPT-2's tokens, so that it compares."""
    rows = {"gpt2": 50_304}.get(preset, PRESETS[preset].vocab_size)
    return PRESETS[preset].replace(vocab_size=rows)


def clock() -> str:
    return "cpu" if jax.default_backend() == "cpu" else "wall"


def make_batches(config: Config) -> list[np.ndarray]:
    rng = np.random.default_rng(config.seed)
    shape = 8, config.batch_size, config.length + 1
    return list(rng.integers(0, config.vocab_size, shape, np.int32))


def start(
    makers: dict[str, Callable[[], Training]],
) -> tuple[dict[str, Training], dict[str, str]]:
    """The trainings that start, and the reasons why the others do not."""
    trainings, failures = {}, {}
    for name, make in makers.items():
        progress(f"starting: {name}")
        try:
            trainings[name] = make()
        except Exception as error:  # the others are still worth comparing
            failures[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return trainings, failures


def compare(config: Config, rounds: int) -> str:
    """Compares this example with its equivalents."""
    batches = make_batches(config)
    makers: dict[str, Callable[[], Training]] = {
        OURS: lambda: Example(config, batches),
        "flax: nnx.jit, nnx.Optimizer, optax.adamw": lambda: FlaxLoop(config, batches),
    }
    if config.scan_layers:
        unrolled = config.replace(scan_layers=False)
        makers[f"{OURS}, --no-scan-layers"] = lambda: Example(unrolled, batches)
    name = "PyTorch: nanoGPT's loop, torch.compile, fused AdamW"
    why = with_torch.missing()
    torch = None if why else with_torch.TorchLoop(config)
    try:
        if torch:
            makers[name] = torch.ready
        trainings, failures = start(makers)
        if why:
            failures[name] = why
        times = take_turns(trainings, rounds, UPDATES)
    finally:
        if torch:
            torch.close()
    return comparison(config, times, failures)


def comparison(config: Config, times: Times, failures: dict[str, str]) -> str:
    lines = [
        "| training | tokens/s | tokens per CPU second | model FLOPs utilisation | "
        f"{OURS} is so many times as fast | error |",
        "|---|---|---|---|---|---|",
    ]
    tokens = config.batch_size * config.length
    for name in times.seconds:
        speed, share = (tokens / times.per_update(name, c) for c in ("wall", "cpu"))
        used = throughput.utilisation(config, speed)
        ratio = "- | -"
        if OURS in times.seconds:
            ratio = "{:.3f} | {:.3f}".format(*times.ratio(name, OURS, clock()))
        lines.append(
            f"| {name} | {speed:,.0f} | {share:,.0f} | "
            f"{'-' if used is None else f'{used:.1%}'} | {ratio} |"
        )
    lines += [f"\nLeft out: {name} ({why})." for name, why in failures.items()]
    return "\n".join(lines)


def overhead(config: Config, rounds: int) -> str:
    """Measures what the schedule and the record add to an update of the example."""
    batches = make_batches(config)
    makers: dict[str, Callable[[], Training]] = {
        name: partial(Example, config, batches, optimizer)
        for name, optimizer in diagnosed(config).items()
    }
    trainings, failures = start(makers)
    base, *_, idle, due = makers
    if failures:
        return "\n".join(f"Left out: {name} ({why})." for name, why in failures.items())
    times = take_turns(trainings, rounds, UPDATES)
    lines = ["| update | ratio | error |", "|---|---|---|"]
    for name in makers:
        lines.append(
            "| {} | {:.4f} | {:.4f} |".format(name, *times.ratio(name, base, clock()))
        )
    total = config.total_steps
    recorded = sum(map(is_recorded, range(total)))
    ratios = [times.ratio(name, base, clock()).median for name in (idle, due)]
    mean = ratios[0] + (ratios[1] - ratios[0]) * recorded / total
    lines.append(
        f"\nOver a run of {total:,} updates, of which {recorded} are recorded, that is "
        f"{mean:.4f} on average: schedule and record add {mean - 1:.2%}."
    )
    return "\n".join(lines)


def is_recorded(step: int) -> bool:
    """By default: at most five significant bits."""
    return len(f"{step:b}".rstrip("0")) <= 5


def page(config: Config, rounds: int, command: str) -> Iterator[str]:
    device = jax.devices()[0].device_kind
    yield "# Training speed"
    yield (
        f"Made by `{command}` on {jax.device_count()} x {device} with jax "
        f"{jax.__version__}, optax {optax.__version__}; {attention.choose(config)[1]}. "
        f"{config.layers} layers of width {config.width}, vocabulary "
        f"{config.vocab_size:,}, {config.batch_size} x {config.length} tokens an "
        f"update, {config.compute_dtype}. Medians of {rounds} rounds of {UPDATES} "
        f"updates in which the trainings take turns; ratios by "
        f"{'CPU' if clock() == 'cpu' else 'wall'} time."
    )
    yield "## Next to public equivalents"
    yield compare(config, rounds)
    yield "## What the warmup schedule and the record of Adam's moments add"
    yield overhead(config, rounds)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, help="gpt2 on a GPU, else demo")
    parser.add_argument("--rounds", type=int, default=40, help="default: 40")
    parser.add_argument("--quick", action="store_true", help="tiny, for a test")
    parser.add_argument("--write", action="store_true", help="keep the tables")
    options = parser.parse_args(arguments)
    usual = "gpt2" if jax.default_backend() == "gpu" else "demo"
    preset = options.preset or usual
    config = TINY if options.quick else settings(preset)
    rounds = 2 if options.quick else options.rounds
    command = f"python -m benchmarks.training_speed --preset {preset} --rounds {rounds}"
    parts = []
    for part in page(config, rounds, "--quick" if options.quick else command):
        print(f"\r{part}\n", flush=True)
        parts.append(part)
    if options.write:
        path = Path(__file__).parents[1] / "results" / "training_speed.md"
        path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

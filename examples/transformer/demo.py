"""What a warmup does: the same run twice, without and with one.

    python -m examples.transformer.demo

Same seed, same batches, same peak rate, same decay; only the warmup differs. Takes the
options of train.py; `--warmup-steps` is the length that is compared with none, and
`--automatic-warmup` compares one that the optimizer chooses.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

import optax_warmup as ow

from .. import evaluation
from .command_line import config_from, make_parser
from .config import Config
from .option import InputError
from .result import Result
from .train import train

NAMES = ("no warmup", "warmup")
FOLDERS = ("no_warmup", "warmup")
HOME = "runs/demo"
EARLY = 32  # updates; the record holds each of them


def main(arguments: list[str] | None = None) -> int:
    began = time.perf_counter()
    parser = make_parser("Train the same model without and with warmup, and compare.")
    parser.set_defaults(run_dir=HOME)
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        config = config_from(options)
        if config.automatic_warmup:  # without a length of its own
            config = config.replace(warmup_steps=0)
        elif config.warmup_steps == 0:
            raise InputError("warmup_steps=0 leaves nothing to compare. Give a length.")
        # The demo's own folder is there to be replaced; any other needs the flag.
        overwrite = options.overwrite or config.run_dir == HOME
        announce(config, console)
        runs = [
            train(each, overwrite=overwrite, name=name.rjust(9), console=console)
            for each, name in zip(two_configs(config), NAMES, strict=True)
        ]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    console.print()
    console.print(outcomes(*runs))
    console.print()
    console.print(compare(*runs))
    console.print(conclusions(*runs))
    console.print("\nDrawing the picture ...")
    from .figure import draw  # matplotlib takes a second to import: not before now

    home = Path(config.run_dir)
    picture = draw(runs, NAMES, home / "warmup.png")
    report = write_report(runs, home / "report.html")
    console.print(f"Picture  {picture}")
    console.print(f"Report   {report}, with advice; it opens in any browser")
    console.print(f"Runs     {runs[0].folder}/  {runs[1].folder}/")
    console.print(f"Took     {time.perf_counter() - began:.0f} s")
    return 0


def write_report(runs: list[Result], path: Path) -> Path:
    """The library's own page on both runs: advice in words, then pictures."""
    losses = {
        name: dict(zip(*map(run.updates.get, ("step", "loss")), strict=True))
        for name, run in zip(NAMES, runs, strict=True)
    }
    histories = {name: run.history for name, run in zip(NAMES, runs, strict=True)}
    ow.diagnostics.write_report(path, histories, losses=losses)
    return path


def two_configs(config: Config) -> list[Config]:
    folders = [str(Path(config.run_dir) / folder) for folder in FOLDERS]
    return [
        config.replace(run_dir=folders[0], warmup_steps=0, automatic_warmup=False),
        config.replace(run_dir=folders[1]),
    ]


def kind(config: Config) -> str:
    """Of warmup that a run has."""
    return "automatic" if config.automatic_warmup else f"{config.warmup_steps} steps"


def announce(config: Config, console: Console) -> None:
    text = config.data or "the source of this Python's standard library"
    console.print(
        f"Training a transformer (width {config.width}, {config.layers} layers) on "
        f"{text}, byte by byte.\n"
        f"Twice: same seed, same batches, peak learning rate {config.peak_value:g}, "
        f"same decay over the last {config.decay_steps} of {config.total_steps} steps. "
        f"Only the warmup differs: none, and {kind(config)}.\n"
        f"The first step compiles the program, which takes some seconds.\n"
    )


def outcomes(without: Result, with_: Result) -> Table:
    """The table of all examples; the target is where the run without warmup ends."""
    runs = without, with_
    # One speed: what other work does to a time is more than what a warmup costs.
    speed = max(run.summary["median_tokens_per_second"] for run in runs)
    config = with_.config
    seconds = config.batch_size * config.length / speed
    names = NAMES[0], f"{NAMES[1]}, {kind(config)}"
    rows = [
        as_run(run, name)._replace(seconds_a_step=seconds)
        for run, name in zip(runs, names, strict=True)
    ]
    end = without.summary["heldout_loss"]
    return evaluation.table(rows, "held-out loss", end, largest=False)


def as_run(run: Result, name: str = "") -> evaluation.Run:
    return evaluation.Run(
        name,
        loss=run.updates["loss"][None],
        steps=run.evaluations["step"],
        metric=run.evaluations["heldout_loss"][None],
    )


# What Adam saw of a run.


def at_full_rate(run: Result, name: str) -> float:
    return run.history.overall[name][run.full_rate]


def early_path(run: Result) -> float:
    """Sum of update / weights over the first updates, all of which are recorded."""
    return run.history.overall["update_to_weight"][run.history.steps < EARLY].sum()


def percent(share: float) -> str:
    return f"{100 * share:.2g}%"


def compare(without: Result, with_: Result) -> Table:
    table = Table(title="What Adam saw", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column(NAMES[0], justify="right")
    table.add_column(f"{NAMES[1]}, {kind(with_.config)}", justify="right")

    def row(label: str, show: Callable[[Result], str]) -> None:
        table.add_row(label, show(without), show(with_))

    most = (1 + without.history.b2) / (1 - without.history.b2)
    table.add_row("[bold]first update at the full rate")
    row("  its step", lambda r: str(r.history.steps[r.full_rate]))
    row(
        f"  gradients behind ν̂ (at most {most:.0f})",
        lambda r: f"{r.history.effective_sample_size[r.full_rate]:.1f}",
    )
    row("  √ν̂ (RMS)", lambda r: f"{at_full_rate(r, 'nu_hat_rms'):.1e}")
    row("  g / √ν̂ (RMS)", lambda r: f"{at_full_rate(r, 'normalized_gradient_rms'):.2f}")
    row("  Adam's update (RMS)", lambda r: f"{at_full_rate(r, 'update_rms'):.2f}")
    row("  update / weights", lambda r: percent(at_full_rate(r, "update_to_weight")))
    table.add_section()
    row(f"update / weights, first {EARLY} added up", lambda r: percent(early_path(r)))
    return table


def conclusions(without: Result, with_: Result) -> str:
    """What the numbers say, whichever way they fall."""
    for run, name in zip((without, with_), NAMES, strict=True):
        if (step := run.summary["diverged_at"]) is not None:
            return f"With {name} the loss is not finite at step {step}."
    end = without.summary["heldout_loss"]
    gain = end - with_.summary["heldout_loss"]
    if gain <= 0:
        return f"Here warmup does not help: it ends {-gain:.3f} nats higher."
    (arrived,) = as_run(with_).steps_to(end, largest=False)
    worth = without.history.effective_sample_size[without.full_rate]
    first, later = (
        percent(at_full_rate(run, "update_to_weight")) for run in (without, with_)
    )
    return (
        f"Warmup ends {gain:.3f} nats lower, and needs {arrived:.0f} of "
        f"{with_.config.total_steps} updates to get where no warmup ends.\n"
        f"Why: without it the first update is at the full rate while ν̂ is worth "
        f"{worth:.0f} gradient. It moves every weight by the whole rate, {first} of "
        f"the weights' size, however small the gradient; with warmup an update at the "
        f"full rate is {later}."
    )


if __name__ == "__main__":
    sys.exit(main())

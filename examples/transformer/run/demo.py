"""Shows what a warmup does: the same run twice, without and with a warmup.

    python -m examples.transformer.demo

Same seed, same batches, same peak learning rate, same decay; only the warmup differs.
Takes the options of training: `--warmup-steps` sets the length that is compared with no
warmup, and `--automatic-warmup` compares no warmup with automatic warmup.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

import optax_warmup as ow

from ... import evaluation
from ..core.settings import InputError
from ..core.stop import INTERRUPTED, Stopped
from .command_line import Options, parse
from .config import Config
from .result import Result
from .train import train

NAMES = ("no warmup", "warmup")
FOLDERS = ("no_warmup", "warmup")
HOME = "runs/demo"
EARLY = 32  # the first updates, all of which are recorded


def main(arguments: list[str] | None = None) -> int:
    began = time.perf_counter()
    console = Console(highlight=False, soft_wrap=True)
    try:
        options, config = parse(
            Options,
            "demo",
            "Train without and with warmup, and compare.",
            arguments,
            run_dir=HOME,
            on_divergence="continue",  # a divergence is a result of the comparison
        )
        runs = train_both(config, console, overwrite=options.overwrite)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Stopped, KeyboardInterrupt) as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return getattr(error, "exit_code", INTERRUPTED)
    console.print()
    console.print(outcomes(*runs))
    console.print()
    console.print(compare(*runs))
    console.print(conclusions(*runs))
    console.print("\nDrawing the picture ...")
    from .figure import draw  # imported late, since importing matplotlib takes a second

    home = runs[1].folder.parent
    picture = draw(runs, NAMES, home / "warmup.png")
    report = write_report(runs, home / "report.html")
    console.print(f"Picture  {picture}")
    console.print(f"Report   {report} (with advice; opens in any browser)")
    console.print(f"Runs     {runs[0].folder}/  {runs[1].folder}/")
    console.print(f"Took     {time.perf_counter() - began:.0f} s")
    return 0


def train_both(config: Config, console: Console, *, overwrite: bool) -> list[Result]:
    """Trains without warmup, then with it."""
    if config.automatic_warmup:
        config = config.replace(warmup_steps=0)
    elif config.warmup_steps == 0:
        raise InputError("warmup_steps=0 leaves nothing to compare. Give a length.")
    announce(config, console)
    # The demo replaces its own folder; any other folder needs the flag.
    overwrite = overwrite or config.run_dir == HOME
    return [
        train(each, overwrite=overwrite, name=name.rjust(9), console=console)
        for each, name in zip(two_configs(config), NAMES, strict=True)
    ]


def two_configs(config: Config) -> list[Config]:
    folders = [str(Path(config.run_dir) / folder) for folder in FOLDERS]
    return [
        config.replace(run_dir=folders[0], warmup_steps=0, automatic_warmup=False),
        config.replace(run_dir=folders[1]),
    ]


def kind(config: Config) -> str:
    """The kind of warmup in words."""
    return "automatic" if config.automatic_warmup else f"{config.warmup_steps} steps"


def announce(config: Config, console: Console) -> None:
    text = config.data or "the source code of Python's standard library"
    console.print(
        f"Training a transformer (width {config.width}, {config.layers} layers) on "
        f"{text}, byte by byte.\n"
        f"Two runs with the same seed, batches, peak learning rate "
        f"({config.peak_value:g}) and decay (the last {config.decay_steps} of "
        f"{config.total_steps} steps).\n"
        f"Only the warmup differs: none, and {kind(config)}.\n"
        f"The first step takes some seconds, since it compiles the program.\n"
    )


def write_report(runs: list[Result], path: Path) -> Path:
    """The library's own report on both runs: advice, pictures and a table."""
    losses = {
        name: dict(zip(*map(run.updates.get, ("step", "loss")), strict=True))
        for name, run in zip(NAMES, runs, strict=True)
    }
    histories = {name: run.history for name, run in zip(NAMES, runs, strict=True)}
    return ow.diagnostics.write_report(path, histories, losses=losses)


def outcomes(without: Result, with_: Result) -> Table:
    """The table of all examples; the target is the final loss without warmup."""
    runs = without, with_
    # One speed for both: other work on the machine matters more than the warmup.
    speed = max(run.summary["median_tokens_per_second"] for run in runs)
    config = with_.config
    seconds = config.batch_size * config.length / speed
    names = NAMES[0], f"{NAMES[1]}, {kind(config)}"
    rows = [
        as_run(run, name)._replace(seconds_per_step=seconds)
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


# What the record says.


def at_peak(run: Result, name: str) -> float:
    """A statistic at the first update with the peak learning rate."""
    return run.history.overall[name][run.peak_row]


def early_path(run: Result) -> float:
    """Sum of update / weights over the first updates."""
    return run.history.overall["update_to_weight"][run.history.steps < EARLY].sum()


def percent(share: float) -> str:
    return f"{100 * share:.2g}%"


def compare(without: Result, with_: Result) -> Table:
    table = Table(
        title="Inside Adam, at the first update with the peak learning rate",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("")
    table.add_column(NAMES[0], justify="right")
    table.add_column(f"{NAMES[1]}, {kind(with_.config)}", justify="right")
    most = (1 + without.history.b2) / (1 - without.history.b2)
    rows: dict[str, Callable[[Result], str]] = {
        "step": lambda r: str(r.history.steps[r.peak_row]),
        f"gradients averaged in ν̂ (at most {most:.0f})": (
            lambda r: f"{r.history.effective_sample_size[r.peak_row]:.1f}"
        ),
        "√ν̂ (RMS)": lambda r: f"{at_peak(r, 'nu_hat_rms'):.1e}",
        "g / √ν̂ (RMS)": lambda r: f"{at_peak(r, 'normalized_gradient_rms'):.2f}",
        "Adam's update (RMS)": lambda r: f"{at_peak(r, 'update_rms'):.2f}",
        "update / weights": lambda r: percent(at_peak(r, "update_to_weight")),
    }
    for label, show in rows.items():
        table.add_row(label, show(without), show(with_))
    table.add_section()
    table.add_row(
        f"update / weights, sum of first {EARLY}",
        *(percent(early_path(run)) for run in (without, with_)),
    )
    return table


def conclusions(without: Result, with_: Result) -> str:
    """The result in words, whichever run is better."""
    for run, name in zip((without, with_), NAMES, strict=True):
        if (step := run.summary["diverged_at"]) is not None:
            return f"With {name} the loss is not finite at step {step}."
    end = without.summary["heldout_loss"]
    gain = end - with_.summary["heldout_loss"]
    if gain <= 0:
        return f"Here warmup does not help: its final loss is {-gain:.3f} nats higher."
    (arrived,) = as_run(with_).steps_to(end, largest=False)
    samples = without.history.effective_sample_size[without.peak_row]
    first, later = (
        percent(at_peak(run, "update_to_weight")) for run in (without, with_)
    )
    return (
        f"With warmup the final loss is {gain:.3f} nats lower. It reaches the final "
        f"loss of the run without warmup\nafter {arrived:.0f} of "
        f"{with_.config.total_steps} updates.\n"
        f"Why: without warmup the first update has the peak learning rate while ν̂ "
        f"averages {samples:.0f} gradient.\nIt moves every weight by the whole rate, "
        f"however small its gradient: {first} of the weights' size.\nWith warmup an "
        f"update at the peak learning rate is {later} of it."
    )


if __name__ == "__main__":
    sys.exit(main())

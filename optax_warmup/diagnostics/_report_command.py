"""What `optax-warmup report` does with run folders."""

from collections.abc import Sequence
from pathlib import Path

from optax_warmup.diagnostics._advise import advise
from optax_warmup.diagnostics._run_folders import load_runs
from optax_warmup.diagnostics._write_report import write_report


def report_command(run_dirs: Sequence[str | Path], output: str | Path) -> str:
    """Writes the page about some run folders, and returns what to print.

    Raises:
        ValueError: a folder holds no run or a damaged one, or the page's name does not
            end in .html.
        OSError: the page cannot be written.
    """
    runs, losses = load_runs(run_dirs)
    page = write_report(output, runs, losses=losses)
    parts = []
    for name, history in runs.items():
        lines = [str(a) for a in advise(history, losses=losses[name])]
        lines = lines or ["No issues found."]
        parts.append("\n  ".join([name, history.summary(), *lines]))
    return "\n\n".join([*parts, f"Report: {page}"])

"""What `optax-warmup report` does with run folders."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from optax_warmup.diagnostics._advise import advise
from optax_warmup.diagnostics._run_folders import load_runs
from optax_warmup.diagnostics._write_report import write_report


def report_command(
    run_dirs: Sequence[str | Path], output: str | Path, width: int = 100
) -> str:
    """Writes the page about some run folders, and returns what to print.

    Lines are wrapped to `width` characters.

    Raises:
        ValueError: a folder holds no run or a damaged one, or the page's name does not
            end in .html.
        OSError: the page cannot be written.
    """
    runs, losses = load_runs(run_dirs)
    page = write_report(output, runs, losses=losses)
    parts = []
    for name, history in runs.items():
        found = [str(advice) for advice in advise(history, losses=losses[name])]
        texts = [history.summary(), *(found or ["No issues found."])]
        parts.append("\n".join([name, *(_wrapped(text, width) for text in texts)]))
    return "\n\n".join([*parts, f"Report: {page}"])


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )

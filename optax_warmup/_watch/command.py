"""What `optax-warmup watch` does."""

import os
import shutil
import sys
from pathlib import Path

from optax_warmup._watch.folder import CONFIG, run_of
from optax_warmup._watch.run import WatchedRun
from optax_warmup._watch.show import can_write, show_lines, show_live, show_once
from optax_warmup.diagnostics._metrics_file import METRICS
from optax_warmup.diagnostics._run_folders import MOMENTS

INTERRUPTED = 130  # exit status


def watch_command(
    path: str | Path, *, once: bool = False, plain: bool = False, interval: float = 1.0
) -> int:
    """Shows a run until it ends, and returns the exit status.

    In a terminal it is a page that is drawn again; elsewhere, or where `plain`, a line
    for each new row.

    Raises:
        ValueError: there is no run, and `once` waits for none.
    """
    run = WatchedRun(run_of(Path(path)))
    if once and not run.place.begun:
        raise ValueError(
            f"watch: there is no run in {run.place.folder}: none of {METRICS}, "
            f"{MOMENTS} and {CONFIG} is there. Without --once it is waited for."
        )
    try:
        if once:
            width, _ = shutil.get_terminal_size()
            show_once(run, sys.stdout, width, can_write(sys.stdout.encoding))
        elif plain or not _is_terminal():
            show_lines(run, interval, sys.stdout)
        else:
            _live(run, interval)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def _live(run: WatchedRun, interval: float) -> None:
    try:
        from rich.console import Console
    except ImportError:
        print(
            "optax-warmup: for a page instead of lines, pip install "
            "'optax_warmup[watch]'.",
            file=sys.stderr,
        )
        show_lines(run, interval, sys.stdout)
        return
    show_live(run, interval, Console(highlight=False))

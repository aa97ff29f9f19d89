"""Shows a run while it goes on: as a page in a terminal, as lines elsewhere."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, TextIO

from optax_warmup._watch import text
from optax_warmup._watch.page import Line, page
from optax_warmup._watch.run import Change, WatchedRun

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_AT_FIRST = 10  # rows that are printed of those before the watching began


def show_lines(run: WatchedRun, interval: float, out: TextIO) -> None:
    """Prints a line for each new row and each new piece of advice, until the end."""

    def say(line: str) -> None:
        print(line, file=out, flush=True)

    if not run.place.begun:
        say(f"waiting for a run in {run.place.folder}")
    first = True
    with _Signals() as signals:
        while True:
            change = run.poll()
            if first and (more := len(change.rows) - _AT_FIRST) > 0:
                say(f"... {more:,} earlier rows")
                del change.rows[:more]
            first = first and not run.place.begun
            for line in _lines(run, change):
                say(line)
            if run.place.ended:
                say(f"the run has ended: {text.progress(run.step, run.total)}")
                return
            signals.wait(interval)


def _lines(run: WatchedRun, change: Change) -> Iterator[str]:
    if change.dropped:
        rows = "row" if change.dropped == 1 else "rows"
        yield f"the run went back: the last {change.dropped:,} {rows} are gone"
    yield from (f"problem: {problem}" for problem in change.problems)
    yield from map(text.row_line, change.rows)
    if not change.moments or run.history is None:
        return
    if not run.columns:
        yield run.history.summary()
    for advice in change.advice:
        yield f"advice after step {run.history.steps[-1]:,}: {advice}"


def show_once(run: WatchedRun, out: TextIO, width: int, braille: bool) -> None:
    """Prints what is known now."""
    run.poll(last=True)
    for line in page(run, width, braille=braille):
        print("".join(span.text for span in line).rstrip(), file=out)


def show_live(run: WatchedRun, interval: float, console: "Console") -> None:
    """Redraws a page that fills the terminal, until the end; the last one stays."""
    from rich.live import Live

    def drawn() -> "Text":
        # Rich leaves the last line free, or the terminal would scroll.
        width, height = console.size
        return _styled(page(run, width, height - 1, braille))

    braille = can_write(console.encoding)
    try:
        with (
            _Signals() as signals,
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            while True:
                run.poll()
                live.update(drawn(), refresh=True)
                if run.place.ended:
                    break
                signals.wait(interval)
    finally:
        console.print(drawn())


def _styled(lines: list[Line]) -> "Text":
    from rich.text import Text

    shown = [Text.assemble(*line, no_wrap=True) for line in lines]
    return Text("\n", no_wrap=True, overflow="crop").join(shown)


def can_write(encoding: str) -> bool:
    try:
        "⠿│└".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class _Signals:
    """SIGINT and SIGTERM, which are acted on between two looks at the run.

    An exception that a handler raises while Python collects garbage would be lost. The
    exits that the exceptions of `wait` leave through give the terminal back.
    """

    def __enter__(self) -> Self:
        self.number = 0
        self.before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self.before.items():
            signal.signal(number, before)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self.number = number

    def wait(self, seconds: float) -> None:
        """Sleeps, but not beyond a signal."""
        end = time.monotonic() + seconds
        while not self.number and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.number:
            sys.exit(128 + self.number)

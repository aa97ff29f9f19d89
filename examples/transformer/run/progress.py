"""Progress of a run: a bar on a terminal, and ten plain lines elsewhere."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from .config import Config


def training_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(compact=True),
        console=console,
    )


class Display:
    """A context manager; `show` takes the rows that go to metrics.jsonl."""

    def __init__(self, console: Console, config: Config, name: str):
        self.console, self.name, self.total = console, name, config.total_steps
        self.bar = training_bar(console) if console.is_terminal else None
        self.stride = max(config.total_steps // 10, 1)
        self.next_line = 0
        self.latest: dict[str, float] = {}

    def __enter__(self) -> "Display":
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(self.name, total=self.total, status="")
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar:
            self.bar.stop()

    def show(self, row: dict[str, float]) -> None:
        self.latest |= row
        step = int(row["step"])
        if self.bar:
            status = self.status(
                "loss", "learning_rate", "tokens_per_second", "model_flops_utilisation"
            )
            self.bar.update(self.task, completed=step, status=status)
        elif "loss" in row and step >= self.next_line or step == self.total:
            self.next_line = step + self.stride
            count = f"{step:>{len(str(self.total))}}/{self.total}"
            line = f"{self.name}  step {count}  {self.status(*FORMATS)}"
            self.console.print(line, highlight=False, soft_wrap=True)

    def back_to(self, step: int, line: str) -> None:
        """Says why the run goes on from an earlier step."""
        self.next_line = step
        self.console.print(line, highlight=False, soft_wrap=True)

    def status(self, *names: str) -> str:
        known = [name for name in names if name in self.latest]
        return "  ".join(FORMATS[name].format(self.latest[name]) for name in known)


FORMATS = {
    "loss": "loss {:.3f}",
    "heldout_loss": "held-out {:.3f}",
    "learning_rate": "rate {:.1e}",
    "tokens_per_second": "{:,.0f} tokens/s",
    "model_flops_utilisation": "MFU {:.1%}",
}

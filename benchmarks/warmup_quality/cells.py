"""Numbers and tables in Markdown."""

from collections.abc import Iterable, Sequence

from .protocol import Number


def signed(number: Number, sign: str = "+") -> str:
    return f"{number.mean:{sign}.3f} ± {number.error:.3f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

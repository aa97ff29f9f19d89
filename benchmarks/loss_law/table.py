"""Tables of results."""

from collections.abc import Sequence


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head))]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])

"""Writes docs/promises.md from tests/support/promises.py.

Run `python tests/tools/write_promises.py` after changing it. A test compares them.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "promises.md"
sys.path[:0] = [str(TESTS / "support")]

from promises import PROMISES, Promise  # noqa: E402

HEAD = """# Promises

What you can rely on, and the tests that fail if it is broken. The last column says
whether they hold it, and what is left out. [faults.md](faults.md) lists what can
happen to a run, and what it then does. `make test` runs most of these tests with fewer
cases, and `make test-all` runs them in full. The page is written by
`tests/tools/write_promises.py`.

| | promise | tests | status |
|---|---|---|---|
"""


def linked(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[`{name or file}`](../tests/{file})"


def row(number: int, promise: Promise) -> str:
    tests = ", ".join(map(linked, promise.tests))
    held = "held" if promise.held else "open"
    status = f"{held}; {promise.gap}" if promise.gap else held
    return f"| {number} | {promise.text} | {tests} | {status} |\n"


def page() -> str:
    return HEAD + "".join(row(*each) for each in enumerate(PROMISES, 1))


if __name__ == "__main__":
    PAGE.write_text(page())

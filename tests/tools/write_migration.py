"""Writes docs/migration.md from the table: python tests/tools/write_migration.py"""

import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from parity_table import ROWS  # noqa: E402

PAGE = ROOT / "docs" / "migration.md"

# The order in which most readers come; systems that are not listed follow.
_ORDER = (
    "optax",
    "torch",
    "Hugging Face",
    "pytorch_warmup",
    "timm",
    "Keras",
    "Megatron",
    "DeepSpeed",
    "fairseq",
    "T5X",
    "Composer",
    "MaxText",
    "Levanter",
    "torchtitan",
    "big_vision",
)

_HEAD = """\
# Coming from another library

<!-- Written by `python tests/tools/write_migration.py` from the table in
     tests/support/parity_table.py. Change that, not this page. -->

Each line below is a test: the expression on the right gives the numbers of the call on
the left, update by update, to a relative 1e-6. The names are those of `optax_warmup`
(`import optax_warmup as ow`, then `ow.warmup(...)`, `ow.shapes.cosine`). What you get
is a function of the step that goes wherever an `optax.Schedule` does. Unless a call
says otherwise, its peak is 1, its warmup 5, its total 20 and its cooldown 6 updates.

## Which update has which value

Libraries count differently, and that is most of what goes wrong in a migration. Here
the step is the number of completed updates, 0 for the first.

| the warmup's value at update k | who | here |
|---|---|---|
| k / w: the first update changes nothing, update w is the first with the peak | \
optax, Hugging Face, torch, Keras, Megatron, T5X, Composer, MaxText, Levanter, timm, \
big_vision, most of fairseq | `warmup(schedule, w)` |
| (k + 1) / w: update w - 1 has the peak, and so has update w | torchtitan, \
pytorch_warmup, fairseq's `fixed` | `warmup(schedule, w, offset=1)` |
| (k + 1) / w, and the schedule after it is one update ahead too | axlearn, noam as in \
the paper, Hugging Face's `cosine_warmup_with_min_lr` \
| `advance(warmup(schedule, w), 1)` |
| (k + 1) / (w + 1) | NeMo, newer nanoGPT | `advance(warmup(schedule, w + 1), 1)` |
| k / (w - 1) | torch's OneCycleLR, DeepSpeed's log | `warmup(schedule, w - 1)` |
| one update later than it says | DeepSpeed's Warmup schedules | `delay(..., 1)` |

A warmup here stands in front of the schedule, whose clock starts when it ends. Where
the schedule's clock runs from the first update and the warmup multiplies it
(pytorch_warmup, torch's ChainedScheduler), write `multiply(warmup(1, w), schedule)`.
Where it runs from the first update and the ramp overrides it, with a jump at its end
(timm without `warmup_prefix`), write
`join([(w, transition(0, peak, w))], last=advance(schedule, w))`.

Past its end a schedule here holds its value. That is also where the lines below stop
following those that rise again or fall below 0; each says so.
"""


def migration_page() -> str:
    systems = defaultdict(list)
    for row in ROWS:
        systems[row.system].append(row)
    names = [name for name in _ORDER if name in systems]
    names += sorted(set(systems) - set(names), key=str.lower)
    return "\n".join([_HEAD, *(_section(name, systems[name]) for name in names)])


def _section(name, rows) -> str:
    lines = [f"## {name}", "", f"| {name} | optax_warmup | |", "|---|---|---|"]
    for row in rows:
        lines.append(f"| `{row.call}` | `{row.ours}` | {row.note} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(migration_page())
    print(f"wrote {PAGE}")

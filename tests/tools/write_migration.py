"""Writes docs/migration.md from the table: python tests/tools/write_migration.py"""

import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from parity_table import ROWS, as_code  # noqa: E402

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

Each row below is a test: the expression on the right gives the same values as the call
on the left at every update, to a relative 1e-6. The names on the right are those of
`optax_warmup` (`import optax_warmup as ow`, then `ow.warmup(...)`, `ow.shapes.cosine`).
Each expression is an `optax.Schedule`. Unless a call says otherwise, its peak is 1, its
warmup takes 5 updates, the whole run 20 and its cooldown 6.

To keep the names and argument orders of another library, use `ow.compat.optax` for
Optax's `warmup_*_schedule` functions, and `ow.compat.transformers.get_scheduler` for
the schedules of Hugging Face transformers.

## Which update has which value

Most mistakes in a migration come from different ways to count. Here the step is the
number of completed updates, 0 for the first update.

| value of a warmup of w at step k | libraries | here |
|---|---|---|
| k / w: the first update changes nothing, the peak comes at step w | \
optax, Hugging Face, torch, Keras, Megatron, T5X, Composer, MaxText, Levanter, timm, \
big_vision, most of fairseq | `warmup(schedule, w)` |
| (k + 1) / w: the peak comes at step w - 1, and again at step w | torchtitan, \
pytorch_warmup, fairseq's `fixed` | `warmup(schedule, w, offset=1)` |
| (k + 1) / w, and the schedule is one update ahead too | axlearn, noam as in \
the paper, Hugging Face's `cosine_warmup_with_min_lr` \
| `advance(warmup(schedule, w), 1)` |
| (k + 1) / (w + 1) | NeMo, newer nanoGPT | `advance(warmup(schedule, w + 1), 1)` |
| k / (w - 1) | torch's OneCycleLR, DeepSpeed's log | `warmup(schedule, w - 1)` |
| one update later than documented | DeepSpeed's Warmup schedules | `delay(..., 1)` |

Here a warmup is put in front of a schedule, whose clock starts when the warmup ends.
Other libraries do it in two other ways:

- The schedule's clock starts at the first update, and the warmup multiplies it
  (pytorch_warmup, torch's ChainedScheduler): `multiply(warmup(1, w), schedule)`.
- The schedule's clock starts at the first update, and the ramp replaces its first
  values, with a jump at the end of the ramp (timm without `warmup_prefix`):
  `join([(w, transition(0, peak, w))], last=advance(schedule, w))`.

Past its end a schedule here holds its last value. Schedules that rise again or become
negative are followed up to that point only; their rows say so.

## In another library's training loop

A schedule is a function of the number of completed updates, so other trainers can use
it, too. `tests/test_adapters.py` runs these lines where the package is installed. They
ran with torch 2.14.1, transformers 5.24.0, keras 3.15.1, kauldron 1.4.4, and Levanter
of September 2025.

PyTorch, and with it the `Trainer` of Hugging Face, which takes
`optimizers=(optimizer, scheduler)`:

```py
import torch

schedule = ow.warmup_cosine(1.0, 100, 1000)  # multiplies the optimizer's lr
scheduler = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda step: float(schedule(step))
)
```

Keras, on its JAX backend; the schedule is saved and loaded with the model:

```py
import keras


@keras.saving.register_keras_serializable()
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, schedule):
        self.schedule = ow.from_config(schedule) if type(schedule) is dict else schedule

    def __call__(self, step):
        return self.schedule(keras.ops.convert_to_tensor(step))

    def get_config(self):
        return {"schedule": ow.to_config(self.schedule)}


optimizer = keras.optimizers.AdamW(WarmupSchedule(ow.warmup_cosine(1e-3, 100, 1000)))
```

Levanter puts its own warmup in front, of `warmup` updates; this chooses what follows:

```py
from levanter.optim.config import LrSchedule


@LrSchedule.register_subclass("one_minus_sqrt")
class OneMinusSqrt(LrSchedule):
    def build(self, ctx):
        return ow.transition(
            ctx.learning_rate, ctx.min_lr, ctx.decay_steps, ow.shapes.power(0.5)
        )
```

Kauldron builds it where the configuration names it, like a schedule of Optax:

```py
from kauldron import konfig

with konfig.imports():
    import optax
    import optax_warmup as ow

cfg = konfig.ConfigDict({"num_train_steps": 1000})
cfg.schedules = {"learning_rate": ow.warmup_cosine(1e-3, 100, cfg.ref.num_train_steps)}
cfg.optimizer = optax.adam(cfg.ref.schedules["learning_rate"])
```

MaxText reads its schedule from `create_learning_rate_schedule(config)`, which may
return any of these: `return ow.wsd(config.learning_rate, 100, config.steps, 200)`.
"""


def migration_page() -> str:
    systems = defaultdict(list)
    for row in ROWS:
        systems[row.system].append(row)
    names = [name for name in _ORDER if name in systems]
    names += sorted(set(systems) - set(names), key=str.lower)
    return "\n".join([_HEAD, *(_section(name, systems[name]) for name in names)])


def _section(name, rows) -> str:
    lines = [f"## {name}", "", f"| {name} | optax_warmup | note |", "|---|---|---|"]
    for row in rows:
        lines.append(f"| `{row.call}` | `{row.ours}` | {as_code(row.note)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(migration_page())
    print(f"wrote {PAGE}")

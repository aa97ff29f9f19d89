"""Field types, for writing your own schedules and shapes.

Schedules and shapes are values: frozen dataclasses that are pytrees of their numbers.
Derive from `Schedule` or `shapes.Shape` and annotate each field with what it holds:

- `Rate`, `PositiveRate`: a value of a schedule, >= 0 or > 0
- `Length`, `PositiveLength`: a whole number of steps, >= 0 or >= 1; `stretch`
  multiplies it
- `Timescale`: a time in steps, > 0, not necessarily whole; `stretch` multiplies it
- `Count`, `Seed`: a whole number that is not a length, >= 1 or >= 0
- `Flag`: True or False, part of the pytree's structure
- `Annotated[ArrayLike, Number(...)]`, `Annotated[ArrayLike, WholeNumber(...)]`: a
  number with bounds of your own
- `Schedule`, `shapes.Shape`: another schedule or shape. To let a type checker accept
  numbers and functions too, write `ScheduleLike` or `shapes.ShapeLike`.
"""

from optax_warmup.values._kinds import (
    Count as Count,
    Flag as Flag,
    Kind as Kind,
    Length as Length,
    Number as Number,
    PositiveLength as PositiveLength,
    PositiveRate as PositiveRate,
    Rate as Rate,
    Seed as Seed,
    Timescale as Timescale,
    WholeNumber as WholeNumber,
)
from optax_warmup.values._value import Value as Value

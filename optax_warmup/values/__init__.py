"""Values, and what their fields hold: to write a schedule or a shape of your own.

Schedules and shapes are values: frozen dataclasses, pytrees of their numbers. Derive
from `Schedule` or `shapes.Shape` and annotate each field with what it holds:

- `Rate`, `PositiveRate`: a value of a schedule, >= 0 or > 0
- `Length`, `PositiveLength`: a whole number of steps; `stretch` changes it
- `Timescale`: a time in steps that need not be whole; `stretch` changes it
- `Count`, `Seed`: whole numbers that are not lengths, from 1 and from 0
- `Flag`: True or False, part of the structure
- `Annotated[ArrayLike, Number(...)]`, `Annotated[ArrayLike, WholeNumber(...)]`
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

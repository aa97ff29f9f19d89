"""The vocabulary again, in float64; see its two rooms."""

from types import SimpleNamespace

import oracle_basics
import oracle_more
from oracle_basics import *  # noqa: F403
from oracle_more import *  # noqa: F403

shapes = SimpleNamespace(
    **{
        name: getattr(room, name)
        for room in (oracle_basics, oracle_more)
        for name in room.SHAPES
    }
)

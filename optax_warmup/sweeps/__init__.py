"""Sweeps and searches: many configurations in one compiled program, ranked."""

from optax_warmup.sweeps._points import (
    grid as grid,
    log_space as log_space,
    random_search as random_search,
)
from optax_warmup.sweeps._rank import (
    Ranked as Ranked,
    rank as rank,
)
from optax_warmup.sweeps._search import search as search
from optax_warmup.sweeps._sweep import sweep as sweep

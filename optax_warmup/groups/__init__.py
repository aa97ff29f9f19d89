"""Rates by path: rules that give each array its multiplier, schedule and decay.

A `Rule` says which arrays it is for, by a regular expression or a function, and what
they get; the first of a list that matches counts. `layerwise_decay`, `mup_adam`,
`mup_sgd` and `mup_eps` are sets of rules that depend on all arrays, and `combine`
applies several. `scale_by_rules` is the transform; `table` shows what each array gets.
"""

from optax_warmup.groups._combine import combine as combine
from optax_warmup.groups._layerwise import layerwise_decay as layerwise_decay
from optax_warmup.groups._masks import (
    decay_mask as decay_mask,
    labels as labels,
    trained_mask as trained_mask,
)
from optax_warmup.groups._mup import (
    mup_adam as mup_adam,
    mup_eps as mup_eps,
    mup_sgd as mup_sgd,
)
from optax_warmup.groups._rule import Rule as Rule
from optax_warmup.groups._scale_by_rules import scale_by_rules as scale_by_rules
from optax_warmup.groups._scale_eps import scale_eps as scale_eps
from optax_warmup.groups._table import (
    Row as Row,
    Table as Table,
    table as table,
)

"""The vocabulary again, in float64; see its two rooms."""

from types import SimpleNamespace

import oracle_modifiers
import oracle_schedules
from oracle_modifiers import *  # noqa: F403
from oracle_schedules import *  # noqa: F403

shapes = SimpleNamespace(
    **{
        name: getattr(room, name)
        for room in (oracle_schedules, oracle_modifiers)
        for name in room.SHAPES
    }
)
compat = SimpleNamespace(
    optax=SimpleNamespace(
        warmup_constant_schedule=oracle_modifiers.warmup_constant_schedule,
        warmup_cosine_decay_schedule=oracle_modifiers.warmup_cosine_decay_schedule,
        warmup_exponential_decay_schedule=(
            oracle_modifiers.warmup_exponential_decay_schedule
        ),
    ),
    transformers=SimpleNamespace(get_scheduler=oracle_modifiers.get_scheduler),
)

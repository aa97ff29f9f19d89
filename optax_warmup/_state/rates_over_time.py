"""The rates of a whole run: what a record keeps of them, and how it is read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optax_warmup._state.given_schedule import ScheduleOrSchedules, with_given
from optax_warmup._state.groups import Group, product_of
from optax_warmup._state.rate import require_sound
from optax_warmup._state.scales import groups_of


class Visible(NamedTuple):
    """What the states show of the rates of one update; see `RecordMomentsState`."""

    rates: Mapping[str, jax.Array | np.ndarray]
    schedule_counts: Mapping[str, jax.Array | np.ndarray]
    clock: jax.Array | np.ndarray


def visible_rates(opt_state: optax.OptState) -> Visible:
    """The rates that an optimizer's state shows, for a record.

    A record must be able to wrap any optimizer, so this never raises.
    """
    groups = _recorded(opt_state)
    clocks = [count for group in groups for count in group.clocks.values()]
    return Visible(
        rates={group.name: product_of(group) for group in groups},
        schedule_counts={
            group.name: next(iter(group.counts.values()))
            for group in groups
            if group.counts
        },
        clock=jnp.max(jnp.stack(clocks), axis=0) if clocks else jnp.int32(0),
    )


def rates_over_time(
    owner: str,
    opt_state: optax.OptState,
    seen: Visible,
    schedule: ScheduleOrSchedules | None,
) -> dict[str, np.ndarray]:
    """The rate of each group in each row of a record, NaN where it is not known.

    Args:
        owner: the function in whose name an error is raised.
        opt_state: the state of the optimizer that was recorded.
        seen: tables of what `visible_rates` returned, one row an update.
        schedule: the rates that no state shows, as for `learning_rate`.
    """
    rows = len(seen.clock)
    recorded, groups = _recorded(opt_state), []
    if schedule is not None:
        require_sound(owner, recorded)
    for group in recorded:
        # The product is kept in place of the first scale.
        scales = [*group.rates, *group.factors] or ["none"]
        kept = dict.fromkeys(scales, jnp.float32(1))
        kept[scales[0]] = jnp.asarray(seen.rates[group.name])
        groups.append(
            replace(
                group,
                rates={path: kept.pop(path) for path in group.rates},
                factors=kept,
                counts={
                    path: jnp.asarray(seen.schedule_counts[group.name])
                    for path in group.counts
                },
            )
        )
    found = {}
    for group in with_given(owner, groups, schedule):
        rate = product_of(group) if group.is_known else jnp.nan
        found[group.name] = np.broadcast_to(np.asarray(rate, np.float64), (rows,))
    return found


def _recorded(opt_state: optax.OptState) -> list[Group]:
    return [g for g in groups_of(opt_state) if g.sources or g.may_train]

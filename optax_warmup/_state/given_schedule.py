"""Learning rates that no state holds, from the schedule that the user gives."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from optax_warmup._schedules.schedule import Schedule, as_schedule, constant
from optax_warmup._state.groups import Group, merged, names, of

ScheduleOrSchedules: TypeAlias = (
    optax.ScalarOrSchedule | Mapping[Any, optax.ScalarOrSchedule]
)


def with_given(
    owner: str, groups: list[Group], schedule: ScheduleOrSchedules | None
) -> list[Group]:
    """The groups, with the rates that follow from a schedule, or from one by name."""
    if schedule is None:
        return groups
    if isinstance(schedule, Mapping):
        # Labels of a partition may be numbers; the names of groups are strings.
        named = {str(label): given for label, given in schedule.items()}
        return _with_schedules(owner, groups, named)
    return _with_schedule(owner, groups, schedule)


def _with_schedules(
    owner: str, groups: list[Group], schedules: Mapping[str, Any]
) -> list[Group]:
    """The groups, with the rates that were given by name."""
    named = {group.name: group for group in groups}
    for name in schedules:
        if name not in named:
            raise ValueError(
                f"{owner}: schedule has the key {name!r}, but the groups of parameters "
                f"are {names(groups)}."
            )
        if named[name].rates:
            _refuse_second(owner, named[name])
    return [
        _with_rate(owner, group, schedules[group.name], group.name)
        if group.name in schedules
        else group
        for group in groups
    ]


def _with_schedule(owner: str, groups: list[Group], schedule: Any) -> list[Group]:
    """The groups, with the one rate that was given for all that lack one."""
    lacking = [g for g in groups if g.counts or (not g.rates and g.may_train)]
    if not lacking:
        _refuse_second(owner, groups[0])
    # They share the schedule, and their counts advance together.
    return merged(
        [
            _with_rate(owner, group, schedule, "schedule")
            if group in lacking
            else group
            for group in groups
        ]
    )


def _with_rate(owner: str, group: Group, given: Any, key: str) -> Group:
    schedule = as_schedule(given, owner, "schedule")
    counts = list(group.counts.values())
    if not counts and not isinstance(schedule, constant):
        raise ValueError(
            f"{owner}: opt_state counts no updates of a schedule{of([group])}, so "
            f"{given!r} cannot be evaluated. If its rate is constant, pass the number "
            f"(schedule={{{group.name!r}: 1e-3}} for one group of several)."
        )
    return replace(group, rates={key: _last_value(schedule, counts)}, counts={})


def _last_value(schedule: Schedule, counts: list[jax.Array]) -> jax.Array:
    """A schedule's value in the last update; before the first, the value in that."""
    count = counts[0] if counts else jnp.int32(0)
    return schedule(jnp.maximum(jnp.asarray(count) - 1, 0))


def _refuse_second(owner: str, group: Group) -> None:
    raise ValueError(
        f"{owner}: opt_state holds the learning rate{of([group])} itself. Leave "
        "schedule out; it is for optimizers such as optax.adamw(schedule), whose state "
        "holds none."
    )

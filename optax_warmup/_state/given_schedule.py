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
    for name in schedules:
        _require_fitting(owner, groups, name)
    return [
        _with_rate(owner, group, schedules[key], key)
        if (key := _key_of(group, schedules)) is not None
        else group
        for group in groups
    ]


def _key_of(group: Group, schedules: Mapping[str, Any]) -> str | None:
    """The key under which a group's schedule is given: its name, or its label."""
    if group.name in schedules:
        return group.name
    return group.label if group.label in schedules and group.lacks_rate else None


def _require_fitting(owner: str, groups: list[Group], name: str) -> None:
    """Refuses a key that names no group, or one whose rate is known."""
    fitting = [group for group in groups if name in (group.name, group.label)]
    if not fitting:
        raise ValueError(
            f"{owner}: schedule has the key {name!r}, but the groups of parameters "
            f"are {names(groups)}."
        )
    if not any(group.lacks_rate for group in fitting):
        _refuse_second(owner, fitting[0])


def _with_schedule(owner: str, groups: list[Group], schedule: Any) -> list[Group]:
    """The groups, with the one rate that was given for all that lack one."""
    lacking = [group for group in groups if group.lacks_rate]
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

"""Reading the learning rate that was applied, from optimizer state in any nesting."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import optax

from optax_warmup import _check
from optax_warmup._state.given_schedule import ScheduleOrSchedules, with_given
from optax_warmup._state.groups import Group, names, of, product_of
from optax_warmup._state.passed import require_state
from optax_warmup._state.scales import groups_of


def learning_rate(
    opt_state: optax.OptState,
    *,
    schedule: ScheduleOrSchedules | None = None,
    factors: bool = True,
) -> jax.Array | float:
    """Returns the learning rate that was applied in an optimizer's last update.

    It is the product of all that stands between the optimizer's direction and the
    parameters: the schedule's value and the factors of `scale_by_warmup`,
    `reduce_on_plateau` and `automatic_warmup`, in any nesting. Before the first update
    it is the rate which that one will use.

    Constant scales such as `optax.scale(0.1)` leave no trace in a state; with
    `scale_by_warmup(0.1)` in their place they are counted. Neither do the directions
    that some optimizers scale themselves, such as `optax.contrib.prodigy` and the trust
    ratios of `optax.lamb`: the rate is what multiplies the direction. Weight decay with
    its own rate, as in chain(scale_by_adam(), scale_by_warmup(1e-3),
    optax.add_decayed_weights(0.1), scale_by_learning_rate(schedule)), is scaled by what
    stands behind it: here 0.1 times the value with factors=False.

    Args:
        opt_state: the state of an optimizer, or what holds it, such as a flax
            `nnx.Optimizer` or `TrainState`.
        schedule: the learning rate that was given to an optimizer of optax's own, such
            as `optax.adamw(schedule)`, whose state holds no rate: a schedule or a
            number, or a dictionary of them by the name of the group.
        factors: False gives the schedule's own value, without the factors.

    Returns:
        A Python float; where the state is traced, or has axes of a `vmap`, an array of
        shape () or with these axes. Outside of `jit` the value is fetched from the
        device, which waits for the update.

    Raises:
        TypeError: `schedule` is neither a number nor a schedule, or `opt_state` is an
            optimizer.
        ValueError: no rate is found in the state, or several groups of parameters have
            their own; two learning rates follow each other in a chain, or one stands in
            front of Adam, where it has no effect; `schedule` is given for what has a
            rate, or lacks what it should describe.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = optax.chain(
        ...     optax.scale_by_adam(),
        ...     ow.scale_by_learning_rate(0.5),
        ...     ow.scale_by_warmup(ow.warmup(1.0, 4, offset=1)),
        ... )
        >>> state = optimizer.init(jnp.ones(3))
        >>> ow.learning_rate(state), ow.learning_rate(state, factors=False)
        (0.125, 0.5)
        >>> schedule = ow.warmup_cosine(0.5, 10, 100)
        >>> state = optax.adamw(schedule).init(jnp.ones(3))
        >>> ow.learning_rate(state, schedule=schedule)
        0.0
    """
    owner = "learning_rate"
    _check.flag(owner, "factors", factors)
    groups = _rated(owner, opt_state, schedule)
    known = [group for group in groups if group.rates]
    if len(known) > 1:
        raise ValueError(
            f"{owner}: {len(known)} groups of parameters have a learning rate of their "
            f"own ({names(known)}). Use optax_warmup.learning_rates, which returns "
            "all."
        )
    hidden = [group for group in groups if group.trains and not group.rates]
    if hidden:
        example = f"schedule={{{hidden[0].name!r}: 1e-3}}"
        raise ValueError(
            f"{owner}: opt_state shows no learning rate for {names(hidden)}, beside "
            f"that of {names(known)}. Pass it, as in {example}, or use "
            "optax_warmup.learning_rates for those that are known."
        )
    return _readable(product_of(known[0], factors=factors))


def learning_rates(
    opt_state: optax.OptState,
    *,
    schedule: ScheduleOrSchedules | None = None,
    factors: bool = True,
) -> dict[str, jax.Array | float]:
    """Returns the learning rates applied in an optimizer's last update, by group.

    A group is what has the same rate and the same factors. Its name is its label in
    `optax.partition`; labels of nested partitions, or of several in a chain, are joined
    by "/". Partitions of the same labels are taken to be the same. A group of an
    `optax.masked` is named by the paths of its parameters, cut where they part from
    the others: "encoder", "embed+head", "layers/*/kernel". Where the state inside the
    mask is not like the parameters, as that of `scale_by_warmup`, no path shows: the
    group is "masked_" and the place of its state, such as "masked_1" for the second of
    a chain, and the rest is "unmasked_1". Optimizers side by side in a dictionary go by
    its keys. A single group of all parameters is "all".

    Args:
        opt_state: as for `learning_rate`.
        schedule: as for `learning_rate`. A label of a partition stands for all groups
            in it that lack a rate.
        factors: as for `learning_rate`.

    Returns:
        A dictionary from the name of a group to its rate, as `learning_rate` returns
        it: with Python floats, ready for JSON or a logger, outside of `jit`. Groups
        whose rate leaves no trace in the state, such as that of `optax.sgd(0.1)`, are
        left out unless `schedule` names them; so are frozen ones.

    Raises:
        TypeError: `schedule` is neither a number nor a schedule, or `opt_state` is an
            optimizer.
        ValueError: as for `learning_rate`, but for several groups.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = optax.chain(
        ...     ow.scale_by_learning_rate(0.5),
        ...     optax.partition(
        ...         {"body": optax.identity(), "head": ow.scale_by_warmup(0.25)},
        ...         {"w": "body", "b": "head"},
        ...     ),
        ... )
        >>> state = optimizer.init({"w": jnp.ones(3), "b": jnp.ones(())})
        >>> ow.learning_rates(state)
        {'body': 0.5, 'head': 0.125}
    """
    owner = "learning_rates"
    _check.flag(owner, "factors", factors)
    groups = _rated(owner, opt_state, schedule)
    return {
        group.name: _readable(product_of(group, factors=factors))
        for group in groups
        if group.rates
    }


def _rated(
    owner: str, opt_state: optax.OptState, schedule: ScheduleOrSchedules | None
) -> list[Group]:
    """The groups, each with its one rate where it is known; at least one is."""
    require_state(owner, opt_state)
    groups = groups_of(opt_state)
    require_sound(owner, groups)
    groups = with_given(owner, groups, schedule)
    uncomputed = [group for group in groups if group.counts]
    if uncomputed:
        raise ValueError(
            f"{owner}: the state of an optax optimizer with a schedule inside, such as "
            f"optax.adamw(schedule), counts updates but holds no learning rate"
            f"{of(uncomputed)}. Pass the schedule it was built with, as in {owner}("
            f"opt_state, schedule={_example(groups, uncomputed)}), or build the "
            "optimizer with optax_warmup.scale_by_learning_rate(schedule)."
        )
    if not any(group.rates for group in groups):
        raise ValueError(
            f"{owner}: opt_state holds no learning rate. For an optimizer with a "
            f"constant one, such as optax.adam(1e-3), pass it: {owner}(opt_state, "
            f"schedule={_example(groups, groups, '1e-3')}). Or put optax_warmup."
            "scale_by_learning_rate(schedule) last in the chain, or use "
            "optax.inject_hyperparams."
        )
    return groups


def require_sound(owner: str, groups: list[Group]) -> None:
    """Refuses rates in a row, and rates without effect."""
    for group in groups:
        _require_one_source(owner, group)
        _require_effect(owner, group)


def _require_one_source(owner: str, group: Group) -> None:
    """Refuses two learning rates in a row: which is one, and which a factor?"""
    if len(group.sources) > 1:
        raise ValueError(
            f"{owner}: two learning rates act on the same updates, at "
            f"{' and '.join(group.sources)} of opt_state. Each descends, so together "
            "they climb. If one is meant as a factor, use optax_warmup."
            "scale_by_warmup(factor) for it; an optimizer such as optax.adamw(...) has "
            "its own learning rate and needs no second. The states of separate "
            "optimizers are read one by one."
        )


def _require_effect(owner: str, group: Group) -> None:
    """Refuses a learning rate or a factor that the optimizer divides out again."""
    if group.undone:
        raise ValueError(
            f"{owner}: the scale at {' and '.join(group.undone)} of opt_state stands "
            f"in front of the optimizer at {' and '.join(group.normalizers)}, whose "
            "updates do not depend on the size of gradients, so it has no effect. Put "
            f"it behind the optimizer in the chain.{flipped_sign(group, group.undone)}"
        )


def flipped_sign(group: Group, undone: Sequence[str]) -> str:
    """What a learning rate in front of Adam still does, for a message."""
    if not set(undone) & set(group.sources):
        return ""
    return (
        " There a learning rate only flips the sign: if the optimizer has a rate of "
        "its own, the loss is climbed."
    )


def _readable(rate: jax.Array) -> jax.Array | float:
    return rate if _check.is_traced(rate) or rate.ndim else float(rate)


def _example(groups: list[Group], lacking: list[Group], value: str = "schedule") -> str:
    """What to pass as `schedule` for the groups that lack a rate."""
    if len(groups) == 1:
        return value
    return f"{{{', '.join(f'{group.name!r}: {value}' for group in lacking)}}}"

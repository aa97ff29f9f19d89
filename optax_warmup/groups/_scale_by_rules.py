"""The transform that scales each array by what its rule says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from optax_warmup import _check
from optax_warmup._schedules.schedule import as_schedule
from optax_warmup._state import start
from optax_warmup._state.trial import is_trial
from optax_warmup._transforms.arguments import clock, require_params, require_state
from optax_warmup._transforms.scale_by_learning_rate import held
from optax_warmup.groups._in_order import as_rule_set
from optax_warmup.groups._plan import (
    Plan,
    Plans,
    has_rates,
    require_decay,
    require_rates,
)
from optax_warmup.groups._rule import Rules
from optax_warmup.groups._scaling import rates_of, scaled, scales_of

_OWNER = "groups.scale_by_rules"


class ScaleByRulesState(NamedTuple):
    """The state of `groups.scale_by_rules`.

    Attributes:
        count: updates done, int32, shape ().
        learning_rate: the different learning rates of the last update, before any
            multiplier, float32, shape (rates,); before the first update, those that it
            will use. A host may write others, as into `ScaleByLearningRateState`. An
            empty tuple where the transform has only multipliers.
        scheduled: the schedules' values, as there.
        scales: what the last update was multiplied by, but for the sign, float32, shape
            (groups,).
        groups: a dictionary with the names of the groups, in the order of `scales`, and
            without arrays.

    Example:
        >>> import jax.numpy as jnp, optax_warmup as ow
        >>> rules = [ow.groups.Rule("b", multiplier=0.5), ow.groups.Rule("w")]
        >>> params = {"w": jnp.ones(2), "b": jnp.ones(2)}
        >>> state = ow.groups.scale_by_rules(rules, 0.1).init(params)
        >>> list(state.groups), state.scales.round(3).tolist()
        (['b', 'w'], [0.05000000074505806, 0.10000000149011612])
    """

    count: jax.Array  # type: ignore[assignment]  # tuple.count, as optax has it
    learning_rate: Any
    scheduled: Any
    scales: jax.Array
    groups: Any

    @property
    def schedule_count(self) -> jax.Array:
        """How many updates the schedules have counted."""
        return self.count

    @property
    def update_scales(self) -> dict[str, jax.Array]:
        """What the last update of each group was multiplied by, but for the sign."""
        if not isinstance(self.groups, Mapping):  # of a placeholder
            return {}
        return {name: self.scales[..., k] for k, name in enumerate(sorted(self.groups))}

    @property
    def is_learning_rate(self) -> bool:
        """Whether these are learning rates, and not factors on one."""
        return bool(jax.tree.leaves(self.learning_rate))


def scale_by_rules(
    rules: Rules,
    learning_rate: optax.ScalarOrSchedule | None = None,
    *,
    weight_decay: float | None = None,
    flip_sign: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Scales the updates of each array by what the first rule that matches it says.

    With a learning rate, in place of that of an optimizer, for an array p of group g:

        rate_g = multiplier_g * learning_rate_g(count)
        update = -rate_g * (update + decay_multiplier_g * weight_decay * p)

    Without one, behind an optimizer with its own, such as `optax.adamw(schedule)`:

        update = multiplier_g * update

    Frozen arrays get updates of zero. All schedules of one kind are evaluated together,
    and every array is multiplied by one number, so that many groups cost what one does.

    Args:
        rules: a list of `Rule`, or what `layerwise_decay`, `mup_adam`, `mup_sgd` and
            `combine` return.
        learning_rate: a schedule or a number >= 0, for all rules without their own. It
            may be left out if all have one, or if there are only multipliers.
        weight_decay: the coefficient of a decay that follows the rate, as AdamW's,
            >= 0. 0.0 says that there is none, also not in front, and accepts decay
            multipliers, which None does not.
        flip_sign: whether learning rates multiply by -1 too, in order to descend.

    Returns:
        A transform with state `states.ScaleByRulesState`. `learning_rates` returns the
        rate of each group. Updates keep their dtypes. An update needs the parameters if
        there is a weight decay, and takes `step=k`, as `scale_by_learning_rate` does.

    Raises:
        TypeError: `rules` is not a set of rules, or an argument is of another type.
        ValueError: a number is out of its range; two rules of different rates have one
            name; at `init`, two arrays have one path; a rule matches nothing, or
            only what others took; no rule matches an array; some rules have a learning
            rate and others none; a decay multiplier has no weight decay to act on.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> Rule = ow.groups.Rule
        >>> rules = [
        ...     Rule("embed", multiplier=0.5, name="embed"),
        ...     Rule("head", learning_rate=ow.warmup_constant(1.0, 4, offset=1)),
        ...     Rule("b$", decay_multiplier=0),
        ...     Rule(".*", name="rest"),
        ... ]
        >>> params = {k: jnp.ones(2) for k in ("embed", "head", "w", "b")}
        >>> optimizer = optax.chain(
        ...     optax.scale_by_adam(),
        ...     ow.groups.scale_by_rules(rules, 0.125, weight_decay=0.1),
        ... )
        >>> ow.learning_rates(optimizer.init(params))
        {'b$+rest': 0.125, 'embed': 0.0625, 'head': 0.25}

    Source: the decay is that of I. Loshchilov and F. Hutter, "Decoupled Weight Decay
    Regularization", 2019, arXiv:1711.05101.
    """
    rule_set = as_rule_set(_OWNER, rules)
    common = None
    if learning_rate is not None:
        if not callable(learning_rate):
            _check.one(_OWNER, "learning_rate", learning_rate, "a number or a schedule")
        common = as_schedule(learning_rate, _OWNER, "learning_rate")
    decay: Any = weight_decay
    if decay is not None:
        _check.one(_OWNER, "weight_decay", decay, "a number")
        decay = _check.number(_OWNER, "weight_decay", decay, minimum=0)
    sign = -1 if _check.flag(_OWNER, "flip_sign", flip_sign) else 1
    decays = _check.is_traced(decay) or bool(decay)
    plans = Plans(_OWNER, rule_set)

    def require_fitting(plan: Plan) -> None:
        require_rates(_OWNER, plan, common is not None)
        require_decay(_OWNER, plan, decay, has_rates(plan, common))

    def init_fn(params: optax.Params) -> ScaleByRulesState:
        count, shown = start.counts()
        if _is_placeholder(params):  # of optax.tree.map_params, which looks for params
            if plans.latest is None:  # the names are not known
                return ScaleByRulesState(count, 0, 0, count, 0)  # type: ignore[arg-type]
            plan = plans.latest
        else:
            plan = plans.of(params) if is_trial() else plans.begin(params)
        require_fitting(plan)
        rates = rates_of(plan, common, shown)
        return ScaleByRulesState(
            count,
            rates,
            jax.tree.map(lambda x: jnp.array(x, copy=True), rates),
            scales_of(plan, common, rates, shown),
            {name: optax.EmptyState() for name in plan.names},
        )

    def update_fn(
        updates: optax.Updates,
        state: ScaleByRulesState,
        params: optax.Params | None = None,
        *,
        step: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ScaleByRulesState]:
        del extra
        require_state(_OWNER, state, ScaleByRulesState)
        if decays:
            require_params(_OWNER, params)
        plan = plans.of(updates)
        require_fitting(plan)
        if set(state.groups) != set(plan.names):
            raise ValueError(
                f"{_OWNER}: the state is of the groups {sorted(state.groups)}, and the "
                f"rules make {list(plan.names)}. It is of other rules or another "
                "model; optax_warmup.adopt makes a state of this one from it."
            )
        count = clock(_OWNER, state.count, step)
        rates = rates_of(plan, common, count)
        scheduled: Any = ()
        if has_rates(plan, common):
            rates, scheduled = held(state.learning_rate, state.scheduled, rates)
        scales = scales_of(plan, common, rates, count)
        factors = sign * scales if has_rates(plan, common) else scales
        leaves, structure = jax.tree.flatten(updates)
        others = [None] * len(leaves)
        if decays:
            others = structure.flatten_up_to(params)  # type: ignore[attr-defined]
        new = [
            scaled(_OWNER, plan, index, update, factors, param, decay)
            for index, (update, param) in enumerate(zip(leaves, others, strict=True))
        ]
        return jax.tree.unflatten(structure, new), ScaleByRulesState(
            optax.safe_increment(count), rates, scheduled, scales, state.groups
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _is_placeholder(params: Any) -> bool:
    """Whether this only marks the places of parameters: a node with nothing in it."""
    containers = (Mapping, list, tuple, type(None))
    return not (jax.tree.leaves(params) or isinstance(params, containers))

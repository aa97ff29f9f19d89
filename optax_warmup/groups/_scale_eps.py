"""An eps of Adam that differs between arrays."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax

from optax_warmup.groups._in_order import as_rule_set
from optax_warmup.groups._plan import Plan, Plans
from optax_warmup.groups._rule import Rules
from optax_warmup.groups._scaling import numbers_of, scaled

_OWNER = "groups.scale_eps"


def scale_eps(rules: Rules) -> optax.GradientTransformationExtraArgs:
    """Multiplies Adam's eps by a number for each array.

    Put it directly in front of Adam. It divides gradients by the multiplier c, and

        (g / c) / (sqrt((g / c)**2) + eps) = g / (sqrt(g**2) + c * eps)

    So Adam's moments, and what `record_moments` shows of gradients, are those of g / c.
    An `eps_root` is multiplied by c**2.

    Args:
        rules: `mup_eps(base_params)`, or a list of `Rule` with multipliers only, > 0.

    Returns:
        A transform without a state. Updates keep their dtypes.

    Raises:
        TypeError: `rules` is not a set of rules.
        ValueError: at `init`, a rule does not fit, has more than a multiplier, or
            multiplies by 0.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> rules = [ow.groups.Rule(".*", multiplier=4.0)]
        >>> one = optax.chain(ow.groups.scale_eps(rules), optax.scale_by_adam(eps=0.25))
        >>> other = optax.scale_by_adam(eps=1.0)
        >>> ones = jnp.ones(2)
        >>> for transform in (one, other):
        ...     updates, _ = transform.update(ones, transform.init(ones))
        ...     print(round(updates[0].item(), 4))
        0.5
        0.5

    Source: K. Everett et al., "Scaling Exponents Across Parameterizations and
    Optimizers", 2024, arXiv:2407.05872.
    """
    plans = Plans(_OWNER, as_rule_set(_OWNER, rules))

    def init_fn(params: optax.Params) -> optax.EmptyState:
        _require_numbers(plans.begin(params))
        return optax.EmptyState()

    def update_fn(
        updates: optax.Updates, state: Any, params: Any = None, **extra: Any
    ) -> tuple[optax.Updates, Any]:
        del params, extra
        plan = plans.of(updates)
        _require_numbers(plan)
        factors = 1 / numbers_of([scale.number for scale in plan.scales])
        leaves, structure = jax.tree.flatten(updates)
        new = [
            scaled(_OWNER, plan, index, update, factors, None, None)
            for index, update in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, new), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _require_numbers(plan: Plan) -> None:
    frozen = any(place < 0 for places in plan.indices for place in places)
    decays = any(x != 1 for each in plan.decays for x in each)
    schedules = any(s.factors or s.learning_rate is not None for s in plan.scales)
    if frozen or decays or schedules:
        raise ValueError(
            f"{_OWNER}: rules for eps have multipliers only, which are numbers; not a "
            "schedule, learning_rate, decay_multiplier or frozen. They are another set "
            "than those of scale_by_rules."
        )
    for name, scale in zip(plan.names, plan.scales, strict=False):
        known: Any = scale.number
        if isinstance(known, float | int | np.ndarray) and not np.all(known > 0):
            raise ValueError(
                f"{_OWNER}: multiplier must be > 0, got {known!r} for the rule {name}."
            )

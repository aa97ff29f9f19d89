"""The arithmetic of `scale_by_rules`: scales of groups, and updates times them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_warmup import _check
from optax_warmup._state.trial import is_trial
from optax_warmup.groups._plan import Plan
from optax_warmup.groups._together import values_of


def rates_of(plan: Plan, common: Any, count: jax.Array) -> Any:
    """The different learning rates at a step; () where there are only multipliers."""
    different, _ = _different(plan, common)
    return values_of(different, count) if different else ()


def scales_of(plan: Plan, common: Any, rates: Any, count: jax.Array) -> jax.Array:
    """What each group is multiplied by, shape (groups,)."""
    result = numbers_of([scale.number for scale in plan.scales])
    _, places = _different(plan, common)
    if places:
        result = _picked(rates, places) * result
    factors = list({id(f): f for s in plan.scales for f in s.factors}.values())
    if not factors:
        return result
    values = jnp.append(values_of(factors, count), 1.0)
    number = {id(factor): place for place, factor in enumerate(factors)}
    for depth in range(max(len(scale.factors) for scale in plan.scales)):
        places = [
            number[id(s.factors[depth])] if depth < len(s.factors) else len(factors)
            for s in plan.scales
        ]
        result = result * _picked(values, places)
    return result


def scaled(
    owner: str,
    plan: Plan,
    index: int,
    update: Any,
    factors: jax.Array,
    param: Any,
    decay: Any,
) -> jax.Array:
    """The update of one array: (update + decay * param) * factor, in its own dtype.

    The arithmetic is that of single precision at least, as `scale_by_learning_rate`'s.
    """
    update = jnp.asarray(update)
    places, decays = plan.indices[index], plan.decays[index]
    if places[0] < 0:  # frozen; not 0 * update, which may be NaN
        return jnp.zeros_like(update)
    if len(places) > 1 and update.shape[:1] != (len(places),):
        if not is_trial():
            raise ValueError(
                f"{owner}: {plan.paths[index]} has {len(places)} slices, and its "
                f"update the shape {update.shape}. Inside shard_map, do not split the "
                "axis of the layers."
            )
        places, decays = places[:1], decays[:1]
    wide = jnp.promote_types(update.dtype, factors.dtype)
    result = update.astype(wide)
    if param is not None:
        products = [decay * each for each in decays]
        if any(_check.is_traced(x) or x != 0 for x in products):
            taken = _along(update, numbers_of(products).astype(wide))
            result = result + taken * jnp.asarray(param).astype(wide)
    factor = _along(update, _slices(factors, places)).astype(wide)
    product: jax.Array = (result * factor).astype(update.dtype)
    return product


def _slices(factors: jax.Array, places: Sequence[int]) -> jax.Array:
    """The factors of the slices of an array: a slice where they are in a row."""
    first, count = places[0], len(places)
    in_a_row = list(places) == list(range(first, first + count))
    picked: jax.Array = (
        factors[first : first + count] if in_a_row else factors[np.array(places)]
    )
    return picked


def _along(update: jax.Array, numbers: jax.Array) -> jax.Array:
    """One number for an array, or one for each slice along its first axis."""
    if numbers.shape == (1,):
        number: jax.Array = numbers[0]
        return number
    return numbers.reshape(-1, *[1] * (update.ndim - 1))


def numbers_of(numbers: Sequence[Any]) -> jax.Array:
    """Numbers as a floating-point vector, a constant of the program if known."""
    real = jnp.result_type(float)
    if any(_check.is_traced(number) for number in numbers):
        return jnp.stack([jnp.asarray(number, real) for number in numbers])
    return jnp.asarray(np.asarray(numbers, real))


def _different(plan: Plan, common: Any) -> tuple[list[Any], list[int]]:
    """The different learning rates of a plan, and the place of each scale's.

    Both are empty where it has only multipliers.
    """
    found: list[Any] = []
    places = []
    for scale in plan.scales:
        rate = common if scale.learning_rate is None else scale.learning_rate
        if rate is None:
            continue
        same = (k for k, x in enumerate(found) if rate is x or rate == x)
        place = next(same, len(found))
        if place == len(found):
            found.append(rate)
        places.append(place)
    return found, places


def _picked(values: jax.Array, places: list[int]) -> jax.Array:
    """values[places], without a gather where all are the same, or each its own."""
    if len(set(places)) == 1:
        return values[places[0]][None]
    if places == list(range(values.shape[0])):
        return values
    picked: jax.Array = values[np.array(places)]
    return picked

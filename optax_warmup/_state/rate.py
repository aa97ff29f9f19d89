"""Reading the learning rate from optimizer state, in any nesting."""

import jax
import jax.numpy as jnp
import optax

from optax_warmup._state.find import bare, find
from optax_warmup._transforms.automatic_warmup import AutomaticWarmupState
from optax_warmup._transforms.scale_by_learning_rate import ScaleByLearningRateState


def learning_rates(opt_state: optax.OptState) -> dict[str, jax.Array]:
    """The learning rates that an optimizer's last update used, by their place.

    Args:
        opt_state: the state of any optimizer, or a container of it.

    Returns:
        A dictionary from the path of a state to the rate it remembers, an array of
        shape () (with the axes of a vmap, if there are any). It is empty where no rate
        is remembered. Rates are remembered by `scale_by_learning_rate` and by
        `optax.inject_hyperparams`; inside of `automatic_warmup` they are what its
        factor left of them.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = optax.partition(
        ...     {
        ...         "body": ow.scale_by_learning_rate(0.5),
        ...         "head": ow.scale_by_learning_rate(0.25),
        ...     },
        ...     {"w": "body", "b": "head"},
        ... )
        >>> state = optimizer.init({"w": jnp.ones(3), "b": jnp.ones(())})
        >>> for path, rate in ow.learning_rates(state).items():
        ...     print(path, rate)
        inner_states/body/inner_state 0.5
        inner_states/head/inner_state 0.25
    """
    types = (ScaleByLearningRateState, AutomaticWarmupState, *_INJECTED)
    rates = {}
    for path, node in find(opt_state, types).items():
        if isinstance(node, ScaleByLearningRateState):
            rates[path] = bare(node.learning_rate)
        elif isinstance(node, AutomaticWarmupState):
            factor = jnp.where(bare(node.factor) > 0, bare(node.factor), 1)
            inner = learning_rates(node.inner_state)
            rates |= {
                f"{path}/inner_state/{place}": factor * r for place, r in inner.items()
            }
        elif "learning_rate" in node.hyperparams:
            rates[path] = bare(node.hyperparams["learning_rate"])
        else:  # other hyperparameters were injected; the rate may lie inside
            inner = learning_rates(node.inner_state)
            rates |= {f"{path}/inner_state/{place}": r for place, r in inner.items()}
    return rates


def automatic_warmup_of(opt_state: optax.OptState) -> jax.Array:
    """Factor and coherence of the one automatic warmup in a state, NaN without one."""
    nodes = list(find(opt_state, AutomaticWarmupState).values())
    if len(nodes) != 1:
        return jnp.full(2, jnp.nan, jnp.float32)
    return jnp.stack([bare(nodes[0].factor), bare(nodes[0].coherence)])


_INJECTED = (optax.InjectHyperparamsState, optax.InjectStatefulHyperparamsState)


def learning_rate(opt_state: optax.OptState) -> jax.Array:
    """The learning rate that an optimizer's last update used.

    Before the first update it is the rate which that one will use.

    Args:
        opt_state: the state of an optimizer that has `scale_by_learning_rate` or
            `optax.inject_hyperparams` in it, in any nesting: chain, masked, partition,
            MultiSteps, or a flax `nnx.Optimizer` itself.

    Returns:
        The rate, float32, shape () (with the axes of a vmap, if there are any). It
        stays on the device; `float(...)` fetches it.

    Raises:
        ValueError: no rate is remembered in the state, or more than one is.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = optax.MultiSteps(ow.scale_by_learning_rate(0.5), 4)
        >>> ow.learning_rate(optimizer.init(jnp.ones(3))).item()
        0.5
    """
    rates = learning_rates(opt_state)
    if len(rates) == 1:
        return next(iter(rates.values()))
    if not rates:
        raise ValueError(
            "learning_rate: opt_state remembers no learning rate. Put "
            "optax_warmup.scale_by_learning_rate(schedule) last in the chain instead "
            "of a schedule inside the optimizer (optax.adamw(schedule)), or use "
            "optax.inject_hyperparams."
        )
    raise ValueError(
        f"learning_rate: opt_state remembers {len(rates)} learning rates, at "
        f"{', '.join(rates)}. Use optax_warmup.learning_rates, which returns all."
    )

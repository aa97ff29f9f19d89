"""The wrapper that keeps a record of Adam's moments in the optimizer's state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optax_warmup import _check
from optax_warmup._record import moments, slots
from optax_warmup._state import bare, find, learning_rates

# Adam and what optax builds on its state: adamw, nadam, radam, lamb, yogi, amsgrad.
_WITH_MOMENTS = (optax.ScaleByAdamState, optax.ScaleByAmsgradState)


class RecordMomentsState(NamedTuple):
    """The state of `record_moments`: the wrapped optimizer's, and a record beside it.

    The record has a fixed size. Its last row is scratch: what an unrecorded step
    writes goes there.

    Attributes:
        inner_state: the state of the wrapped optimizer, whole.
        layout: what the axes and the sums mean; structure without leaves.
        steps: the step of each row, -1 where it is empty, int32, shape (rows + 1,).
        learning_rate: the rate used at that step, NaN where none was remembered,
            float32, shape (rows + 1,).
        sums: the sums over each group's coordinates, float32, shape
            (rows + 1, groups, columns).

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> state = ow.record_moments(optax.adam(1e-3)).init({"w": jnp.ones(3)})
        >>> state.sums.shape
        (449, 1, 6)
    """

    inner_state: optax.OptState
    layout: moments.Layout
    steps: jax.Array
    learning_rate: jax.Array
    sums: jax.Array


def record_moments(
    inner: optax.GradientTransformation | optax.MultiSteps,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    gradients: bool = True,
    parameters: bool = True,
    groups: Callable[[str], str] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Wraps an optimizer and records how its Adam moments warm up.

    The updates are the wrapped optimizer's own, bit for bit. Recorded are every step
    below 32 and then 16 steps an octave, in a table of fixed size inside the state; a
    step that is not recorded only passes a branch by. Nothing is fetched from the
    device: `read_moments` does that whenever you like.

    With nu_hat = nu / (1 - b2**n), mu_hat = mu / (1 - b1**n) after n updates, each
    group's record holds the sums of nu, of (mu_hat / (sqrt(nu_hat) + eps))**2, the
    count of sqrt(nu_hat) < eps, and, where they are asked for, the sums of g**2,
    g**2 / max(nu_hat, eps**2) and parameter**2.

    Args:
        inner: any optimizer with Adam's moments in it (adam, adamw, nadam, radam, lamb,
            yogi, amsgrad), in any nesting. For `update_to_weight`, let it remember its
            learning rate: see `scale_by_learning_rate`.
        b1, b2, eps: the wrapped optimizer's own, in [0, 1), [0, 1) and >= 0; they are
            not in its state. The defaults are those of `optax.adam`.
        gradients: whether to record how gradients compare with nu_hat. The gradients
            are those that reach this wrapper: wrap `scale_by_adam` alone to see them
            after clipping.
        parameters: whether to record the size of the parameters; `update` then needs
            its `params` argument.
        groups: maps a parameter's path, such as "layers/0/kernel", to the name of its
            group; by default each parameter is a group.

    Returns:
        A transform with state `RecordMomentsState`.

    Raises:
        TypeError: `inner` is not a gradient transformation, or a number is none.
        ValueError: a number is out of its range; at `init`, the optimizer holds no
            Adam moments, or two of its parts hold moments of the same parameter; at
            `update`, `params` is missing.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.record_moments(optax.adam(1e-3, b2=0.99), b2=0.99)
        >>> params = {"w": jnp.ones(3)}
        >>> state = optimizer.init(params)
        >>> for _ in range(4):
        ...     updates, state = optimizer.update(params, state, params)
        >>> ow.read_moments(state).effective_samples.round(2).tolist()
        [1.0, 2.0, 3.0, 4.0]

    Source: D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2015,
    arXiv:1412.6980, algorithm 1 (the moments).
    """
    owner = "record_moments"
    if isinstance(inner, optax.MultiSteps):
        inner = inner.gradient_transformation()
    if not isinstance(inner, optax.GradientTransformation):
        raise TypeError(
            f"{owner}: inner must be an optax optimizer such as optax.adam(1e-3), got "
            f"{inner!r}."
        )
    inner = optax.with_extra_args_support(inner)
    b1, b2 = _fraction(owner, "b1", b1), _fraction(owner, "b2", b2)
    eps = float(_check.number(owner, "eps", eps, minimum=0))
    columns = moments.FROM_MOMENTS
    columns += moments.FROM_GRADIENTS if gradients else ()
    columns += moments.FROM_PARAMETERS if parameters else ()

    def init_fn(params: optax.Params) -> RecordMomentsState:
        inner_state = inner.init(params)
        nu = _moments(inner_state, params)[2]
        names, sizes, leaf_groups = _grouped(params, nu, groups)
        layout = moments.Layout(
            names, sizes, columns, leaf_groups, b1=b1, b2=b2, eps=eps, bits=_BITS
        )
        rows = slots.slot_count(_BITS) + 1
        return RecordMomentsState(
            inner_state,
            layout,
            steps=jnp.full(rows, -1, jnp.int32),
            learning_rate=jnp.full(rows, jnp.nan, jnp.float32),
            sums=jnp.zeros((rows, len(names), len(columns)), jnp.float32),
        )

    def update_fn(
        updates: optax.Updates,
        state: RecordMomentsState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, RecordMomentsState]:
        if parameters and params is None:
            raise ValueError(
                f"{owner}: update needs params, as in optimizer.update(grads, state, "
                f"params); or build it with record_moments(..., parameters=False)."
            )
        new_updates, inner_state = inner.update(
            updates, state.inner_state, params, **extra
        )
        before = _moments(state.inner_state, updates)[0]
        count, mu, nu = _moments(inner_state, updates)
        due, row = slots.slot(count - 1, state.layout.bits)
        # Under gradient accumulation Adam stands still: the step was recorded before.
        due &= count > before
        row = jnp.where(due, row, state.steps.shape[0] - 1)
        sums = _measured_if(
            due,
            state,
            count,
            mu,
            nu,
            jax.tree.leaves(updates) if gradients else None,
            jax.tree.leaves(params) if parameters else None,
        )
        return new_updates, RecordMomentsState(
            inner_state,
            state.layout,
            steps=_write(state.steps, jnp.where(due, count - 1, -1), row),
            learning_rate=_write(state.learning_rate, _rate(inner_state), row),
            sums=_write(state.sums, sums, row),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


_BITS = 5  # 448 rows cover every step of an int32; 128 of them the first 2000


def _fraction(owner: str, name: str, x: float) -> float:
    return float(_check.number(owner, name, x, minimum=0, below=1))


def _measured_if(due: jax.Array, state: RecordMomentsState, *operands: Any) -> Any:
    """The sums of this step where it is due, else whatever the scratch row holds.

    The branch not taken returns an operand: built zeros would let XLA turn the
    conditional into a select, which measures at every step.
    """
    return jax.lax.cond(
        due,
        lambda old, *operands: moments.measure(state.layout, *operands),
        lambda old, *_: old,
        state.sums[-1],
        *operands,
    )


def _write(table: jax.Array, row: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(table, row, index, 0)


def _rate(inner_state: optax.OptState) -> jax.Array:
    """The one rate the optimizer remembers, NaN where there is none or several."""
    rates = list(learning_rates(inner_state).values())
    return jnp.float32(rates[0]) if len(rates) == 1 else jnp.float32(jnp.nan)


def _moments(inner_state: optax.OptState, tree: Any) -> tuple[Any, list, list]:
    """Adam's count, and mu and nu for each leaf of `tree`, None where it has none.

    Several parts of an optimizer may hold moments (`optax.partition`), each of its own
    parameters; their counts advance together.
    """
    structure = jax.tree.structure(tree)
    mu: list[Any] = [None] * structure.num_leaves
    nu = list(mu)
    nodes = find(inner_state, _WITH_MOMENTS)
    if not nodes:
        raise ValueError(
            "record_moments: inner holds no Adam moments. Wrap an optimizer such as "
            "optax.adam, or a chain with optax.scale_by_adam in it."
        )
    for node in nodes.values():
        for leaf, (m, v) in enumerate(
            zip(_aligned(structure, node.mu), _aligned(structure, node.nu), strict=True)
        ):
            if isinstance(v, optax.MaskedNode):
                continue
            if nu[leaf] is not None:
                raise ValueError(
                    f"record_moments: two parts of the optimizer ({', '.join(nodes)}) "
                    "hold moments of the same parameter. Wrap one of them alone."
                )
            mu[leaf], nu[leaf] = bare(m), bare(v)
    return bare(node.count), mu, nu


def _aligned(structure: Any, tree: Any) -> list[Any]:
    return structure.flatten_up_to(tree)


def _grouped(
    params: optax.Params, nu: list[Any], groups: Callable[[str], str] | None
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Names and sizes of the groups, and the group of each leaf."""
    paths = _paths(params)
    labels = [str(groups(path)) for path in paths] if groups else paths
    names = tuple(dict.fromkeys(labels))
    leaf_groups = tuple(names.index(label) for label in labels)
    sizes = [0] * len(names)
    for group, v in zip(leaf_groups, nu, strict=True):
        sizes[group] += 0 if v is None else int(np.prod(v.shape))
    return names, tuple(sizes), leaf_groups


def _paths(params: optax.Params) -> list[str]:
    """The path of each leaf; flax's variables do not show the key they add."""
    paths = [
        jax.tree_util.keystr(path, simple=True, separator="/") or "parameters"
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    if all(path.endswith("/value") for path in paths):
        return [path.removesuffix("/value") for path in paths]
    return paths

"""What `optax.adam` takes, every wrapper takes: kinds of leaves, dtypes, arguments."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from selection import parametrize

import optax_warmup as ow

B2 = 0.95
WRAPPERS = {
    "scale_by_warmup": lambda adam: optax.chain(adam, ow.scale_by_warmup(1.0)),
    "scale_by_learning_rate": lambda adam: optax.chain(
        adam, ow.scale_by_learning_rate(1.0, flip_sign=False)
    ),
    "scale_by_rules": lambda adam: optax.chain(
        adam, ow.groups.scale_by_rules([ow.groups.Rule(".")])
    ),
    "init_second_moment_from_gradient": ow.init_second_moment_from_gradient,
    "clip_update_rms": ow.clip_update_rms,
    "clip_outliers": ow.clip_outliers,
    "skip_nonfinite": ow.skip_nonfinite,
    "restart_if": lambda adam: ow.restart_if(adam, lambda state, **extra: False),
    "restart_on_spike": ow.restart_on_spike,
    "reduce_on_plateau": lambda adam: optax.chain(adam, ow.reduce_on_plateau()),
    "automatic_warmup": lambda adam: ow.automatic_warmup(adam, start=1e9),
}
# These multiply by a number of their own; of the others the updates are Adam's.
OWN_UPDATES = {"init_second_moment_from_gradient", "clip_update_rms"}


def array(dtype, *numbers):
    return jnp.array(numbers or (1, 2, 3)).astype(dtype)


W = {"w": array(jnp.float32)}
# Parameters, and gradients like them where there are no others.
KINDS = {
    "float32": (W,),
    "bfloat16": ({"w": array(jnp.bfloat16)},),
    "float16": ({"w": array(jnp.float16)},),
    "bfloat16, float32 gradients": ({"w": array(jnp.bfloat16)}, W),
    "float32, bfloat16 gradients": (W, {"w": array(jnp.bfloat16)}),
    "two dtypes": (W | {"v": array(jnp.bfloat16)},),
    "a leaf without numbers": (W | {"e": jnp.zeros((0, 3))},),
    "no numbers at all": ({"e": jnp.zeros((0, 3))},),
    "no leaves": ({},),
    "None": (W | {"n": None},),
    "a scalar": ({"w": jnp.float32(2)},),
    "integers": (W | {"i": array(jnp.int32)},),
    "integers without gradients": (
        W | {"i": array(jnp.int32)},
        W | {"i": array(jnp.int32, 0, 0, 0)},
    ),
    "integers, float32 gradients": (W | {"i": array(jnp.int32)}, W | {"i": W["w"]}),
    "bool": (W | {"i": array(jnp.bool_)},),
    "complex": ({"w": array(jnp.complex64, 1 + 2j, -1j)},),
    "a Python float": ({"w": 2.0},),
    "NumPy": ({"w": np.ones(3, np.float32)},),
}


def updates_of(optimizer, params, grads, steps=2):
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(grads, state, params, value=1.0)
    return updates, state


def check(name, params, grads):
    adam = optax.with_extra_args_support(optax.adam(0.1, b2=B2))
    wanted, bare = updates_of(adam, params, grads)
    wrapped = WRAPPERS[name](optax.adam(0.1, b2=B2))
    updates, state = updates_of(wrapped, params, grads)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, wanted)
    if name not in OWN_UPDATES:
        # What is compiled as a whole rounds float16 less often.
        dtypes = map(jnp.result_type, jax.tree.leaves((params, grads)))
        narrow = any(dtype in (jnp.bfloat16, jnp.float16) for dtype in dtypes)
        chex.assert_trees_all_close(updates, wanted, rtol=1e-2 if narrow else 1e-5)
    first = jax.tree.leaves(jax.eval_shape(wrapped.init, params))
    assert [x.shape for x in first] == [jnp.shape(x) for x in jax.tree.leaves(state)]
    constant = jax.tree.map(jnp.result_type, adam.init(params)) == jax.tree.map(
        jnp.result_type, bare
    )
    if constant:  # Adam's own moments take the gradients' dtype in the first update
        assert [x.dtype for x in first] == [
            jnp.result_type(x) for x in jax.tree.leaves(state)
        ]


@parametrize("kind", KINDS, quick=5)
@pytest.mark.parametrize("name", WRAPPERS)
def test_what_adam_takes_every_wrapper_takes(name, kind):
    params, *grads = KINDS[kind]
    check(name, params, *(grads or [params]))


@parametrize("name", WRAPPERS, quick=3)
def test_float64(name):
    with jax.enable_x64(True):
        wide = {"w": array(jnp.float64), "e": jnp.zeros((0, 2))}
        check(name, wide, wide)
        check(name, W, W)
        check(name, {"w": wide["w"]}, W)


@pytest.mark.parametrize("name", WRAPPERS)
def test_moments_in_bfloat16(name):
    adam = optax.adam(0.1, b2=B2, mu_dtype=jnp.bfloat16)
    updates, _ = updates_of(WRAPPERS[name](adam), W, W)
    assert updates["w"].dtype == jnp.float32
    assert np.isfinite(updates["w"]).all()


def test_clip_outliers_bounds_float16_gradients_by_what_nu_bears():
    """Parameters, and so nu, are float32; an infinite gradient is clipped, too."""
    adam = ow.clip_outliers(optax.scale_by_adam(b2=B2))
    state = adam.init(W)
    for g in (jnp.inf, 65504.0, 1.0):
        _, state = adam.update({"w": jnp.full(3, g, jnp.float16)}, state)
        assert np.isfinite(state.nu["w"]).all()


def remembering():
    """A transform that keeps what it was told by an extra argument."""

    def update(updates, state, params=None, *, told=0, **extra):
        return updates, jnp.asarray(told, jnp.int32)

    return optax.GradientTransformationExtraArgs(lambda p: jnp.int32(-1), update)


AROUND = WRAPPERS | {
    "skip_nonfinite(MultiSteps)": lambda adam: ow.skip_nonfinite(
        optax.MultiSteps(adam, 1)
    ),
    "restart_if(MultiSteps)": lambda adam: ow.restart_if(
        optax.MultiSteps(adam, 1), lambda state, **extra: False
    ),
    "record_moments(MultiSteps)": lambda adam: ow.record_moments(
        optax.MultiSteps(adam, 1), b2=B2
    ),
}


@pytest.mark.parametrize("name", AROUND)
def test_extra_arguments_reach_what_is_wrapped(name):
    inner = optax.chain(optax.adam(0.1, b2=B2), remembering())
    optimizer = AROUND[name](inner)
    state = optimizer.init(W)
    _, state = optimizer.update(W, state, W, value=1.0, told=7)
    told = [
        leaf
        for leaf in jax.tree.leaves(state)
        if leaf.dtype == jnp.int32 and leaf.shape == () and leaf == 7
    ]
    assert len(told) == 1


def test_a_restart_on_demand_below_accumulation():
    """The chain of docs/transforms.md: value= and resumed= reach what is inside."""
    inner = optax.chain(
        optax.scale_by_adam(b2=B2),
        ow.restart_if(
            ow.scale_by_warmup(ow.warmup(1.0, 9, offset=1)),
            lambda state, *, resumed=False, **extra: resumed,
        ),
        ow.reduce_on_plateau(0.5, 1),
    )
    optimizer = ow.skip_nonfinite(optax.MultiSteps(inner, 2))
    update, state = quickly(optimizer.update), optimizer.init(W)
    for n in range(6):
        _, state = update(
            W, state, W, value=jnp.float32(1), resumed=jnp.bool_(n in (4, 5))
        )
    _, restart, plateau = state.inner_state.inner_opt_state
    assert (restart.restarts, restart.inner_state.count, plateau.count) == (1, 1, 3)

"""Wrappers of Adam that read or start its second moment, against float64."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle_transforms as oracle
import pytest
from selection import parametrize

import optax_warmup as ow

B1, B2, EPS = 0.9, 0.95, 1e-8
PARAMS = {"w": jnp.zeros((3, 4)), "b": jnp.zeros(5)}


def gradients(steps=40, jump=30.0):
    """Noise of different size for each coordinate, which becomes larger at step 25."""
    rng = np.random.default_rng(0)
    sizes = np.where(np.arange(steps) < 25, 1.0, jump)
    shapes = {name: (steps, *x.shape) for name, x in PARAMS.items()}
    grads = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return {
        name: (g.T * sizes).T * np.logspace(-3, 0, g.shape[-1]).astype(np.float32)
        for name, g in grads.items()
    }


def adam(**options):
    return optax.scale_by_adam(B1, B2, EPS, **options)


def run(optimizer, grads, params=PARAMS):
    """The updates and states of every step, stacked."""
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), grads)

    @jax.jit
    def train(grads):
        def step(state, g):
            updates, state = optimizer.update(g, state, params)
            return state, (updates, state)

        return jax.lax.scan(step, optimizer.init(params), grads)[1]

    return train(grads)


def assert_same(got, grads, **options):
    for name, g in grads.items():
        wanted, _ = oracle.adam(g.astype(np.float32), B1, B2, EPS, **options)
        np.testing.assert_allclose(
            got[name], wanted, rtol=2e-5, atol=1e-6, err_msg=name
        )


def test_a_seeded_second_moment_equals_the_oracle():
    grads = gradients()
    updates, states = run(ow.init_second_moment_from_gradient(adam()), grads)
    assert_same(updates, grads, seeded=True)
    assert isinstance(states, optax.ScaleByAdamState)


@pytest.mark.parametrize("b2", [0.9, 0.95, 0.999])
def test_seeding_is_a_warmup_of_the_bias_correction(b2):
    """A constant gradient gives sqrt(1 - b2**n) of Adam's update, whatever its size."""
    grads = {"w": np.tile([1e-3, -5.0, 1e6], (200, 1))}
    optimizer = ow.init_second_moment_from_gradient(optax.scale_by_adam(b2=b2))
    updates, _ = run(optimizer, grads, {"w": jnp.zeros(3)})
    n = np.arange(1, 201)[:, None]
    wanted = np.sqrt(1 - b2**n) * [1, -1, 1]
    np.testing.assert_allclose(updates["w"], wanted, rtol=2e-4)
    np.testing.assert_allclose(
        updates["w"][0], math.sqrt(1 - b2) * np.sign(wanted[0]), rtol=1e-4
    )


def test_clipping_by_the_second_moment_equals_the_oracle():
    grads = gradients()
    optimizer = ow.clip_update_rms(adam(), threshold=1.5, b2=B2, eps=EPS)
    updates, states = run(optimizer, grads)
    assert_same(updates, grads, threshold=1.5)
    for index, name in enumerate(sorted(grads)):
        _, rms = oracle.adam(grads[name], B1, B2, EPS)
        np.testing.assert_allclose(
            states.normalized_gradient_rms[:, index], rms, rtol=1e-5
        )
    assert (states.normalized_gradient_rms[:25] < 2.5).all() and (
        states.normalized_gradient_rms[25] > 3
    ).all()
    plain, plain_states = run(adam(), grads)
    for got, wanted in zip(states.inner_state, plain_states, strict=True):
        jax.tree.map(np.testing.assert_array_equal, got, wanted)
    assert (np.abs(updates["w"]) < np.abs(plain["w"])).any()


@pytest.mark.parametrize("b2", [0.95, 0.999])
def test_the_rms_is_one_jumps_as_it_must_and_has_a_cap(b2):
    cap = 1 / math.sqrt(1 - b2)
    optimizer = ow.clip_update_rms(optax.scale_by_adam(b2=b2), b2=b2)
    settled = [1.0] * 20_000 if b2 == 0.999 else [1.0] * 500
    for k in (3.0, 10.0, 1e8):
        _, states = run(
            optimizer, {"b": np.array([[*settled, k]]).T}, {"b": jnp.zeros(1)}
        )
        np.testing.assert_allclose(states.normalized_gradient_rms[0], 1, rtol=1e-5)
        np.testing.assert_allclose(states.normalized_gradient_rms[-2], 1, rtol=1e-4)
        wanted = k / math.sqrt(1 + (1 - b2) * (k**2 - 1))
        np.testing.assert_allclose(
            states.normalized_gradient_rms[-1], wanted, rtol=1e-4
        )
        assert states.normalized_gradient_rms[-1] <= cap * (1 + 1e-4)
    with pytest.raises(
        ValueError, match=rf"threshold must be .*{b2:g} the RMS is never"
    ):
        ow.clip_update_rms(adam(), threshold=cap, b2=b2)


def test_clipped_outliers_equal_the_oracle():
    grads = gradients(jump=1.0)
    grads["w"][30, 1, 2], grads["b"][0, 3], grads["b"][33, 0] = 1e5, 1e9, -1e30
    updates, _ = run(ow.clip_outliers(adam(), theta=100.0, b2=B2), grads)
    assert_same(updates, grads, theta=100.0)


def test_usual_gradients_pass_as_they_are():
    grads = gradients(steps=300, jump=1.0)
    for name, got in run(ow.clip_outliers(adam(), b2=B2), grads)[0].items():
        wanted = run(adam(), grads)[0][name]
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_a_coordinate_above_all_others_is_bounded_by_itself():
    grads = np.zeros((30, 40_000))
    grads[:, 7] = np.random.default_rng(2).normal(size=30)
    got = run(ow.clip_outliers(adam(), b2=B2), {"w": grads}, {"w": jnp.zeros(40_000)})
    wanted, _ = oracle.adam(grads[:, :8].astype(np.float32), B1, B2, EPS)
    np.testing.assert_allclose(got[0]["w"][:, 7], wanted[:, 7], rtol=2e-5)


@functools.cache
def after_an_outlier(b2, guarded, warmup_steps=50, steps=1300):
    """|updates| of the coordinate from the outlier at step 20 on, by its size."""
    optimizer = optax.scale_by_adam(b2=b2)
    if guarded:
        optimizer = ow.clip_outliers(optimizer, b2=b2)
    factor = ow.scale_by_warmup(ow.warmup(1.0, warmup_steps))
    optimizer = optax.chain(optimizer, factor)

    @jax.jit
    @jax.vmap
    def train(size):
        def step(state, n):
            g = jnp.where((n == 20) & (jnp.arange(17) == 5), size, 1.0)
            updates, state = optimizer.update(g, state)
            return state, updates[5]

        return jax.lax.scan(step, optimizer.init(jnp.zeros(17)), jnp.arange(steps))[1]

    sizes = jnp.array([1e3, 1e9, 1e20, 3e38])
    rate = ow.simulate(ow.warmup(1.0, warmup_steps), steps)[21:]
    return np.abs(train(sizes))[:, 21:] / rate


@parametrize(("b2", "bound"), [(0.95, 89), (0.99, 287), (0.999, 981)], quick=3)
def test_no_finite_gradient_freezes_a_coordinate(b2, bound):
    """The docstring's bound: by then, half of the usual update after 1e3 to 3e38."""
    assert bound == round(math.log(1 + 5000 * (1 - b2) / 3) / (1 - b2))
    moved = after_an_outlier(b2, guarded=True)
    assert (moved[:, bound:] >= 0.5).all()
    assert (moved[:, bound // 2] < 0.5).all()  # so the bound says something
    frozen = after_an_outlier(b2, guarded=False)
    assert (frozen[:, bound] < 0.5).all()
    assert (frozen[2:, -1] == 0).all()  # 1e20 and 3e38: for ever


def test_a_small_coordinate_takes_longer_by_the_logarithm_of_its_share():
    b2, ratio = 0.95, 1e-3
    optimizer = ow.clip_outliers(optax.scale_by_adam(b2=b2), b2=b2)
    usual = np.ones((600, 17)) * np.where(np.arange(17) == 5, ratio, 1.0)
    usual[20, 5] = 1e20
    updates, _ = run(optimizer, {"w": usual}, {"w": jnp.zeros(17)})
    bound = math.log(1 + 5000 * (1 - b2) / ratio**2 / 3) / (1 - b2)
    assert 300 < bound < 400
    assert (updates["w"][21 + round(bound) :, 5] >= 0.5).all()


def test_rows_that_are_seldom_seen_get_their_gradients():
    """Each row of an embedding is seen once in 500 steps; its nu has faded by 1e-11."""
    rng = np.random.default_rng(1)
    grads = np.zeros((3000, 500))
    grads[np.arange(3000), np.arange(3000) % 500] = rng.choice([-1e-3, 1e-3], 3000)
    updates, _ = run(
        ow.clip_outliers(adam(), b2=B2), {"w": grads}, {"w": jnp.zeros(500)}
    )
    plain, _ = run(adam(), {"w": grads}, {"w": jnp.zeros(500)})
    seen = np.asarray(updates["w"])[grads != 0]
    np.testing.assert_allclose(seen, np.asarray(plain["w"])[grads != 0], rtol=1e-5)
    assert (np.abs(seen) > 0.1).all()


def test_gradients_that_grow_for_good_are_followed():
    """A layer whose first gradients are rounding noise; the bound grows with them."""
    grads = np.where(np.arange(60) < 3, 1e-12, 1.0)[:, None] * np.ones(4)
    _, states = run(ow.clip_outliers(adam(), b2=B2), {"w": grads}, {"w": jnp.zeros(4)})
    _, wanted = run(adam(), {"w": grads}, {"w": jnp.zeros(4)})
    ratio = np.asarray(states.mu["w"] / wanted.mu["w"])[:, 0]
    assert ratio[3] < 1e-8 and ratio[20] > 0.75 and ratio[-1] > 0.99


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_first_gradient_leaves_nu_finite_in_every_type(dtype):
    params = jnp.zeros(3, dtype)
    optimizer = ow.clip_outliers(adam(), b2=B2)
    first = jnp.array([float(jnp.finfo(dtype).max), 1.0, -0.5], dtype)
    updates, state = optimizer.update(first, optimizer.init(params))
    assert updates.dtype == dtype
    assert np.isfinite(state.nu.astype(jnp.float32)).all()
    _, state = optimizer.update(jnp.ones(3, dtype), state)
    assert np.isfinite(state.nu.astype(jnp.float32)).all()


def test_complex_gradients_are_seeded_and_clipped_by_their_size():
    params = jnp.zeros(2, jnp.complex64)
    optimizer = ow.clip_outliers(ow.init_second_moment_from_gradient(adam()), b2=B2)
    g = jnp.array([3 + 4j, 1j])
    updates, state = optimizer.update(g, optimizer.init(params))
    np.testing.assert_allclose(np.abs(updates), math.sqrt(1 - B2), rtol=1e-5)
    np.testing.assert_allclose(updates / np.abs(updates), g / np.abs(g), rtol=1e-5)
    _, state = optimizer.update(g * 1e9, state)
    assert (state.nu < 1e6).all()


WRAPPERS = {
    "init_second_moment_from_gradient": ow.init_second_moment_from_gradient,
    "clip_update_rms": functools.partial(ow.clip_update_rms, b2=B2),
    "clip_outliers": functools.partial(ow.clip_outliers, b2=B2),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_only_the_parameters_of_adam_are_touched(name):
    """In a partition with SGD, and inside a mask that cuts off a whole branch."""
    params = {"body": {"w": jnp.ones(3), "b": jnp.ones(1)}, "head": jnp.ones(2)}
    grads = jax.tree.map(lambda x: np.tile(x, (30, *[1] * x.ndim)) * 2.0, params)
    labels = {"body": "adam", "head": "sgd"}
    both = {"adam": adam(), "sgd": optax.sgd(1.0)}
    updates, _ = run(WRAPPERS[name](optax.partition(both, labels)), grads, params)
    np.testing.assert_array_equal(updates["head"], np.full((30, 2), -2.0))
    alone, _ = run(WRAPPERS[name](adam()), grads["body"], params["body"])
    for part, wanted in alone.items():
        np.testing.assert_array_equal(updates["body"][part], wanted)
    masked = optax.masked(WRAPPERS[name](adam()), {"body": True, "head": False})
    inside, _ = run(masked, grads, params)
    np.testing.assert_array_equal(inside["body"]["w"], alone["w"])
    np.testing.assert_array_equal(inside["head"], grads["head"])


@pytest.mark.parametrize("name", WRAPPERS)
def test_bad_optimizers_are_refused(name):
    wrap, params = WRAPPERS[name], jnp.ones(2)
    with pytest.raises(TypeError, match=f"{name}: inner must be an optax optimizer"):
        wrap(0.1)
    with pytest.raises(
        ValueError, match=f"{name}: the optimizer holds no Adam moments"
    ):
        wrap(optax.sgd(0.1)).init(params)
    for other in (
        optax.amsgrad(0.1, b2=B2),
        optax.adabelief(0.1, b2=B2),
        optax.rmsprop(0.1, decay=B2),
        optax.rmsprop(0.1, decay=B2, bias_correction=True),
    ):
        with pytest.raises(ValueError, match=f"{name}: inner must keep Adam's own"):
            wrap(other).init(params)
    with pytest.raises(ValueError, match=rf"Put {name}\(\.\.\.\) inside optax.Multi"):
        wrap(optax.MultiSteps(adam(), 2)).init(params)


@pytest.mark.parametrize("name", ["clip_update_rms", "clip_outliers"])
def test_bad_numbers_are_refused(name):
    wrap = getattr(ow, name)
    for bad in (1.0, -0.1, 1.5, float("nan"), "0.9"):
        with pytest.raises((ValueError, TypeError), match=f"{name}: b2 must be"):
            wrap(adam(), b2=bad)
    with pytest.raises(ValueError, match=rf"{name}: b2 .*uses 0\.95. Pass b2=0\.95 to"):
        wrap(adam(), b2=0.999)
    number = {"clip_outliers": "theta", "clip_update_rms": "threshold"}[name]
    for bad in (-1.0, 0.0, float("inf")):
        with pytest.raises(ValueError, match=f"{name}: {number} must be"):
            wrap(adam(), b2=B2, **{number: bad})
    with pytest.raises(ValueError, match="eps must be a finite number > 0"):
        ow.clip_update_rms(adam(), b2=B2, eps=0.0)


def in_bfloat16(inner):
    """Adam with its second moments kept in bfloat16, which show 0.95 as 0.953."""

    def narrow(state):
        nu = jax.tree.map(lambda v: v.astype(jnp.bfloat16), state.nu)
        return state._replace(nu=nu)

    def update(updates, state, params=None):
        updates, state = inner.update(updates, state, params)
        return updates, narrow(state)

    return optax.GradientTransformation(lambda p: narrow(inner.init(p)), update)


clips = pytest.mark.parametrize("name", ["clip_update_rms", "clip_outliers"])


@clips
@parametrize("b2", [0.9, 0.95, 0.999, 0.9999, 0.99999], quick=3)
def test_b2_is_found(name, b2):
    """Exactly, so the updates are those with the number written out."""
    wrap, inner = getattr(ow, name), optax.scale_by_adam(b2=b2)
    found, _ = run(wrap(inner), gradients())
    given, _ = run(wrap(inner, b2=b2), gradients())
    jax.tree.map(np.testing.assert_array_equal, found, given)


@clips
def test_each_part_of_a_partition_has_its_own_b2(name):
    wrap = getattr(ow, name)
    parts = {str(b2): optax.scale_by_adam(b2=b2) for b2 in (0.9, 0.999)}
    both = optax.partition(parts, {"w": "0.9", "b": "0.999"})
    grads = gradients()
    updates, _ = run(wrap(both), grads)
    for leaf, b2 in (("w", 0.9), ("b", 0.999)):
        alone, _ = run(
            wrap(optax.scale_by_adam(b2=b2)), {leaf: grads[leaf]}, {leaf: PARAMS[leaf]}
        )
        np.testing.assert_allclose(updates[leaf], alone[leaf], rtol=1e-5, atol=1e-7)


@clips
def test_a_rounded_b2_is_neither_adopted_nor_held_against_the_true_one(name):
    wrap, inner = getattr(ow, name), in_bfloat16(optax.scale_by_adam(b2=0.95))
    wrap(inner, b2=0.95).init(PARAMS)
    with pytest.raises(ValueError, match=r"so few digits, .* 0\.953\. Pass b2=\.\.\."):
        wrap(inner).init(PARAMS)
    with pytest.raises(ValueError, match=r"uses about 0\.95\. Pass the b2 that"):
        wrap(inner, b2=0.999)
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    wrap(optax.scale_by_adam(b2=0.95)).init(half)  # nu is bfloat16 only in training


@clips
def test_b2_is_asked_for_where_it_does_not_show(name):
    wrap = getattr(ow, name)
    for hidden in (optax.scale_by_yogi(), never_tried()):
        with pytest.raises(ValueError, match=rf"{name}: .* cannot be found.*Pass b2="):
            wrap(hidden).init(PARAMS)
        wrap(hidden, b2=0.95).init(PARAMS)


def never_tried():
    def update(updates, state, params=None):
        raise RuntimeError

    return optax.GradientTransformation(optax.scale_by_adam().init, update)

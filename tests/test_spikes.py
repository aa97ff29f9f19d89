"""Guards that learn from the last values: skip_spikes and clip_update_norm."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly

import optax_warmup as ow

PARAMS = {"w": jnp.ones(3), "b": jnp.ones(())}


def limit(values, threshold, window):
    """The rule in float64, from the docstring."""
    last = np.array(values[-window:], np.float64)
    if len(last) < max(window // 4, 2):
        return np.inf
    median = np.median(last)
    deviation = np.median(np.abs(last - median))
    return median + threshold * max(1.4826 * deviation, 1e-2 * abs(median))


def fed(optimizer, sizes, losses=None):
    """Which of some gradients were skipped, and the last state."""
    update, state, skipped = quickly(optimizer.update), optimizer.init(PARAMS), []
    for k, size in enumerate(sizes):
        gradient = jax.tree.map(lambda x, size=size: size / 2 * x, PARAMS)  # norm: size
        extra = {} if losses is None else {"value": losses[k]}
        before = state.skipped
        updates, state = update(gradient, state, PARAMS, **extra)
        chex.assert_tree_all_finite(updates)
        skipped.append(bool(state.skipped > before))
    return skipped, state


def test_skipping_follows_the_rule():
    rng = np.random.default_rng(0)
    sizes = np.exp(0.2 * rng.standard_normal(120))
    sizes[[40, 77, 78]] *= 5
    skipped, state = fed(
        ow.guards.skip_spikes(optax.adam(0.1), window=16, threshold=4.0), sizes
    )
    good, wanted = [], []
    for size in sizes:
        wanted.append(bool(size > limit(good, 4.0, 16)))
        if not wanted[-1]:
            good.append(size)
    assert skipped == wanted and skipped[40] and skipped[77] and skipped[78]
    assert state.inner_state[0].count == 120 - sum(wanted) == state.gradient_norm_count
    assert state.recorded["skipped_spikes"] == sum(wanted)


def test_a_skipped_step_leaves_the_optimizer_as_it_was():
    optimizer = ow.guards.skip_spikes(optax.adam(0.1), window=8)
    _, state = fed(optimizer, [1.0] * 10)
    _, after = optimizer.update(jax.tree.map(lambda x: 50 * x, PARAMS), state, PARAMS)
    chex.assert_trees_all_equal(after.inner_state, state.inner_state)
    assert (after.skipped, after.skipped_in_a_row) == (1, 1)


def test_the_loss_is_a_signal_of_its_own():
    losses = [2.0, 2.1, 1.9, 2.05] * 5
    losses[15] = 9.0
    skipped, _ = fed(
        ow.guards.skip_spikes(optax.adam(0.1), window=8), [1.0] * 20, losses
    )
    assert [k for k, s in enumerate(skipped) if s] == [15]


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, 1e25])
def test_what_is_not_finite_is_skipped_at_any_time_and_for_ever(bad):
    sizes = [bad, 1.0, *[bad] * 15, 1.0]
    skipped, state = fed(ow.guards.skip_spikes(optax.adam(0.1), max_skips=3), sizes)
    assert skipped == [size != 1.0 for size in sizes]
    losses = [jnp.nan, 1.0]
    assert fed(ow.guards.skip_spikes(optax.adam(0.1)), [1.0] * 2, losses)[0] == [
        True,
        False,
    ]


def test_nothing_is_skipped_at_the_beginning_nor_for_ever():
    optimizer = ow.guards.skip_spikes(optax.adam(0.1), window=32, max_skips=4)
    skipped, _ = fed(optimizer, [1.0, 100.0, 1.0, 1e4, 1.0, 1.0, 1.0])
    assert not any(skipped)
    skipped, state = fed(optimizer, [1.0] * 40 + [30.0] * 40)
    assert [k for k, s in enumerate(skipped) if s] == [40, 41, 42, 43]
    assert state.skipped_in_a_row == 0


def test_inside_and_outside_of_an_accumulation():
    sizes = [1.0, 1.1, 0.95, 1.05] * 8
    sizes[21] = 40.0
    inner = optax.sgd(0.1)
    outside = ow.guards.skip_spikes(optax.MultiSteps(inner, 2), window=8)
    skipped, state = fed(outside, sizes)
    assert [k for k, s in enumerate(skipped) if s] == [21]
    assert (state.inner_state.gradient_step, state.inner_state.mini_step) == (15, 1)
    inside = optax.MultiSteps(ow.guards.skip_spikes(inner, window=8), 2)
    update, state = quickly(inside.update), inside.init(PARAMS)
    for size in sizes:
        gradient = jax.tree.map(lambda x, size=size: size / 2 * x, PARAMS)
        _, state = update(gradient, state, PARAMS, value=jnp.float32(1.0))
    assert state.inner_opt_state.skipped == 1
    assert state.inner_opt_state.gradient_norm_count == 15


def test_guards_do_not_see_each_others_books():
    """Statistics that begin anew turn NaN, which is no reason to skip the step."""
    optimizer = ow.skip_nonfinite(
        ow.guards.skip_spikes(optax.adam(0.1), window=8, max_skips=2)
    )
    update, state = quickly(optimizer.update), optimizer.init(PARAMS)
    for size in [1.0] * 10 + [30.0] * 10:
        gradient = jax.tree.map(lambda x, size=size: size * x, PARAMS)
        _, state = update(gradient, state, PARAMS)
    assert (state.skipped, state.inner_state.skipped) == (0, 2)


def test_it_is_recorded_and_reported():
    optimizer = ow.record_moments(ow.guards.skip_spikes(optax.adam(0.1), window=8))
    update, state = quickly(optimizer.update), optimizer.init(PARAMS)
    for size in [1.0] * 10 + [50.0, 1.0, 1.0]:
        gradient = jax.tree.map(lambda x, size=size: size / 2 * x, PARAMS)
        _, state = update(gradient, state, PARAMS)
    history = ow.read_moments(state)
    assert history.scalars["skipped_spikes"].tolist()[-1] == 1
    np.testing.assert_allclose(history.scalars["incoming_gradient_norm"][0], 1.0)
    row = ow.diagnostics.to_scalars(history)
    assert any("skipped_spikes" in name for name in row)


def test_update_norms_follow_the_rule():
    rng = np.random.default_rng(1)
    sizes = np.exp(0.1 * rng.standard_normal(80))
    sizes[50:] *= 3
    clip = ow.guards.clip_update_norm(window=16, threshold=3.0)
    update, state, seen = quickly(clip.update), clip.init(PARAMS), []
    for size in sizes:
        most = limit(seen, 3.0, 16)
        gradient = jax.tree.map(lambda x, size=size: size / 2 * x, PARAMS)
        updates, state = update(gradient, state)
        seen.append(min(size, most))
        np.testing.assert_allclose(optax.tree.norm(updates), seen[-1], rtol=1e-5)
    assert seen[50] < 2 < seen[-1]  # clipped at first, the new normal at last


@pytest.mark.parametrize("bad", [0.0, jnp.nan, jnp.inf])
def test_updates_without_a_size_are_left_alone(bad):
    clip = ow.guards.clip_update_norm(window=8)
    state = clip.init(jnp.ones(2))
    updates, after = clip.update(jnp.full(2, bad), state)
    np.testing.assert_array_equal(updates, jnp.full(2, bad))
    assert (after.count, after.scale) == (0, 1)


def test_dtypes_stay():
    for dtype in (jnp.float16, jnp.bfloat16):
        params = jnp.ones(3, dtype)
        for transform in (
            ow.guards.clip_update_norm(),
            ow.guards.skip_spikes(optax.sgd(0.1)),
            ow.guards.protect(optax.adam(0.1)),
        ):
            state = transform.init(params)
            updates, after = transform.update(params, state, params)
            assert updates.dtype == dtype
            chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: ow.guards.skip_spikes(optax.adam(0.1), window=4), "window"),
        (lambda: ow.guards.skip_spikes(optax.adam(0.1), threshold=0), "threshold"),
        (lambda: ow.guards.skip_spikes(optax.adam(0.1), max_skips=0), "max_skips"),
        (lambda: ow.guards.skip_spikes(3), "inner"),
        (lambda: ow.guards.clip_update_norm(window=2.5), "window"),
        (lambda: ow.guards.clip_update_norm(threshold=jnp.nan), "threshold"),
        (lambda: ow.guards.protect(optax.adam(0.1), max_norm=0), "max_norm"),
    ],
)
def test_bad_arguments_are_named(build, named):
    with pytest.raises((TypeError, ValueError), match=named):
        build()


def test_a_loss_of_many_numbers_is_refused():
    optimizer = ow.guards.skip_spikes(optax.adam(0.1))
    with pytest.raises(ValueError, match="value must be one number"):
        optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, value=jnp.ones(3))

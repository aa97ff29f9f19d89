"""Steps that are skipped, and what begins again after an event."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle_transforms as oracle
import pytest
from compiled import quickly

import optax_warmup as ow

PARAMS = {"w": jnp.arange(4.0), "b": jnp.ones(2)}
GRADS = {"w": jnp.full(4, 2.0), "b": jnp.full(2, -1.0)}


def bad(number):
    return GRADS | {"w": GRADS["w"].at[1].set(number)}


def adam():
    """With counts, moments and a schedule in its state."""
    return optax.chain(
        optax.scale_by_adam(b2=0.95),
        ow.scale_by_learning_rate(ow.warmup(0.1, 5)),
    )


def noisy():
    """With a random key in its state, too."""
    return optax.chain(optax.add_noise(0.1, 0.5, key=jax.random.key(0)), adam())


def train(optimizer, grads, state=None):
    """(parameters, state) after a gradient each."""

    @quickly
    def step(params, state, g):
        updates, state = optimizer.update(g, state, params)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, optimizer.init(PARAMS) if state is None else state
    for g in grads:
        params, state = step(params, state, g)
    return params, state


@pytest.fixture(params=["cpu", "default"])
def platform(request, monkeypatch):
    """Runs a test with a conditional, as on CPUs, and with a choice, as elsewhere."""

    def dependent(*operands, **branches):
        return branches[request.param](*operands)

    monkeypatch.setattr(jax.lax, "platform_dependent", dependent)
    return request.param


def test_a_skipped_step_leaves_everything_as_it_was(platform):
    optimizer = ow.skip_nonfinite(noisy())
    params, state = train(optimizer, [GRADS] * 3)
    update = quickly(optimizer.update)
    for number in (jnp.nan, jnp.inf, -jnp.inf):
        updates, after = update(bad(number), state, params)
        chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, PARAMS))
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
        chex.assert_trees_all_equal(after.inner_state, state.inner_state)
        assert (after.skipped, after.skipped_in_a_row) == (1, 1)
        assert ow.learning_rate(after) == ow.learning_rate(state)


def test_training_goes_on_as_if_the_step_had_not_been(platform):
    mixed = [GRADS, bad(jnp.nan), GRADS, bad(jnp.inf), bad(jnp.nan), GRADS]
    got, state = train(ow.skip_nonfinite(adam()), mixed)
    wanted, wanted_state = train(adam(), [GRADS] * 3)
    chex.assert_trees_all_close(got, wanted, rtol=1e-6)
    chex.assert_trees_all_close(state.inner_state, wanted_state, rtol=1e-6)
    assert (state.skipped, state.skipped_in_a_row) == (3, 0)


def test_a_finite_gradient_may_make_the_update_nan():
    """In float16 the eps of Adam is 0, and 0 / 0 would go out."""
    optimizer = ow.skip_nonfinite(optax.adam(1e-3))
    params = jnp.ones(2, jnp.float16)
    state = optimizer.init(params)
    for update in (optimizer.update, jax.jit(optimizer.update)):
        updates, after = update(jnp.array([0, 0.1], jnp.float16), state, params)
        assert updates.tolist() == [0, 0]
        assert (after.skipped, after.inner_state[0].count) == (1, 0)
        chex.assert_trees_all_equal(after.inner_state, state.inner_state)


def test_no_number_is_overlooked(platform):
    """Arrays of one shape are looked at together, whatever order they come in."""
    given = optax.GradientTransformationExtraArgs(
        lambda params: {"more": (params["w"], params["b"]), "old": params},
        lambda updates, state, params=None, *, result: result,
    )
    optimizer = ow.skip_nonfinite(given)
    params = {
        "a": jnp.ones((2, 3)),
        "b": jnp.ones(()),
        "e": jnp.ones((0, 3)),
        "n": jnp.ones(3, jnp.int32),
        "w": jnp.ones((2, 3), jnp.bfloat16),
    }
    state = optimizer.init(params)
    good = (params, (params, state.inner_state))

    @quickly
    def skipped(gradients, result):
        return optimizer.update(gradients, state, params, result=result)[1].skipped

    assert skipped(*good) == 0
    leaves, structure = jax.tree.flatten(good)
    for k, leaf in enumerate(leaves):
        if leaf.size and jnp.issubdtype(leaf.dtype, jnp.inexact):
            bad = jnp.ravel(leaf).at[-1].set(jnp.nan).reshape(leaf.shape)
            changed = [*leaves[:k], bad, *leaves[k + 1 :]]
            assert skipped(*jax.tree.unflatten(structure, changed)) == 1


def test_replicas_of_a_state_share_a_gradient():
    """Also outside of jit, where the gradient is known and the state is traced."""
    optimizer = ow.skip_nonfinite(adam())
    state = optimizer.init(PARAMS)
    states = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    updates, after = jax.vmap(optimizer.update, (None, 0, None))(GRADS, states, PARAMS)
    wanted, _ = optimizer.update(GRADS, state, PARAMS)
    replica = jax.tree.map(lambda x: x[1], updates)
    chex.assert_trees_all_close(replica, wanted, rtol=1e-6)
    assert after.skipped.tolist() == [0, 0]


def test_what_goes_out_need_not_be_looked_at():
    """Cheaper: only gradients decide, and 0 / 0 of a finite one goes out."""
    optimizer = ow.skip_nonfinite(optax.adam(1e-3), check_updates=False)
    params = jnp.ones(2, jnp.float16)
    for update in (optimizer.update, jax.jit(optimizer.update)):
        state = optimizer.init(params)
        updates, state = update(jnp.array([0, 0.1], jnp.float16), state, params)
        assert jnp.isnan(updates[0]) and state.skipped == 0
        updates, state = update(jnp.array([0, jnp.inf], jnp.float16), state, params)
        assert updates.tolist() == [0, 0] and state.skipped == 1


@pytest.mark.parametrize("number", [1e20, 3e38])
def test_a_finite_gradient_may_make_the_moments_infinite(number):
    """Its square overflows, and that coordinate would stand still for ever."""
    optimizer = ow.skip_nonfinite(adam())
    params, state = train(optimizer, [GRADS, bad(number), GRADS])
    wanted, _ = train(adam(), [GRADS, GRADS])
    assert state.skipped == 1
    chex.assert_trees_all_close(params, wanted, rtol=1e-6)


def test_what_a_state_holds_by_design_may_be_infinite():
    """The best loss before the first is infinite, a record's missing rate NaN."""
    plateau = optax.contrib.reduce_on_plateau()
    optimizer = ow.skip_nonfinite(
        ow.record_moments(optax.chain(optax.adam(0.1), plateau))
    )
    update, state = jax.jit(optimizer.update), optimizer.init(PARAMS)
    for _ in range(2):
        _, state = update(GRADS, state, PARAMS, value=1.0)
    assert state.skipped == 0
    # sums of squares in the record overflow before Adam's own do
    _, state = update(jax.tree.map(lambda g: 5e18 * g, GRADS), state, PARAMS, value=1.0)
    record = state.inner_state.sums
    assert state.skipped == 0 and bool(jnp.isinf(record).any())


def test_only_cpus_get_a_conditional(platform):
    """Elsewhere it would hold both versions of the moments."""
    optimizer = ow.skip_nonfinite(adam())
    state = optimizer.init(PARAMS)
    program = jax.jit(optimizer.update).lower(GRADS, state, PARAMS).as_text()
    assert ("stablehlo.case" in program) == (platform == "cpu")


def test_a_derivative_through_a_skipped_step_is_finite(platform):
    def after(learning_rate):
        optimizer = ow.skip_nonfinite(optax.adam(learning_rate))
        params, state = PARAMS, optimizer.init(PARAMS)
        for g in (GRADS, bad(jnp.nan), GRADS):
            updates, state = optimizer.update(g, state, params)
            params = optax.apply_updates(params, updates)
        return params["w"][1]

    derivative = quickly(jax.grad(after))(0.1)
    np.testing.assert_allclose(derivative, -2, rtol=1e-4)


def test_it_never_gives_up_where_optax_does():
    many = [GRADS, *[bad(jnp.nan)] * 20]
    params, state = train(ow.skip_nonfinite(adam()), many)
    assert (state.skipped, state.skipped_in_a_row) == (20, 20)
    chex.assert_tree_all_finite(params)
    params, _ = train(optax.apply_if_finite(adam(), 5), many)
    assert np.isnan(params["w"]).any()


def test_accumulation_goes_on_as_if_the_bad_gradient_had_not_been(platform):
    """8 good gradients and 2 bad ones: two updates, each of four good gradients."""
    good = [jax.tree.map(lambda x, k=k: x * k, GRADS) for k in range(1, 9)]
    mixed = [*good[:2], bad(jnp.nan), *good[2:5], bad(jnp.inf), *good[5:]]
    optimizer = ow.skip_nonfinite(optax.MultiSteps(adam(), 4))
    params, state = train(optimizer, mixed)
    wanted, _ = train(optax.MultiSteps(adam(), 4), good)
    chex.assert_trees_all_close(params, wanted, rtol=1e-6)
    assert state.inner_state.gradient_step == 2 and state.skipped == 2
    chex.assert_tree_all_finite(state.inner_state.acc_grads)


def test_accumulating_apply_if_finite_is_defeated():
    """The sum stays NaN, five updates are refused, and then it is let through."""
    optimizer = optax.MultiSteps(optax.apply_if_finite(adam(), 5), 4)
    params, state = train(optimizer, [bad(jnp.nan), *[GRADS] * 39])
    assert np.isnan(state.acc_grads["w"][1])
    assert np.isnan(params["w"]).any()


def test_one_replica_skips_and_the_other_does_not(platform):
    optimizer = ow.skip_nonfinite(adam())
    both = jax.tree.map(lambda *x: jnp.stack(x), GRADS, bad(jnp.nan))
    state = jax.tree.map(lambda x: jnp.stack([x, x]), optimizer.init(PARAMS))
    updates, state = jax.vmap(optimizer.update)(both, state)
    chex.assert_tree_all_finite(updates)
    assert state.skipped.tolist() == [0, 1]
    assert state.inner_state[0].count.tolist() == [1, 0]


RAMP = ow.warmup(1.0, 4)


def factors(optimizer, steps, **extra):
    """The factor of each update; extra arguments by step."""
    update, state, seen = quickly(optimizer.update), optimizer.init(PARAMS), []
    for step in range(steps):
        now = {name: values[step] for name, values in extra.items()}
        _, state = update(GRADS, state, PARAMS, **now)
        seen.append(float(state.inner_state.factor))
    return seen, state


def test_a_periodic_restart():
    optimizer = ow.restart_if(
        ow.scale_by_warmup(RAMP),
        lambda state, **extra: state.count - state.last_restart >= 5,
    )
    seen, state = factors(optimizer, 13)
    once = [0, 0.25, 0.5, 0.75, 1]
    assert seen == [*once, *once, *once[:3]]
    assert (state.count, state.restarts, state.last_restart) == (13, 2, 10)


def test_a_restart_on_demand_by_an_array_or_a_bool():
    optimizer = ow.restart_if(
        ow.scale_by_warmup(RAMP), lambda state, *, resumed=False, **extra: resumed
    )
    seen, state = factors(optimizer, 5, resumed=jnp.arange(5) == 2)
    assert seen == [0, 0.25, 0, 0.25, 0.5]
    assert (state.restarts, state.last_restart) == (1, 2)
    _, state = optimizer.update(GRADS, state, PARAMS, resumed=True)
    assert (state.restarts, state.last_restart, state.inner_state.count) == (2, 5, 1)
    _, state = optimizer.update(GRADS, state, PARAMS)
    assert (state.restarts, state.inner_state.count) == (2, 2)


def test_what_is_wrapped_is_what_begins_again():
    """Around Adam the moments too: the updates are those of a fresh optimizer."""
    inner = optax.chain(
        optax.adam(0.1), ow.scale_by_warmup(ow.warmup(1.0, 3, offset=1))
    )
    optimizer = ow.restart_if(inner, lambda state, **extra: state.count == 7)
    _, state = train(optimizer, [GRADS] * 7)
    _, state = train(optimizer, [bad(5.0)] * 2, state)
    _, fresh = train(inner, [bad(5.0)] * 2)
    chex.assert_trees_all_close(state.inner_state, fresh, rtol=1e-6)
    assert optax.tree.get(state, "nu")["w"][0] == fresh[0][0].nu["w"][0]


def test_the_condition_may_read_the_state_of_what_is_wrapped():
    """Restarted by the lag of Adam's second moment, a step after the jump."""
    adam = ow.clip_update_rms(optax.scale_by_adam(b2=0.95), b2=0.95)
    optimizer = ow.restart_if(
        adam,
        lambda state, **extra: jnp.max(state.inner_state.normalized_gradient_rms) > 2.3,
    )
    larger = jax.tree.map(lambda g: 10 * g, GRADS)
    _, state = train(optimizer, [*[GRADS] * 20, larger, larger])
    assert (state.restarts, state.last_restart) == (1, 21)


def losses(steps=400, seed=0):
    """Falling from 3 to 1, with noise of 0.1."""
    rng = np.random.default_rng(seed)
    return 1 + 2 * np.exp(-np.arange(steps) / 100) + 0.1 * rng.normal(size=steps)


def follow(values, threshold=6.0, decay=0.98):
    """The last state, and the step of each restart."""
    optimizer = ow.restart_on_spike(
        ow.scale_by_warmup(RAMP), threshold=threshold, decay=decay
    )

    @quickly
    def run(values):
        def step(state, value):
            _, state = optimizer.update(GRADS, state, PARAMS, value=value)
            return state, state.restarts

        return jax.lax.scan(step, optimizer.init(PARAMS), values)

    state, restarts = run(jnp.asarray(values, jnp.float32))
    chex.assert_tree_all_finite(state)
    return state, np.flatnonzero(np.diff(restarts, prepend=0)).tolist()


@pytest.mark.parametrize("shift", [0.0, -2.0, -300.0])
def test_spikes_equal_the_oracle_whatever_the_sign(shift):
    values = losses() + shift
    values[[30, 150, 180, 320]] += 1, 3, 3, 40  # too early, found, young, found
    state, steps = follow(values)
    wanted, mean, variance = oracle.spikes(values.astype(np.float32), 6.0, 0.98)
    assert steps == wanted == [150, 320]
    assert (state.last_restart, state.inner_state.count) == (320, 80)
    np.testing.assert_allclose(state.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(state.variance, variance, rtol=2e-3)


def test_noise_and_a_falling_loss_are_no_spikes():
    assert follow(losses(20_000))[1] == []
    assert follow(np.full(500, 0.1))[1] == []
    assert follow(-np.linspace(0, 5, 500))[1] == []
    assert follow(np.where(np.arange(500) < 250, 3.0, 1.0))[1] == []


def test_the_last_bit_of_a_constant_loss_is_no_spike():
    constant = np.full(200, 3.0, np.float32)
    constant[150] = np.nextafter(constant[150], np.float32(4))
    assert follow(constant)[1] == []
    constant[150] = 3.001
    assert follow(constant)[1] == [150]


def test_a_spike_is_one_from_the_first_loss_after_the_memory_is_full():
    for step, wanted in ((49, []), (50, [50])):
        values = losses()
        values[step] += 10
        assert follow(values)[1] == wanted


def test_a_loss_that_stays_high_becomes_the_usual():
    values = losses()
    values[150:] += 5
    assert follow(values)[1] == [150]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_losses_that_are_not_finite_are_passed_over(number):
    values = losses()
    values[200] += 10
    with_gaps = values.copy()
    with_gaps[[0, 50, 51, 120, 199, 270, 399]] = number
    state, steps = follow(with_gaps)
    assert steps == [200]
    wanted = oracle.spikes(with_gaps.astype(np.float32), 6.0, 0.98)
    np.testing.assert_allclose(state.mean, wanted[1], rtol=1e-5)


def test_the_largest_losses_leave_the_state_finite():
    state, steps = follow([*[3e38, -3e38] * 60, *losses(200), 3e38, 3e38])
    assert state.restarts == len(steps) >= 1


def test_all_replicas_have_their_own_spikes():
    optimizer = ow.restart_on_spike(ow.scale_by_warmup(RAMP), decay=0.5)
    state = jax.vmap(lambda _: optimizer.init(PARAMS))(jnp.arange(2))
    update = quickly(
        jax.vmap(
            lambda s, v: optimizer.update(GRADS, s, PARAMS, value=v)[1], in_axes=(0, 0)
        )
    )
    for pair in [(1.0, 1.0), (1.1, 1.1), (1.0, 1.0), (9.0, 1.1)]:
        state = update(state, jnp.array(pair))
    assert state.restarts.tolist() == [1, 0]
    assert state.inner_state.count.tolist() == [1, 4]


def test_bad_arguments_are_refused():
    for wrap in (ow.skip_nonfinite, ow.restart_on_spike):
        with pytest.raises(TypeError, match=f"{wrap.__name__}: inner must be"):
            wrap(1e-3)
    with pytest.raises(TypeError, match="restart_if: condition must be a function"):
        ow.restart_if(ow.scale_by_warmup(0.5), True)
    for threshold in (0.0, -1.0, float("nan"), "6"):
        with pytest.raises((ValueError, TypeError), match="spike: threshold must be"):
            ow.restart_on_spike(ow.scale_by_warmup(0.5), threshold=threshold)
    for decay in (1.0, -0.1):
        with pytest.raises(ValueError, match="restart_on_spike: decay must be"):
            ow.restart_on_spike(ow.scale_by_warmup(0.5), decay=decay)
    for answer in (1, jnp.ones(2, bool), 0.5):
        optimizer = ow.restart_if(
            ow.scale_by_warmup(0.5), lambda state, a=answer, **extra: a
        )
        with pytest.raises(TypeError, match="condition must return one bool"):
            optimizer.update(GRADS, optimizer.init(PARAMS), PARAMS)


def test_updates_say_what_they_miss():
    optimizer = ow.restart_on_spike(ow.scale_by_warmup(0.5))
    state = optimizer.init(PARAMS)
    with pytest.raises(ValueError, match=r"needs the loss.*value=loss"):
        optimizer.update(GRADS, state, PARAMS)
    with pytest.raises(ValueError, match=r"update needs params"):
        optimizer.update(GRADS, state, value=1.0)
    with pytest.raises(ValueError, match=r"value must be one number.*shape \(2,\)"):
        optimizer.update(GRADS, state, PARAMS, value=jnp.ones(2))

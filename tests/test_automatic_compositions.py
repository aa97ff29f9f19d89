"""The automatic warmup among other wrappers: in which order, and in which modes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from automatic_runs import PARAMS, descent, go_on, gradients_of, run
from compiled import quickly

import optax_warmup as ow

pytestmark = pytest.mark.train


def started(optimizer, params=PARAMS, gradients=None):
    """The state after one update."""
    gradients = jax.tree.map(jnp.ones_like, params) if gradients is None else gradients
    return optimizer.update(gradients, optimizer.init(params), params)[1]


def test_inside_of_lookahead_it_is_as_alone_and_around_it_is_refused():
    """Scaled, the update that synchronizes would leave parameters in between."""
    look = optax.lookahead(optax.adam(0.1), 5, 0.5)
    both = optax.LookaheadParams.init_synced(PARAMS)
    for inner in (look, optax.chain(optax.clip(1.0), look)):
        with pytest.raises(ValueError, match=r"lookahead\(automatic_warmup\(optimizer"):
            ow.automatic_warmup(inner).init(both)
    inside = optax.lookahead(ow.automatic_warmup(optax.adam(0.5)), 2, 0.5)
    state, alone = inside.init(both), started(ow.automatic_warmup(optax.adam(0.5)))
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    updates, state = inside.update(ones, state, both)
    assert state.fast_state.factor == alone.factor < 1
    both = optax.apply_updates(both, updates)
    updates, state = inside.update(ones, state, both)
    both = optax.apply_updates(both, updates)
    np.testing.assert_allclose(both.fast["w"], both.slow["w"], rtol=1e-6)  # in step


def quadratic(x):
    return 0.5 * jnp.sum(jnp.logspace(-2, 2, 30) * x * x)


def test_inside_of_schedule_free_it_reaches_what_moves():
    """Around it only the mean is scaled, and z runs ahead at the full rate."""

    def losses(wrapped):
        _, state, losses = descent(wrapped, quadratic, jnp.ones(30), steps=60)
        return state, losses

    adam = optax.adam(3.0, b1=0.0)
    free = optax.contrib.schedule_free
    state, inside = losses(free(ow.automatic_warmup(adam), 3.0))
    _, around = losses(ow.automatic_warmup(free(adam, 3.0)))
    _, plain = losses(free(adam, 3.0))
    assert state.base_optimizer_state.factor < 0.5
    assert plain.max() > 2 * plain[0] and inside.max() <= inside[0]
    assert inside[-1] < 0.2 * around[-1]


def test_inside_of_sam_the_way_back_is_whole():
    """The step that perturbs is not the optimizer's, and is taken back in full."""
    perturb = optax.sgd(0.05)
    sam = optax.contrib.sam(ow.automatic_warmup(optax.adam(0.5)), perturb)
    gradients = gradients_of(PARAMS, 8)
    params, _, states = run(sam, PARAMS, gradients)
    plain = ow.automatic_warmup(optax.adam(0.5))
    second = jax.tree.map(lambda g: g[1::2], gradients)  # what Adam gets
    wanted, _, alone = run(plain, PARAMS, second)
    np.testing.assert_allclose(states.opt_state.factor[1::2], alone.factor, rtol=1e-4)
    np.testing.assert_allclose(params["w"], wanted["w"], rtol=1e-4, atol=1e-6)


def test_rewards_that_come_late_are_waited_for():
    """Gradients are zero for 50 updates, as a policy's without rewards are."""
    gradients = gradients_of(PARAMS, 60)
    late = jax.tree.map(lambda g: g.at[:50].set(0.0), gradients)
    _, updates, states = run(ow.automatic_warmup(optax.sgd(1.0)), PARAMS, late)
    np.testing.assert_array_equal(states.factor[:50], 0)
    np.testing.assert_array_equal(updates["w"][:50], 0)
    first = jax.tree.map(lambda g: g[50], gradients)
    begun = started(ow.automatic_warmup(optax.sgd(1.0)), gradients=first)
    assert states.factor[50] == pytest.approx(float(begun.factor), rel=1e-6)
    assert np.all(np.diff(states.count[50:]) == 1)


def test_what_is_clipped_hard_is_measured_as_it_moves():
    """Gradients clipped to 1e-3 at a rate of 1000 are those of 1 at a rate of 1."""
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    clipped = optax.chain(optax.clip(1e-3), optax.sgd(1e3))
    got = started(ow.automatic_warmup(clipped), gradients=ones)
    wanted = started(ow.automatic_warmup(optax.sgd(1.0)), gradients=ones)
    assert got.factor == pytest.approx(float(wanted.factor), rel=1e-5)


def test_a_complex_parameter_counts_as_its_parts():
    x = jax.random.normal(jax.random.key(0), (2, 6, 4))
    g = jax.random.normal(jax.random.key(1), (2, 6, 4))
    optimizer = ow.automatic_warmup(optax.sgd(2.0))
    parts = started(optimizer, {"w": jnp.concatenate(x)}, {"w": jnp.concatenate(g)})
    one = started(optimizer, {"w": x[0] + 1j * x[1]}, {"w": g[0] + 1j * g[1]})
    assert one.factor == pytest.approx(float(parts.factor), rel=1e-5)
    assert one.factor < 1


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_scalar_alone(value):
    """A bare array of shape () counts as at least 1."""
    begun = started(ow.automatic_warmup(optax.sgd(0.5)), jnp.float32(value))
    assert begun.factor == pytest.approx(0.07 / (0.5 / max(value, 1)), rel=1e-5)


def test_replicas_under_vmap_warm_up_on_their_own():
    gradients = gradients_of(PARAMS, 30)
    peaks = jnp.array([0.003, 0.3, 3.0])

    def factors(peak):
        optimizer = ow.automatic_warmup(optax.adam(peak))

        def step(carry, grads):
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), state.factor

        return jax.lax.scan(step, (PARAMS, optimizer.init(PARAMS)), gradients)[1]

    together, one = quickly(jax.vmap(factors)), quickly(factors)
    together, alone = together(peaks), jnp.stack([one(peak) for peak in peaks])
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    # One has arrived before it began, one on its way, one never.
    assert together[0, 0] == 1 and together[1, 0] < together[1, -1] < 1
    assert together[2, -1] < 0.1


def test_parameters_added_in_the_middle_start_a_new_warmup():
    optimizer = ow.automatic_warmup(optax.sgd(0.5))
    old = started(optimizer)
    params = PARAMS | {"new": jnp.zeros((3, 2))}
    with pytest.warns(UserWarning, match="begins anew, .* the updates by 0.0"):
        state = ow.adopt(optimizer, old, params)
    assert old.factor > 0 == state.factor
    ones = jax.tree.map(jnp.ones_like, params)
    _, state = optimizer.update(ones, state, params)
    assert state.factor == started(optimizer, params).factor < old.factor


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path):
    """Through a file, as another process would."""
    import orbax.checkpoint as ocp

    optimizer = ow.automatic_warmup(optax.adam(0.1))
    gradients = gradients_of(PARAMS, 8)
    first, second = (
        jax.tree.map(lambda g, part=part: g[part], gradients)
        for part in (slice(4), slice(4, None))
    )
    whole, _, states = run(optimizer, PARAMS, gradients)
    begun = optimizer.init(PARAMS)
    params, _, halfway = go_on(optimizer, PARAMS, begun, first)
    state = jax.tree.map(lambda x: x[-1], halfway)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", (params, state))
        checkpointer.wait_until_finished()
        like = jax.eval_shape(lambda: (PARAMS, begun))
        params, state = checkpointer.restore(tmp_path / "run", like)
    params, _, rest = go_on(optimizer, params, state, second)
    np.testing.assert_allclose(rest.factor, states.factor[4:], rtol=1e-6)
    np.testing.assert_allclose(params["w"], whole["w"], rtol=1e-6)

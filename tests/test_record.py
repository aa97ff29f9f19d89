"""The record of Adam's moments, from init through updates to the host's reading."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from compiled import quickly
from flax import nnx
from flax.training.train_state import TrainState
from selection import parametrize

import optax_warmup as ow
from optax_warmup import _sample as sample
from optax_warmup._record import slots
from optax_warmup._record.layout import Layout
from optax_warmup.diagnostics._heat_maps import heat_maps

pytestmark = pytest.mark.train

B1, B2, EPS, RATE = 0.9, 0.95, 1e-3, 0.25


def gradients(steps, seed=0):
    """Gradients of very different size, some coordinates below eps."""
    rng = np.random.default_rng(seed)
    return [
        {"w": rng.normal(size=(3, 4)) * 0.1, "b": rng.normal(size=5) * 1e-4}
        for _ in range(steps)
    ]


PARAMS = {"w": np.linspace(0.5, 2.0, 12).reshape(3, 4), "b": np.ones(5) * 0.1}


def as_arrays(tree, dtype=jnp.float32):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def adam():
    return optax.chain(
        optax.scale_by_adam(B1, B2, EPS),
        ow.scale_by_learning_rate(ow.warmup(RATE, 10)),
    )


def recorder(inner=None, **options):
    usual = {"b1": B1, "b2": B2, "eps": EPS}
    return ow.record_moments(inner or adam(), **usual | options)


def run(optimizer, grads, params=PARAMS, dtype=jnp.float32, state=None):
    params = as_arrays(params, dtype)
    state = optimizer.init(params) if state is None else state
    update = quickly(optimizer.update)
    for g in grads:
        _, state = update(as_arrays(g, dtype), state, params)
    return state


# test_noise_scale.py has their oracle
OF_NOISE = {"signal_share", "noise_scale", "noise_scale_bound"}


def oracle(grads, params=PARAMS):
    """Every statistic of every step and parameter, in float64 and by the book."""
    rows = []
    mu = {k: np.zeros_like(v) for k, v in params.items()}
    nu = {k: np.zeros_like(v) for k, v in params.items()}
    previous = {k: np.zeros_like(v) for k, v in params.items()}
    mean_before = dict.fromkeys(params, np.nan)
    for step, gradient in enumerate(grads):
        n = step + 1
        row = {}
        rate = RATE * min(step / 10, 1)
        for k, g in gradient.items():
            mu[k] = B1 * mu[k] + (1 - B1) * g
            nu[k] = B2 * nu[k] + (1 - B2) * g**2
            mu_hat, nu_hat = mu[k] / (1 - B1**n), nu[k] / (1 - B2**n)
            direction = mu_hat / (np.sqrt(nu_hat) + EPS)
            weights = params[k].ravel()
            moved = weights - rate * direction.ravel()
            lengths = np.linalg.norm(weights) * np.linalg.norm(moved)
            overlap = (g * previous[k]).sum()
            row[k] = {
                "nu_hat_rms": np.sqrt(nu_hat.mean()),
                "nu_hat_max": np.sqrt(nu_hat.max()),
                "update_rms": np.sqrt((direction**2).mean()),
                "snr": (mu_hat**2).mean() / nu_hat.mean(),
                "denominator": (np.sqrt(nu_hat) + EPS).mean(),
                "eps_dominated": (np.sqrt(nu_hat) < EPS).mean(),
                "nonfinite": 0.0,
                "drift": np.log2(nu_hat.mean() / mean_before[k]),
                "gradient_rms": np.sqrt((g**2).mean()),
                "gradient_norm": np.linalg.norm(g),
                "normalized_gradient_rms": np.sqrt(
                    (g**2 / np.maximum(nu_hat, EPS**2)).mean()
                ),
                "gradient_to_nu_ratio": (g**2).mean() / nu_hat.mean(),
                "alignment": overlap / np.linalg.norm(g) / np.linalg.norm(previous[k])
                if step
                else np.nan,
                "parameter_rms": np.sqrt((params[k] ** 2).mean()),
                "angular_update": np.arccos(min(weights @ moved / lengths, 1)),
            }
            row[k]["update_to_weight"] = (
                rate * row[k]["update_rms"] / row[k]["parameter_rms"]
            )
            row[k]["applied_rate"], row[k]["applied_decay"] = rate, 0.0
            row[k]["update_explained"] = 1.0
            previous[k], mean_before[k] = direction, nu_hat.mean()
        rows.append(row)
    return rows


def test_statistics_equal_the_oracle():
    grads = gradients(30)
    history = ow.read_moments(run(recorder(), grads))
    expected = oracle(grads)
    assert history.groups == ("b", "w")
    np.testing.assert_array_equal(history.sizes, [5, 12])
    np.testing.assert_array_equal(history.steps, np.arange(30))
    assert set(history.statistics) == set(expected[0]["w"]) | OF_NOISE
    for name in expected[0]["w"]:
        values = history.statistics[name]
        wanted = [[row[group][name] for group in "bw"] for row in expected]
        # differences: of logarithms, and of what rate and decay explain
        atol = {"drift": 2e-6, "alignment": 1e-5, "angular_update": 1e-7}
        atol = (atol | {"applied_decay": 2e-5, "applied_rate": 2e-6}).get(name, 0)
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=atol, err_msg=name)
    n = history.steps + 1
    np.testing.assert_allclose(history.bias_correction, 1 - B2**n)
    np.testing.assert_allclose(
        history.learning_rate, RATE * np.minimum(history.steps / 10, 1), rtol=1e-6
    )


def test_effective_samples_are_those_of_the_weights():
    """A mean with weights w is worth (sum w)**2 / sum w**2 equal ones."""
    history = ow.read_moments(run(recorder(), gradients(25)))
    for step, samples in zip(history.steps, history.effective_sample_size, strict=True):
        weights = B2 ** np.arange(step + 1)
        wanted = weights.sum() ** 2 / (weights**2).sum()
        np.testing.assert_allclose(samples, wanted, rtol=1e-9)


def test_overall_is_the_group_of_everything():
    grads = gradients(12)
    history = ow.read_moments(run(recorder(), grads))
    merged = ow.read_moments(run(recorder(groups=lambda path: "all"), grads))
    assert merged.groups == ("all",)
    for name, values in history.overall.items():
        np.testing.assert_allclose(
            values, merged.statistics[name][:, 0], rtol=1e-5, atol=1e-8, err_msg=name
        )


@pytest.mark.parametrize("bits", [3, 5])
def test_slots_are_those_of_steps_with_few_significant_digits(bits):
    steps = np.concatenate([np.arange(3000), 2 ** np.arange(12, 31) * 3 // 2])
    due, row = jax.vmap(lambda s: slots.slot(s, bits, None))(
        jnp.asarray(steps, jnp.int32)
    )
    wanted = [len(bin(s)[2:].rstrip("0")) <= bits for s in steps]
    np.testing.assert_array_equal(due, wanted)
    used = np.asarray(row)[np.asarray(due)]
    assert len(set(used)) == len(used)
    assert used.max() < slots.slot_count(bits, None)
    due, row = slots.slot(jnp.int32(2**30 + 2**29), bits, None)
    assert due and row < slots.slot_count(bits, None)
    # the largest recorded step has the last row
    largest = sum(2 ** (30 - k) for k in range(bits))
    assert slots.slot(largest, bits, None)[1] == slots.slot_count(bits, None) - 1


def test_later_steps_are_recorded_ever_more_rarely():
    history = ow.read_moments(run(recorder(), gradients(100)))
    np.testing.assert_array_equal(
        history.steps, [*range(32), *range(32, 64, 2), *range(64, 100, 4)]
    )
    assert history.overall["normalized_gradient_rms"][-1] > 0


def test_updates_and_the_inner_state_are_those_of_the_wrapped_optimizer():
    params, plain, wrapped = as_arrays(PARAMS), adam(), recorder()
    plain_state, state = plain.init(params), wrapped.init(params)
    plain_update, update = jax.jit(plain.update), jax.jit(wrapped.update)
    for g in map(as_arrays, gradients(5)):
        wanted, plain_state = plain_update(g, plain_state, params)
        got, state = update(g, state, params)
        chex.assert_trees_all_equal(got, wanted)
        chex.assert_trees_all_equal(state.inner_state, plain_state)


@parametrize("dtype", [jnp.float32, jnp.bfloat16], quick=2)
def test_large_parameters_train_bit_for_bit_as_without_a_record(dtype):
    """Large arrays are made to wait for the measurement; their numbers stay."""
    params = {"w": jnp.linspace(-1, 1, 160 * 128, dtype=dtype).reshape(160, 128)}
    inner = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2, B1, B2))
    decays = {"b1": B1, "b2": B2}

    def trained(optimizer):
        @jax.jit
        def step(params, state, key):
            noise = jax.random.normal(key, (160, 128), dtype)
            updates, state = optimizer.update({"w": noise}, state, params)
            return optax.apply_updates(params, updates), state

        now, state = params, optimizer.init(params)
        for number in range(36):  # the last ones not recorded
            now, state = step(now, state, jax.random.key(number))
        return now, state

    wanted, plain_state = trained(inner)
    got, state = trained(ow.record_moments(inner, **decays))
    chex.assert_trees_all_equal(got, wanted)
    chex.assert_trees_all_equal(state.inner_state, plain_state)


def test_state_has_one_structure_and_a_step_traces_once():
    optimizer, params = recorder(), as_arrays(PARAMS)

    @quickly
    @chex.assert_max_traces(n=1)
    def step(state, grads):
        return optimizer.update(grads, state, params)[1]

    state = optimizer.init(params)
    for g in map(as_arrays, gradients(4)):
        new = step(state, g)
        assert jax.tree.structure(new) == jax.tree.structure(state)
        chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
        state = new


def test_nothing_leaves_the_device_in_a_step():
    optimizer, params = recorder(), as_arrays(PARAMS)
    state, update = optimizer.init(params), quickly(optimizer.update)
    grads = list(map(as_arrays, gradients(3)))
    _, state = update(grads[0], state, params)
    with jax.transfer_guard("disallow"):
        for g in grads[1:]:
            _, state = update(g, state, params)
    text = update.lower(grads[0], state, params).as_text()
    assert "callback" not in text


def test_an_unrecorded_step_only_passes_a_branch():
    """The measurement stays inside a conditional of the compiled program."""
    optimizer, params = recorder(), as_arrays(PARAMS)
    state = optimizer.init(params)
    program = jax.jit(optimizer.update).lower(params, state, params).compile()
    assert " conditional(" in program.as_text()


def test_scan_and_grad_through_the_update():
    optimizer, params = recorder(), as_arrays(PARAMS)
    grads = gradients(6)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *map(as_arrays, grads))

    def total(params):
        def step(carry, g):
            params, state = carry
            updates, state = optimizer.update(g, state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, state), _ = jax.lax.scan(
            step, (params, optimizer.init(params)), stacked
        )
        return sum(jnp.sum(x) for x in jax.tree.leaves(params)), state

    slope, state = jax.jit(jax.grad(total, has_aux=True))(params)
    chex.assert_trees_all_close(slope, jax.tree.map(jnp.ones_like, params))
    np.testing.assert_array_equal(ow.read_moments(state).steps, np.arange(6))


def test_vmap_over_replicas_equals_a_loop():
    optimizer = recorder()
    runs = [list(map(as_arrays, gradients(5, seed))) for seed in range(3)]
    params = as_arrays(PARAMS)

    def train(grads):
        state = optimizer.init(params)
        for step in range(3):
            g = jax.tree.map(lambda x, step=step: x[step], grads)
            _, state = optimizer.update(g, state, params)
        return state

    grads = [jax.tree.map(lambda *x: jnp.stack(x), *r) for r in runs]
    together = quickly(jax.vmap(train))(jax.tree.map(lambda *x: jnp.stack(x), *grads))
    alone = quickly(train)
    for index, one in enumerate(grads):
        replica = jax.tree.map(lambda x, i=index: x[i], together)
        got, wanted = ow.read_moments(replica), ow.read_moments(alone(one))
        for name, values in wanted.statistics.items():
            np.testing.assert_allclose(got.statistics[name], values, rtol=1e-6)
    with pytest.raises(ValueError, match=r"axes of a vmap, \(3,\)"):
        ow.read_moments(together)


def test_bfloat16_parameters_and_moments():
    history = ow.read_moments(run(recorder(), gradients(8), dtype=jnp.bfloat16))
    expected = [row["w"]["normalized_gradient_rms"] for row in oracle(gradients(8))]
    np.testing.assert_allclose(
        history.statistics["normalized_gradient_rms"][:, 1], expected, rtol=0.05
    )


def test_a_nan_gradient_is_a_value_in_the_record():
    grads = gradients(4)
    grads[2]["w"][0, 0] = np.nan
    history = ow.read_moments(run(recorder(), grads))
    lag = history.statistics["normalized_gradient_rms"]
    assert np.isfinite(lag[:2]).all() and np.isnan(lag[2:, 1]).all()
    assert np.isfinite(lag[:, 0]).all()
    counted = history.statistics["nonfinite"].tolist()
    assert counted == [[0, 0], [0, 0], [0, 1], [0, 1]]


def test_a_resumed_run_continues_the_record():
    grads = gradients(40)
    whole = ow.read_moments(run(recorder(), grads))
    state = run(recorder(), grads[:23])
    saved = jax.tree.map(np.asarray, state)
    resumed = ow.read_moments(run(recorder(), grads[23:], state=saved))
    np.testing.assert_array_equal(whole.steps, resumed.steps)
    for name, values in whole.statistics.items():
        np.testing.assert_array_equal(values, resumed.statistics[name])


def test_a_checkpoint_on_disk_continues_the_record(tmp_path):
    """Interrupted where no step is due, and restored into a fresh process' state."""
    optimizer, grads = recorder(also=[35]), gradients(40)
    whole = ow.read_moments(run(optimizer, grads))
    checkpointer = orbax.checkpoint.StandardCheckpointer()
    checkpointer.save(tmp_path / "state", run(optimizer, grads[:34]))
    checkpointer.wait_until_finished()
    fresh = recorder(also=[35]).init(as_arrays(PARAMS))
    target = jax.tree.map(orbax.checkpoint.utils.to_shape_dtype_struct, fresh)
    restored = checkpointer.restore(tmp_path / "state", target)
    checkpointer.close()
    assert jax.tree.structure(restored) == jax.tree.structure(fresh)
    resumed = ow.read_moments(run(optimizer, grads[34:], state=restored))
    wanted = [*range(32), 32, 34, 35, 36, 38]
    np.testing.assert_array_equal(resumed.steps, wanted)
    np.testing.assert_array_equal(whole.steps, wanted)
    for name, values in whole.statistics.items():
        np.testing.assert_array_equal(values, resumed.statistics[name], err_msg=name)
    np.testing.assert_array_equal(whole.histogram, resumed.histogram)


def nestings():
    """(name, optimizer): three emitted Adam steps on w, and on b unless it is said."""
    adamw = optax.adamw(0.1, B1, B2, EPS)
    yield "adamw", recorder(adamw)
    yield "amsgrad", recorder(optax.amsgrad(0.1, B1, B2, EPS))
    yield "nadam", recorder(optax.nadam(0.1, B1, B2, EPS))
    yield "lamb", recorder(optax.lamb(0.1, B1, B2, EPS))
    yield "radam", recorder(optax.radam(0.1, B1, B2, EPS))
    yield "chain", recorder(optax.chain(optax.clip_by_global_norm(1e9), adamw))
    yield "inside a chain", optax.chain(optax.clip_by_global_norm(1e9), recorder(adamw))
    yield (
        "inject_hyperparams",
        recorder(
            optax.inject_hyperparams(optax.adam)(
                learning_rate=optax.linear_schedule(0.0, 1.0, 10), b1=B1, b2=B2, eps=EPS
            )
        ),
    )
    yield "apply_if_finite", optax.apply_if_finite(recorder(adamw), 5)
    yield "MultiSteps outside", optax.MultiSteps(recorder(adamw), 1)
    yield "MultiSteps inside", recorder(optax.MultiSteps(adamw, 1))


@parametrize(("name", "optimizer"), list(nestings()), quick=3)
def test_moments_are_found_in_any_nesting(name, optimizer):
    grads = gradients(3)
    history = ow.read_moments(run(optimizer, grads))
    np.testing.assert_array_equal(history.steps, [0, 1, 2])
    if name != "lamb":  # which optax builds with its own eps_root
        expected = [[row[g]["nu_hat_rms"] for g in "bw"] for row in oracle(grads)]
        np.testing.assert_allclose(
            history.statistics["nu_hat_rms"], expected, rtol=1e-5
        )


@pytest.mark.parametrize("build", [optax.yogi, optax.adabelief])
def test_relatives_whose_second_moment_is_another(build):
    history = ow.read_moments(run(recorder(build(0.1, B1, B2)), gradients(3)))
    np.testing.assert_array_equal(history.steps, [0, 1, 2])
    assert np.isfinite(history.statistics["nu_hat_rms"]).all()


def test_rmsprop_has_no_first_moment_and_no_correction():
    grads = gradients(6)
    optimizer = recorder(optax.rmsprop(0.1, decay=B2, eps=EPS))
    history = ow.read_moments(run(optimizer, grads))
    np.testing.assert_array_equal(history.steps, np.arange(6))
    nu = np.zeros((3, 4))
    for row, gradient in enumerate(grads):
        nu = B2 * nu + (1 - B2) * gradient["w"] ** 2
        wanted = np.sqrt(nu.mean())
        np.testing.assert_allclose(
            history.statistics["nu_hat_rms"][row, 1], wanted, rtol=1e-5
        )
        wanted = np.sqrt((gradient["w"] ** 2 / (nu + EPS)).mean())  # eps inside
        np.testing.assert_allclose(
            history.statistics["update_rms"][row, 1], wanted, rtol=1e-5
        )
    dominated = (nu < EPS).mean()
    assert history.statistics["eps_dominated"][-1, 1] == pytest.approx(dominated)
    np.testing.assert_allclose(history.learning_rate, 0.1, rtol=1e-4)


def test_rmsprop_with_a_bias_correction():
    grads = gradients(6)
    build = optax.inject_hyperparams(optax.rmsprop, static_args=("bias_correction",))
    optimizer = recorder(build(0.1, decay=B2, eps=EPS, bias_correction=True))
    history = ow.read_moments(run(optimizer, grads))
    np.testing.assert_array_equal(history.steps, np.arange(6))
    nu = np.zeros((3, 4))
    for row, gradient in enumerate(grads):
        nu = B2 * nu + (1 - B2) * gradient["w"] ** 2
        nu_hat = nu / (1 - B2 ** (row + 1))
        wanted = {
            "nu_hat_rms": np.sqrt(nu_hat.mean()),
            "update_rms": np.sqrt((gradient["w"] ** 2 / (nu_hat + EPS)).mean()),
            "gradient_to_nu_ratio": (gradient["w"] ** 2).mean() / nu_hat.mean(),
        }
        for name, value in wanted.items():
            got = history.statistics[name][row, 1]
            np.testing.assert_allclose(got, value, rtol=1e-5, err_msg=name)
    assert history.corrected and history.b1 == 0
    np.testing.assert_allclose(history.noise_rms, 1)
    assert np.isnan(history.overall["alignment"]).all()
    parts = {
        name: optax.rmsprop(0.1, bias_correction=name == "w") for name in ("w", "b")
    }
    with pytest.raises(ValueError, match="with a bias correction and without"):
        recorder(optax.partition(parts, {"w": "w", "b": "b"})).init(as_arrays(PARAMS))


def test_a_statistic_that_does_not_exist_is_named():
    history = ow.read_moments(run(recorder(), gradients(2)))
    with pytest.raises(KeyError, match=r"there is no laag; recorded are .*nu_hat_rms"):
        history.statistics["laag"]
    assert "laag" not in history.overall and history.overall.get("laag") is None


def test_the_record_knows_the_dtype_of_nu():
    params = {"w": jnp.ones(3), "b": jnp.ones(2, jnp.bfloat16), "s": jnp.ones(1)}
    optimizer = recorder(
        optax.partition(
            {"adam": optax.adam(0.1, B1, B2), "sgd": optax.sgd(0.1)},
            {"w": "adam", "b": "adam", "s": "sgd"},
        )
    )
    assert ow.read_moments(optimizer.init(params)).dtypes == (
        *("bfloat16", "", "float32"),
    )
    one = recorder(groups=lambda path: "all").init(params)
    assert ow.read_moments(one).dtypes == ("bfloat16",)  # the least precise


def test_adam_and_rmsprop_do_not_share_a_record():
    mixed = optax.partition(
        {"adam": optax.adam(0.1), "rms": optax.rmsprop(0.1)}, {"w": "adam", "b": "rms"}
    )
    with pytest.raises(ValueError, match="mixes Adam and rmsprop"):
        recorder(mixed).init(as_arrays(PARAMS))


def test_steps_can_be_listed():
    optimizer = recorder(steps=[7, 0, 3, 3, 100])
    state = run(optimizer, gradients(10))
    assert state.steps.shape == (4 + 1,)
    history = ow.read_moments(state)
    np.testing.assert_array_equal(history.steps, [0, 3, 7])
    everything = ow.read_moments(run(recorder(), gradients(10)))
    np.testing.assert_array_equal(
        history.statistics["normalized_gradient_rms"],
        everything.statistics["normalized_gradient_rms"][[0, 3, 7]],
    )
    for bad, message in [
        ([], "not be empty"),
        ([-1], "be .* -1"),
        ([0.5], "be .* 0.5"),
    ]:
        with pytest.raises(ValueError, match=f"record_moments: .*steps must {message}"):
            recorder(steps=bad)


def test_more_steps_can_be_listed_beside_the_usual():
    usual = [*range(32), *range(32, 64, 2), *range(64, 100, 4)]
    optimizer = recorder(also=[65, 8, 33, 97, 33, 500])
    grads = gradients(100)
    state = run(optimizer, grads)
    assert state.steps.shape == (448 + 4 + 1,)  # 8 is a usual step
    history = ow.read_moments(state)
    np.testing.assert_array_equal(history.steps, sorted([*usual, 33, 65, 97]))
    without = ow.read_moments(run(recorder(), grads))
    kept = np.isin(history.steps, usual)
    for name in ("normalized_gradient_rms", "nu_hat_rms", "alignment"):
        values = history.statistics[name]
        np.testing.assert_array_equal(values[kept], without.statistics[name])
        assert np.isfinite(values[~kept]).all()
    saved = jax.tree.map(np.asarray, run(optimizer, grads[:65]))
    resumed = ow.read_moments(run(optimizer, grads[65:], state=saved))
    np.testing.assert_array_equal(resumed.steps, history.steps)
    listed = ow.read_moments(run(recorder(steps=[3], also=[1, 3]), grads[:5]))
    np.testing.assert_array_equal(listed.steps, [1, 3])
    with pytest.raises(ValueError, match=r"record_moments: .*also must be .* -1"):
        recorder(also=[-1])


def test_more_steps_beside_the_usual_have_slots_of_their_own():
    also = (33, 1001, 2**30 + 1)
    steps = jnp.asarray([*range(3000), *also[2:]], jnp.int32)
    due, row = jax.vmap(lambda s: slots.slot(s, 5, None, also))(steps)
    usual = [slots.usual(int(step), 5) for step in steps]
    np.testing.assert_array_equal(due, usual | np.isin(steps, also))
    used = np.asarray(row)[np.asarray(due)]
    assert len(set(used)) == len(used)
    assert used.max() == slots.slot_count(5, None, also) - 1 == 448 + 2


def test_recording_is_switched_from_outside():
    optimizer, params = recorder(), as_arrays(PARAMS)
    state = optimizer.init(params)
    update = quickly(optimizer.update, static_argnames="record")
    grads = list(map(as_arrays, gradients(6)))
    for step, g in enumerate(grads):
        _, state = update(g, state, params, record=step % 2 == 0)
    np.testing.assert_array_equal(ow.read_moments(state).steps, [0, 2, 4])

    state = optimizer.init(params)
    on_device = quickly(optimizer.update)
    for step, g in enumerate(grads):
        _, state = on_device(g, state, params, record=jnp.asarray(step % 3 == 0))
    np.testing.assert_array_equal(ow.read_moments(state).steps, [0, 3])


def test_the_histogram_counts_coordinates():
    params = {"w": jnp.zeros((64, 64)), "b": jnp.zeros(5)}
    grads = {"w": jnp.full((64, 64), 0.25), "b": jnp.array([1e-30, 0, 1e-3, 2.0, 1e4])}
    optimizer = ow.record_moments(optax.adam(1e-3, b2=0.5), samples=100)
    _, state = optimizer.update(grads, optimizer.init(params), params)
    history = ow.read_moments(state)
    (counts,) = history.histogram
    # nu = g**2 / 2 = 2**-5, in the bin from 2**-6 to 2**-4: all that the sample of w
    # stands for
    assert counts[list(history.histogram_edges).index(-6)] == 64 * 64
    assert counts.sum() == 64 * 64 + 5 and counts[0] == 2 and counts[-1] == 1
    without = ow.record_moments(optax.adam(1e-3), histogram=False)
    assert without.init(params).histogram is None
    assert ow.read_moments(without.init(params)).histogram.shape == (0, 0)


def test_a_sample_runs_through_all_rows_and_columns():
    for shape, samples in [((64, 64), 100), ((1024, 512), 4096), ((3, 3, 8, 32), 300)]:
        x = jnp.arange(np.prod(shape)).reshape(shape)
        drawn = np.asarray(sample.draw(x, samples))
        assert len(drawn) == len(set(drawn.tolist())) == sample.count(x.size, samples)
        assert 0.6 * samples < len(drawn) <= samples
        for axis, index in enumerate(np.unravel_index(drawn, shape)):
            seen = np.bincount(index, minlength=shape[axis])
            assert np.ptp(seen) <= 1 + 0.3 * seen.mean(), (shape, axis)
    assert sample.draw(x, None) is x and sample.draw(x, x.size) is x


def test_what_is_sampled_stands_for_the_whole():
    """A matrix whose rows, and columns, differ by far, as those of networks do."""
    rng = np.random.default_rng(0)
    scale = np.exp(rng.normal(size=(256, 1)) + rng.normal(size=(1, 192)))
    params = {"w": rng.normal(size=scale.shape), "b": rng.normal(size=5)}
    grads = [
        {"w": scale * rng.normal(size=scale.shape), "b": rng.normal(size=5)}
        for _ in range(6)
    ]
    whole = ow.read_moments(run(recorder(samples=None), grads, params))
    history = ow.read_moments(run(recorder(samples=4096), grads, params))
    np.testing.assert_array_equal(whole.sampled, [5, 256 * 192])
    assert 3700 < history.sampled[1] <= 4096 and history.sampled[0] == 5
    expected = oracle(grads, params)
    assert set(whole.statistics) == set(expected[0]["w"]) | OF_NOISE
    for name in expected[0]["w"]:
        values = whole.statistics[name]
        wanted = [[row[group][name] for group in "bw"] for row in expected]
        atol = {"drift": 3e-6, "alignment": 1e-4, "angular_update": 1e-7}
        atol = (atol | {"applied_decay": 2e-5, "applied_rate": 2e-6}).get(name, 0)
        np.testing.assert_allclose(values, wanted, rtol=3e-5, atol=atol, err_msg=name)
        sampled = history.statistics[name]
        np.testing.assert_allclose(sampled[:, 0], values[:, 0], rtol=1e-5, atol=2e-5)
        estimated = {
            "denominator",
            "update_rms",
            "eps_dominated",
            "normalized_gradient_rms",
            "alignment",
        }
        estimated |= {"update_to_weight", "angular_update", "gradient_to_nu_ratio"}
        estimated |= {"parameter_rms", "gradient_rms", "gradient_norm"}
        if name.startswith("gradient"):  # a few coordinates make most of it
            np.testing.assert_allclose(sampled, values, rtol=0.4)
        elif name in estimated:
            np.testing.assert_allclose(sampled, values, rtol=0.05, atol=0.03)
        else:
            np.testing.assert_allclose(sampled, values, rtol=1e-5, atol=3e-5)
    assert abs(history.histogram[0].sum() - (256 * 192 + 5)) <= 1


def test_groups_without_moments_are_nan_and_shown():
    optimizer = recorder(
        optax.partition(
            {"adam": optax.adam(0.1, B1, B2, EPS), "sgd": optax.sgd(0.1)},
            {"w": "adam", "b": "sgd"},
        )
    )
    history = ow.read_moments(run(optimizer, gradients(3)))
    assert history.groups == ("b", "w")
    np.testing.assert_array_equal(history.sizes, [0, 12])
    assert np.isnan(history.statistics["update_rms"][:, 0]).all()
    expected = [row["w"]["update_rms"] for row in oracle(gradients(3))]
    np.testing.assert_allclose(history.overall["update_rms"], expected, rtol=1e-5)


def test_a_mask_may_cut_off_whole_branches():
    params = {"body": {"w": PARAMS["w"], "b": PARAMS["b"]}, "head": {"w": np.ones(3)}}
    optimizer = recorder(
        optax.partition(
            {"adam": optax.adam(0.1, B1, B2, EPS), "sgd": optax.sgd(0.1)},
            {"body": "adam", "head": "sgd"},
        )
    )
    grads = [{"body": g, "head": {"w": np.ones(3)}} for g in gradients(3)]
    history = ow.read_moments(run(optimizer, grads, params))
    assert history.groups == ("body/b", "body/w", "head/w")
    np.testing.assert_array_equal(history.sizes, [5, 12, 0])
    expected = [
        [row[g]["normalized_gradient_rms"] for g in "bw"]
        for row in oracle(gradients(3))
    ]
    np.testing.assert_allclose(
        history.statistics["normalized_gradient_rms"][:, :2], expected, rtol=1e-5
    )


def test_two_adams_of_different_parameters_are_one_record():
    both = {"one": optax.adam(0.1, B1, B2, EPS), "two": optax.adam(0.2, B1, B2, EPS)}
    optimizer = recorder(optax.partition(both, {"w": "one", "b": "two"}))
    history = ow.read_moments(run(optimizer, gradients(3)))
    expected = [
        [row[g]["normalized_gradient_rms"] for g in "bw"]
        for row in oracle(gradients(3))
    ]
    np.testing.assert_allclose(
        history.statistics["normalized_gradient_rms"], expected, rtol=1e-5
    )


def test_under_accumulation_adams_own_steps_are_recorded():
    optimizer = recorder(optax.MultiSteps(optax.adam(0.1, B1, B2, EPS), 3))
    history = ow.read_moments(run(optimizer, gradients(9)))
    np.testing.assert_array_equal(history.steps, [0, 1, 2])


def test_inside_a_linen_train_state():
    """flax.training.train_state, as linen's examples use it."""
    state = TrainState.create(apply_fn=None, params=as_arrays(PARAMS), tx=recorder())
    for g in map(as_arrays, gradients(3)):
        state = state.apply_gradients(grads=g)
    history = ow.read_moments(state)
    np.testing.assert_array_equal(history.steps, [0, 1, 2])
    np.testing.assert_allclose(ow.learning_rate(state), RATE * 0.2, rtol=1e-6)


def test_donated_states_are_reused_without_a_word():
    optimizer, params = recorder(), as_arrays(PARAMS)

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    donating = quickly(step, donate_argnums=(0, 1))
    state, old = optimizer.init(params), params
    for g in map(as_arrays, gradients(4)):  # warnings are errors here
        old = params
        params, state = donating(params, state, g)
    assert all(x.is_deleted() for x in jax.tree.leaves(old))
    np.testing.assert_array_equal(ow.read_moments(state).steps, np.arange(4))


def test_inside_an_nnx_optimizer():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, recorder(), wrt=nnx.Param)
    grads = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model)
    for _ in range(3):
        optimizer.update(model, grads)
    history = ow.read_moments(optimizer)
    np.testing.assert_array_equal(history.steps, [0, 1, 2])
    assert history.groups == ("bias", "kernel")
    np.testing.assert_allclose(
        history.statistics["normalized_gradient_rms"], 1.0, rtol=1e-5
    )


def test_an_update_without_parameters_records_all_but_those():
    optimizer = recorder()
    state = optimizer.init(as_arrays(PARAMS))
    for g in gradients(2):
        _, state = optimizer.update(as_arrays(g), state)
    history = ow.read_moments(state)
    whole = ow.read_moments(run(recorder(), gradients(2)))
    for name, values in history.statistics.items():
        if name in ("parameter_rms", "update_to_weight", "angular_update"):
            assert np.isnan(values).all()
        else:
            wanted = whole.statistics[name]
            np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=2e-5)


def test_saved_and_loaded(tmp_path):
    sharpness = {4: jnp.float32(5), 2: 7.0}
    history = ow.read_moments(run(recorder(), gradients(5)), sharpness=sharpness)
    path = history.save(tmp_path / "moments")
    assert path == tmp_path / "moments.npz"
    by_given_path = ow.diagnostics.load_moments(tmp_path / "moments")
    np.testing.assert_array_equal(by_given_path.steps, history.steps)
    loaded = ow.diagnostics.load_moments(path)
    assert (loaded.groups, loaded.b1, loaded.b2) == (history.groups, B1, B2)
    assert loaded.dtypes == ("float32", "float32")
    np.testing.assert_array_equal(loaded.sampled, history.sampled)
    np.testing.assert_array_equal(loaded.sharpness_steps, [2, 4])
    np.testing.assert_array_equal(loaded.sharpness, [7.0, 5.0])
    for name, values in history.statistics.items():
        np.testing.assert_array_equal(loaded.statistics[name], values)
        np.testing.assert_array_equal(loaded.overall[name], history.overall[name])
    np.testing.assert_array_equal(loaded.steps, history.steps)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["moments.npz"]


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = ow.read_moments(run(recorder(), gradients(5))).save(tmp_path / "moments")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"moments\.npz is not a complete file"):
        ow.diagnostics.load_moments(path)
    np.savez(path, steps=np.arange(3))
    with pytest.raises(ValueError, match=r"moments\.npz is not a complete file"):
        ow.diagnostics.load_moments(path)
    with pytest.raises(FileNotFoundError):
        ow.diagnostics.load_moments(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"b1": 1.0}, r"b1 must be a finite number >= 0 and < 1, got 1\.0"),
        ({"b2": -0.1}, r"b2 must be .* got -0\.1"),
        ({"b2": float("nan")}, r"b2 must be .* got nan"),
        ({"eps": -1e-8}, r"eps must be .* got -1e-08"),
        ({"eps": "1e-8"}, r"eps must be .* got '1e-8'"),
    ],
)
def test_bad_numbers_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=f"record_moments: {message}"):
        ow.record_moments(adam(), **options)


@pytest.mark.parametrize(("name", "value"), [("b1", 0.8), ("b2", 0.999)])
def test_decays_that_contradict_the_optimizer_are_refused(name, value):
    clipped = optax.chain(optax.clip_by_global_norm(1e-3), adam())
    for inner in (adam(), clipped, optax.apply_if_finite(adam(), 5)):
        with pytest.raises(ValueError, match=f"{name} must be .* got {value} where it"):
            recorder(inner, **{name: value})
    with pytest.raises(ValueError, match="b2 must be .* got 0.9 where it uses 0.95"):
        ow.record_moments(optax.rmsprop(0.1, decay=B2), b2=0.9)
    parts = optax.partition({"a": adam()}, {"w": "a", "b": "a"})
    late = recorder(parts, **{name: value})  # made for these parameters alone
    with pytest.raises(ValueError, match=f"{name} must be .* got {value} where it"):
        late.init(as_arrays(PARAMS))


@parametrize("b2", [0.95, 0.999, 1 - 1 / 3000], quick=3)
def test_decays_are_found_where_the_optimizer_shows_them(b2):
    inner = optax.adam(0.1, 0.8, b2)
    both = optax.partition({"a": inner}, {"w": "a", "b": "a"})
    for optimizer in (inner, both, optax.apply_if_finite(inner, 3)):
        history = ow.read_moments(run(ow.record_moments(optimizer), gradients(2)))
        assert history.b1 == 0.8
        np.testing.assert_allclose(1 - history.b2, 1 - b2, rtol=1e-3)
        assert b2 == 1 - 1 / 3000 or history.b2 == b2


def test_decays_that_do_not_show_are_asked_for():
    params = as_arrays(PARAMS)
    for inner in (optax.yogi(0.1), optax.adabelief(0.1)):
        with pytest.raises(ValueError, match=r"b2 is needed, .* Pass b2= with"):
            ow.record_moments(inner).init(params)
    coarse = optax.adam(0.1, mu_dtype=jnp.bfloat16)
    with pytest.raises(ValueError, match=r"b1 is needed.*too coarse to show it"):
        ow.record_moments(coarse).init(params)
    kept_back = ow.record_moments(optax.MultiSteps(optax.adam(0.1), 1000))
    with pytest.raises(ValueError, match="b1 is needed"):
        kept_back.init(params)


def rounded_nu(inner):
    """Adam whose second moments are kept in bfloat16."""

    def coarse(state):
        return optax.tree.set(state, nu=optax.tree.cast(state.nu, jnp.bfloat16))

    def update(updates, state, params=None):
        updates, state = inner.update(updates, state, params)
        return updates, coarse(state)

    return optax.GradientTransformation(lambda p: coarse(inner.init(p)), update)


def test_coarse_second_moments_neither_show_b2_nor_contradict_it():
    """0.95 shows as 0.953125 in bfloat16."""
    inner = rounded_nu(optax.scale_by_adam(b2=0.95))
    history = ow.read_moments(run(ow.record_moments(inner, b2=0.95), gradients(5)))
    assert history.b2 == 0.95 and history.dtypes == ("bfloat16", "bfloat16")
    with pytest.raises(ValueError, match=r"b2 is needed.*about 0\.953"):
        run(ow.record_moments(inner), gradients(1))
    with pytest.raises(ValueError, match=r"b2 must be .* got 0\.9 where"):
        ow.record_moments(inner, b2=0.9)


def test_bad_optimizers_are_refused():
    with pytest.raises(TypeError, match="inner must be an optax optimizer"):
        ow.record_moments(0.1)
    params = as_arrays(PARAMS)
    with pytest.raises(ValueError, match=r"holds no Adam moments.*optax\.adam"):
        recorder(optax.sgd(0.1)).init(params)
    twice = optax.chain(optax.scale_by_adam(), optax.scale_by_adam())
    with pytest.raises(ValueError, match="moments of the same parameter"):
        recorder(twice).init(params)
    with pytest.raises(ValueError, match="parameter 'b' has dtype int32"):
        recorder().init({"w": jnp.ones(2), "b": jnp.ones(2, jnp.int32)})
    with pytest.raises(TypeError, match="groups must be a function"):
        recorder(groups={"w": "all"})


def test_a_state_without_one_record_is_refused():
    params = as_arrays(PARAMS)
    with pytest.raises(ValueError, match="it holds 0"):
        ow.read_moments(optax.adam(0.1).init(params))
    state = recorder().init(params)
    with pytest.raises(ValueError, match="it holds 2, at first, second"):
        ow.read_moments({"first": state, "second": state})
    for wrong in ({-1: 1.0}, {1: float("nan")}):
        with pytest.raises(ValueError, match="read_moments: .*sharpness.* must be"):
            ow.read_moments(state, sharpness=wrong)


@pytest.mark.parametrize(
    "build",
    [
        lambda **adam: optax.inject_hyperparams(optax.adamw)(1e-3, **adam),
        lambda **adam: optax.chain(
            optax.clip(1.0), optax.inject_hyperparams(optax.adam)(1e-3, **adam)
        ),
        lambda **adam: optax.MultiSteps(
            optax.inject_hyperparams(optax.adam)(1e-3, **adam), 3
        ),
    ],
    ids=["alone", "chain", "MultiSteps"],
)
def test_decays_that_change_are_refused(build):
    slow = ow.transition(0.95, 0.999, 10**6)
    with pytest.raises(ValueError, match=r"b2 .* changes it, from 0.95 to 0.999"):
        ow.record_moments(build(b2=slow)).init(PARAMS)
    with pytest.raises(ValueError, match=r"b1 .* changes it, from 0.5 to 0.9"):
        ow.record_moments(build(b1=optax.linear_schedule(0.5, 0.9, 10))).init(PARAMS)
    state = ow.record_moments(build(b1=0.8, b2=ow.constant(0.95))).init(PARAMS)
    history = ow.read_moments(state)
    assert (history.b1, history.b2) == (0.8, 0.95)


def test_a_schedule_may_know_the_steps_of_its_run_alone():
    def rate(count):
        if isinstance(count, jax.core.Tracer):
            return 0.1
        return [0.1, 0.2, 0.3, 0.4, 0.5][int(count)]

    inner = optax.inject_hyperparams(optax.adam)(rate, b2=0.95)
    history = ow.read_moments(ow.record_moments(inner).init(PARAMS))
    assert history.b2 == 0.95


def test_an_optimizer_that_cannot_be_tried_says_why():
    def fails(updates, state, params=None):
        raise RuntimeError("needs the weather")

    broken = optax.GradientTransformation(lambda params: (), fails)
    inner = optax.chain(optax.scale_by_adam(), broken)
    with pytest.raises(ValueError, match="RuntimeError: needs the weather. Pass b1="):
        ow.record_moments(inner).init(PARAMS)


def test_a_state_with_another_histogram_names_adopt():
    state = ow.record_moments(optax.adam(1e-3)).init(PARAMS)
    with pytest.raises(ValueError, match=r"histogram=False, .*\.adopt\("):
        ow.record_moments(optax.adam(1e-3), histogram=False).update(
            PARAMS, state, PARAMS
        )


def test_two_parameters_with_one_path_are_refused():
    params = {"a/b": jnp.ones(2), "a": {"b": jnp.ones(3)}}
    with pytest.raises(ValueError, match="two parameters have the path 'a/b'"):
        ow.record_moments(optax.adam(1e-3)).init(params)


@pytest.mark.parametrize("eps_in_sqrt", [True, False])
def test_the_direction_of_rmsprop_is_confirmed(eps_in_sqrt):
    """In a record of large eps, where its place matters."""
    inner = optax.rmsprop(1e-2, eps=0.1, eps_in_sqrt=eps_in_sqrt)
    state = ow.record_moments(inner, eps=0.1).init(PARAMS)
    assert Layout.decode(np.asarray(state.layout)).direction == (
        "adam" if eps_in_sqrt else None
    )


@pytest.mark.parametrize("axes", [("data", ""), ("data", 1), (), ""])
def test_each_name_of_an_axis_must_be_one(axes):
    with pytest.raises(TypeError, match="axis_name must be the name of an axis"):
        ow.record_moments(optax.adam(1e-3), axis_name=axes)


def test_the_state_of_another_optimizer_is_not_called_restored():
    plain = optax.adam(1e-3)
    recorded = ow.record_moments(plain)
    with pytest.raises(TypeError, match=r"tuple .* If it is the state of this run"):
        recorded.update(PARAMS, plain.init(PARAMS), PARAMS)


def test_the_heat_map_of_groups_says_its_ends():
    state = ow.record_moments(optax.adam(1e-3)).init(PARAMS)
    update = jax.jit(ow.record_moments(optax.adam(1e-3)).update)
    gradients = {"w": np.full((3, 4), 1e-3), "b": np.full(5, 50.0)}
    for _ in range(3):
        _, state = update(gradients, state, PARAMS)
    maps = list(heat_maps({"run": ow.read_moments(state)}))
    assert [line.says for line in maps[0].lines] == ["10%", "50%", "90%"]
    assert re.search(r"From 0\.001\S* \(pale\) to 50\S* \(dark\)", maps[-1].caption)

"""The reinforcement example: the game, the estimates, a few updates, the command."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from examples import evaluation
from examples.reinforcement import (
    __main__ as command,
    agent,
    environment,
    ppo,
    variants,
)
from examples.reinforcement.environment import EnvState, Outcome
from examples.reinforcement.ppo import Batch, Size
from examples.reinforcement.variants import WAYS, Setting

pytestmark = pytest.mark.train

TINY = Size(width=4, environments=2, rollout=8, iterations=2, epochs=2, minibatches=2)


def test_an_episode_ends_and_the_next_begins():
    state = environment.begin(jax.random.key(0))
    step = jax.jit(environment.step)
    for count in range(1, 30):  # always to the right: the pole falls
        state, outcome = step(state, 1, jax.random.key(count))
        if outcome.fell:
            break
        assert jnp.isnan(outcome.episode_return) and state.steps == count
    assert outcome.fell and not outcome.cut and outcome.episode_return == count
    assert abs(outcome.final[2]) > 0.2  # the angle at which it fell
    assert state.steps == 0 and abs(state.physics[2]) <= 0.05


def test_the_longest_episode_is_cut_and_not_failed():
    upright = EnvState(jnp.zeros(4), jnp.int32(environment.LONGEST - 1))
    _, outcome = environment.step(upright, 0, jax.random.key(0))
    assert outcome.cut and not outcome.fell and outcome.episode_return == 500


def test_advantages_are_the_discounted_sums_by_definition():
    random = np.random.default_rng(0)
    T = 6
    value, following = random.normal(size=(2, T))
    fell = np.array([0, 0, 1, 0, 0, 0], bool)
    cut = np.array([0, 0, 0, 0, 1, 0], bool)
    expected = []
    for t in range(T):
        total, weight = 0.0, 1.0
        for k in range(t, T):
            total += weight * (1 + 0.99 * following[k] * (not fell[k]) - value[k])
            weight *= 0.99 * 0.95
            if fell[k] or cut[k]:
                break
        expected.append(total)
    outcome = Outcome(
        reward=jnp.ones((T, 1)),
        fell=jnp.array(fell)[:, None],
        cut=jnp.array(cut)[:, None],
        final=None,
        episode_return=None,
    )
    found = ppo.advantages(
        jnp.array(value)[:, None], jnp.array(following)[:, None], outcome
    )
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)


def test_the_objective_is_clipped_and_rewards_entropy():
    apply, params = agent.init(4, jax.random.key(0))
    batch = Batch(
        observation=jnp.zeros((2, 4)),
        action=jnp.array([0, 1]),
        log_probability=jnp.log(jnp.array([0.5, 0.5])),
        advantage=jnp.array([1.0, -1.0]),
        target=jnp.zeros(2),
    )
    loss, entropy = ppo.objective(params, apply, batch, 0.0)
    bonus, _ = ppo.objective(params, apply, batch, 0.5)
    assert entropy == pytest.approx(np.log(2), abs=1e-4)  # it begins undecided
    assert loss - bonus == pytest.approx(0.5 * np.log(2), abs=1e-4)
    far = batch._replace(log_probability=jnp.log(jnp.array([0.1, 0.1])))
    clipped, _ = ppo.objective(params, apply, far, 0.0)
    # A ratio of 5: the gain stops at 1.2, the loss does not.
    assert clipped == pytest.approx(-(1.2 - 5) / 2, abs=1e-3)


def test_the_mean_of_returns_remembers():
    nan = jnp.nan
    mean = ppo.remembered(nan, jnp.array([nan, 10.0, 30.0]))
    assert mean == 20
    assert ppo.remembered(mean, jnp.array([nan])) == 20
    assert ppo.remembered(mean, jnp.array([40.0])) == pytest.approx(22)


def test_a_training_changes_the_policy_once_the_rate_is_above_zero():
    optimizer = optax.sgd(lambda step: jnp.where(step < 4, 0.0, 1.0))
    curves = jax.jit(
        lambda seed: ppo.train(optimizer, lambda step: 0.0, TINY, seed=seed),
        compiler_options={"xla_backend_optimization_level": 0},  # compiled sooner
    )(0)
    assert curves.loss.shape == (8,) and curves.steps.tolist() == [4, 8]
    np.testing.assert_allclose(curves.entropy[:5], np.log(2), atol=1e-3)
    assert np.abs(curves.entropy[5:] - np.log(2)).max() > 1e-3


def test_the_two_warmups_are_schedules():
    setting = Setting()
    total = setting.size.total_steps
    rate, entropy = variants.make_schedules(1e-2, 80, 0.1, setting)
    assert rate(0).item() == pytest.approx(1e-2 / 80)
    assert rate(79).item() == pytest.approx(1e-2)
    assert rate(total).item() == 0
    assert entropy(0).item() == pytest.approx(0.1)
    assert entropy(total // 5).item() == pytest.approx(setting.entropy)


def train_quickly(optimizer, exploration, size, *, seed):
    """In the place of `train`, which takes long to compile."""
    noise = jax.random.uniform(jax.random.key(seed), (4,))
    loss = jnp.full(size.total_steps, exploration(0))
    return ppo.Curves(loss, loss, jnp.arange(4), 480 * noise)


def test_the_command_prints_its_table_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "use_all_cores", lambda: None)
    monkeypatch.setattr(variants, "train", train_quickly)
    times = {"constant": 0.01, "scheduled": 0.0101, "recorded": 0.0101}
    monkeypatch.setattr(command, "step_times", lambda _: times)
    monkeypatch.setenv("COLUMNS", "120")
    picture = tmp_path / "rl.png"
    assert command.main(["--seeds=2", f"--output={picture}"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{way.name}, 0.001" in printed for way in WAYS)
    assert "Cost of both schedules: +1.0% per update" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["--iterations=0", "--chunk=0"])
def test_a_bad_option_is_said(option, capsys):
    with pytest.raises(SystemExit):
        command.main([option])
    name, _, value = option.partition("=")
    assert f"{name}: {value} must be above 0" in capsys.readouterr().err

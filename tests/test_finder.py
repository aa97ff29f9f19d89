"""The learning-rate finder: the test, its end, and the rules that read it."""

import functools
import itertools

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import pytest

import optax_warmup as ow
from optax_warmup import finder
from optax_warmup._command import main
from optax_warmup.finder._curve import noise as noise_of
from optax_warmup.finder._find import _divergence as divergence

RATES = np.geomspace(1e-6, 10, 200)


def typical(best=1e-2, limit=1.0, noise=0.0, seed=0):
    """A loss that falls around `best` and diverges at `limit`."""
    fall = 2 / (1 + best / RATES)
    rise = np.minimum((RATES / limit) ** 3, 20)
    error = noise * np.random.default_rng(seed).standard_normal(len(RATES))
    return 5 - fall + rise + error


def rates(losses, **options):
    found = finder.suggest(finder.RateCurve(RATES, losses, **options))
    return {rule: each.rate for rule, each in found._asdict().items()}


def near(found, expected, factor=1.5):
    for rule, rate in expected.items():
        assert rate / factor < found[rule] < rate * factor, (rule, found)


def test_the_rules_on_a_typical_curve():
    found = rates(typical())
    near(found, {"steepest": 1e-2, "minimum": 0.02}, factor=2)
    lowest = RATES[typical().argmin()]
    assert found["steepest"] < lowest
    assert found["valley"] < lowest
    assert found["steepest"] / 10 < found["valley"]
    assert found["steepest"] / 10 < found["sliding"] < 1.0


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_fool_them(seed):
    quiet, noisy = rates(typical()), rates(typical(noise=0.05, seed=seed))
    near(noisy, quiet, factor=4)


def test_the_noise_of_a_few_losses():
    assert noise_of(np.array([1.0, 2.0])) == 0
    assert noise_of(np.array([1.0, np.nan, 2.0, 4.0])) == pytest.approx(1.4826 / 6**0.5)


def test_a_first_spike_does_not_fool_them():
    losses = typical()
    losses[:3] += [4.0, 2.0, 1.0]
    near(rates(losses), rates(typical()), factor=1.7)
    losses = typical()
    losses[60] -= 1.5  # one lucky batch
    near(rates(losses), rates(typical()), factor=1.7)


@pytest.mark.parametrize("shift", [-5.0, -100.0, 1e4])
def test_the_level_of_the_loss_does_not_matter(shift):
    near(rates(typical() + shift), rates(typical()), factor=1.01)


def test_neither_does_its_scale():
    near(rates(typical() * 1e-3), rates(typical()), factor=1.01)


def test_a_range_that_never_diverges():
    found = finder.suggest(finder.RateCurve(RATES, 5 - np.log10(RATES / 1e-6) / 4))
    assert np.isnan(found.minimum.rate)
    assert np.isnan(found.sliding.rate)
    assert "raise max_value" in found.minimum.caveat
    assert "higher rate may do" in found.steepest.caveat
    assert np.isfinite(found.valley.rate)


@pytest.mark.parametrize(
    ("losses", "diverged", "reason"),
    [
        (np.full(200, np.nan), True, "not finite from the start"),
        (np.full(200, 2.3), False, "raise max_value"),
        (5 + 0.1 * np.random.default_rng(0).standard_normal(200), False, "raise max"),
        (5 + RATES, True, "lower min_value"),
        (np.where(np.arange(200) < 3, 5.0, np.nan), True, "for 3 updates only"),
    ],
)
def test_a_curve_that_tells_nothing_says_why(losses, diverged, reason):
    found = finder.suggest(finder.RateCurve(RATES, losses, diverged))
    assert np.isnan(found.rate)
    assert all(np.isnan(each.rate) and reason in each.caveat for each in found)


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((x @ params - y) ** 2)


def update(state, batch, learning_rate):
    params, opt_state = state
    loss, grads = jax.value_and_grad(loss_fn)(params, batch)
    optimizer = optax.adam(learning_rate)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), loss


STEP = jax.jit(update)
DONATING = jax.jit(update, donate_argnums=0)


def begin(seed=0):
    params = 0.1 * jax.random.normal(jax.random.key(seed), (4,))
    return params, optax.adam(0.0).init(params)


def data(seed=0):
    generator = np.random.default_rng(seed)
    while True:
        x = generator.standard_normal((16, 4)).astype(np.float32)
        yield x, x @ np.ones(4, np.float32)


def test_a_test_stops_where_training_diverges():
    curve = finder.find_rate(STEP, begin(), data(), max_value=1e4, steps=150)
    assert curve.diverged
    assert 50 < len(curve.rates) < 150
    # It ends with the loss that says so.
    assert divergence(curve.mean, 150, 1.0) == len(curve.rates) - 1
    assert curve.rates[0] == pytest.approx(1e-6)
    assert 1e-3 < finder.suggest(curve).rate < 3


def test_a_test_to_the_end_has_the_rates_of_the_schedule():
    curve = finder.find_rate(STEP, begin(), data(), max_value=1e-3, steps=50)
    assert not curve.diverged
    np.testing.assert_allclose(curve.rates, np.geomspace(1e-6, 1e-3, 50), rtol=1e-5)
    state, losses = begin(), []
    for rate, batch in zip(curve.rates, data(), strict=False):
        state, loss = STEP(state, batch, jnp.float32(rate))
        losses.append(loss)
    np.testing.assert_array_equal(curve.losses[0], np.array(losses))


@pytest.mark.parametrize("step", [STEP, DONATING], ids=["plain", "donating"])
def test_the_state_stays_as_it_was(step):
    state = (*begin(),)
    before = jax.tree.map(np.array, state)
    finder.find_rate(step, state, data(), steps=20)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, state), before)


def test_several_seeds_are_one_program():
    states = jax.tree.map(lambda *x: jnp.stack(x), begin(0), begin(1))
    several = (
        jax.tree.map(lambda *x: np.stack(x), *pair)
        for pair in zip(data(0), data(1), strict=False)
    )
    together = finder.find_rate(STEP, states, several, steps=30, seeds=2)
    for seed in (0, 1):
        alone = finder.find_rate(STEP, begin(seed), data(seed), steps=30)
        np.testing.assert_allclose(together.losses[seed], alone.losses[0], rtol=1e-5)
    np.testing.assert_allclose(together.mean, together.losses.mean(axis=0))


def test_nan_at_once_is_an_answer():
    def step(state, batch, rate):
        return state, jnp.nan

    curve = finder.find_rate(step, None, itertools.repeat(0), steps=20)
    assert curve.diverged
    assert "not finite from the start" in finder.suggest(curve).minimum.caveat


def test_a_loss_that_only_rises_stops():
    def step(state, batch, rate):
        return state, 1.0 + 100 * rate

    curve = finder.find_rate(step, None, itertools.repeat(0), steps=100)
    assert curve.diverged
    assert "lower min_value" in finder.suggest(curve).minimum.caveat


def test_a_constant_loss_does_not_stop():
    def step(state, batch, rate):
        return state, 2.3

    curve = finder.find_rate(step, None, itertools.repeat(0), steps=40)
    assert not curve.diverged
    assert len(curve.rates) == 40


run = functools.partial(finder.find_rate, STEP, begin())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: finder.find_rate(None, begin(), data()), "step must be a function"),
        (lambda: run(data(), steps=3), "steps must be a whole number >= 10"),
        (lambda: run(data(), min_value=0.0), "min_value must be"),
        (lambda: run(data(), min_value=1.0, max_value=0.1), "must be < max_value"),
        (lambda: run(data(), stop_at=0), "stop_at must be"),
        (lambda: run(itertools.islice(data(), 12)), "at least steps=200, got 12"),
        (lambda: run(data(), seeds=2), "leading axis of seeds=2"),
        (
            lambda: finder.find_rate(lambda *x: 1.0, None, itertools.repeat(0)),
            "must return \\(state, loss\\)",
        ),
        (
            lambda: finder.find_rate(
                lambda *x: (np.float32(1), {"w": 1.0}), None, itertools.repeat(0)
            ),
            r"find_rate: step must return \(state, loss\).* got \(float32, dict\)",
        ),
        (
            lambda: finder.find_rate(lambda *x: (0, None), None, itertools.repeat(0)),
            r"step must return \(state, loss\)",
        ),
        (
            lambda: finder.find_rate(
                lambda *x: (None, np.ones(8)), None, itertools.repeat(0)
            ),
            r"scalar loss, got the shape \(8,\)",
        ),
        (
            lambda: finder.find_rate(
                lambda *x: (x[0], jnp.ones(3)),
                jnp.ones(2),
                itertools.repeat(jnp.ones(2)),
                seeds=2,
            ),
            r"scalar loss, got the shape \(3,\)",
        ),
        (lambda: finder.suggest([1.0]), "must be a RateCurve"),
        (lambda: finder.RateCurve(RATES[:5], RATES[:5]), "at least 10"),
        (lambda: finder.RateCurve(RATES[::-1], RATES), "increase"),
        (lambda: finder.RateCurve(RATES, RATES[1:]), "one loss for each"),
        (lambda: finder.RateCurve(["a"] * 20, RATES), "real numbers"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_curve_survives_its_file(tmp_path):
    losses = np.stack([typical(), typical(noise=0.1)])
    losses[1, -1] = np.nan
    curve = finder.RateCurve(RATES, losses, diverged=True)
    # By the path that save returns, and by the one that it was given.
    paths = curve.save(tmp_path / "lr0.01"), tmp_path / "lr0.01"
    for found in map(finder.load_curve, paths):
        np.testing.assert_array_equal(found.losses, losses)
        np.testing.assert_array_equal(found.rates, RATES)
        assert found.diverged


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("a,b\n1,2\n", "columns learning_rate and loss"),
        ("lr,loss\n1,x\n", "must hold numbers"),
        ("lr,loss\n1,2\n", "at least 10"),
        ("lr,loss\n1\n2,3\n", "must hold numbers"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        finder.load_curve(path)


def test_a_figure_shows_each_rule():
    matplotlib.use("agg")
    figure, axes = finder.plot_curve(finder.RateCurve(RATES, typical()))
    texts = [text.get_text() for text in axes.texts]
    assert [text.split()[0] for text in texts] == list(finder.Suggestions._fields)
    flat = finder.plot_curve(finder.RateCurve(RATES, np.full(200, np.nan)))[1]
    assert "not finite" in flat.texts[0].get_text()


def test_the_rate_may_drive_any_optimizer_of_the_library():
    def step(state, batch, rate):
        params, opt_state = state
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        optimizer = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(rate))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    params = jnp.zeros(4)
    optimizer = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(0.0))
    state = params, optimizer.init(params)
    curve = finder.find_rate(
        jax.jit(step), state, data(), min_value=1e-4, max_value=1e3, steps=100
    )
    assert np.isfinite(finder.suggest(curve).rate)


def test_the_command_reads_a_curve(tmp_path, capsys):
    path = finder.RateCurve(RATES, typical(), diverged=True).save(tmp_path / "curve")
    picture = tmp_path / "curve.png"
    assert main(["find", str(path), "--output", str(picture)]) == 0
    text = capsys.readouterr().out
    for rule, rate in rates(typical()).items():
        assert f"{rate:.3g}"[:4] in text.split(rule)[1].splitlines()[0]
    assert picture.stat().st_size > 1000
    assert main(["find", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    assert main(["find", str(path), "--output", "curve.txt"]) == 2

"""The functions that `automatic_warmup` and `reduce_on_plateau` consist of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optax_warmup._transforms import automatic_rule as rule
from optax_warmup._transforms.automatic_sample import BLOCK, draw, layout_of
from optax_warmup._transforms.reduce_on_plateau import (
    Settings as PlateauSettings,
    judged,
    reduce_on_plateau,
    with_loss,
)

TREE = [jnp.full((4, 3), 2.0), jnp.array([3.0, 0.0]), jnp.zeros((0, 2))]


def size_of(moved, params):
    layout = layout_of(params)
    return float(rule.relative_size(draw(moved, layout), draw(params, layout), layout))


def test_the_relative_size_is_a_sum_over_leaves():
    moved = [jnp.full((4, 3), 0.2), jnp.array([0.3, 0.0]), jnp.zeros((0, 2))]
    # Of the vector only the 3 moves; a vector counts as at least 1.
    assert size_of(moved, TREE) == pytest.approx(0.2 / 2 + 0.3 / 3)


def test_zeros_count_as_what_a_usual_initialization_makes_them():
    zeros = [jnp.zeros((4, 3)), jnp.zeros(2)]
    moved = [jnp.full((4, 3), 0.2), jnp.full(2, 0.3)]
    assert size_of(moved, zeros) == pytest.approx(0.2 / (1 / 2) + 0.3 / 1)
    kernel = [jnp.zeros((3, 3, 4, 8))]  # fan-in 36
    assert size_of([jnp.full((3, 3, 4, 8), 0.1)], kernel) == pytest.approx(0.6)
    assert size_of([jnp.float32(0.1)], [jnp.float32(0)]) == pytest.approx(0.1)


def test_what_does_not_move_does_not_count():
    params = [jnp.ones((100, 4)), jnp.full(5, 1e3)]
    rows = (jnp.arange(100) % 25 == 0)[:, None] & jnp.ones((100, 4), bool)
    moved = [jnp.where(rows, 0.5, 0), jnp.zeros(5)]
    assert size_of(moved, params) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_sizes_whose_squares_are_no_numbers(scale):
    assert size_of([jnp.full(4, scale)], [jnp.ones(4)]) == pytest.approx(scale)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_agreement_is_a_cosine(scale):
    layout = layout_of(TREE)
    moved = draw([jnp.ones((4, 3)), jnp.array([1.0, 0.0])], layout)
    other = [jnp.arange(12.0).reshape(4, 3) - 2, jnp.array([1.0, 99.0])]
    got = rule.agreement(draw(other, layout) * scale, moved, layout)
    g = np.append(np.arange(12.0) - 2, 1)  # the 99 did not move
    wanted = -g.sum() / np.sqrt(13 * (g @ g))
    assert float(got) == pytest.approx(wanted, rel=1e-5)
    assert rule.agreement(0 * moved, moved, layout) == 0
    assert rule.agreement(moved, 0 * moved, layout) == 0


@pytest.mark.parametrize(
    ("cosine", "count", "exploding", "wanted"),
    [
        (0.01, 1, False, np.exp(0.1)),  # the sign matters, not the size
        (0.9, 79, False, np.exp(0.1)),
        (0.9, 159, False, np.exp(0.05)),  # like 8 / t later
        (-0.01, 1, False, np.exp(-0.095)),
        (-0.9, 159, False, np.exp(-0.0475)),
        (0.0, 1, False, 1.0),
        (-0.9, 159, True, 0.5),
    ],
)
def test_a_step_of_the_factor(cosine, count, exploding, wanted):
    got = rule.stepped(
        jnp.float32(0.5), jnp.float32(cosine), jnp.int32(count), jnp.bool_(exploding)
    )
    np.testing.assert_allclose(got, 0.5 * wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("gradient", "previous", "cosine", "wanted"),
    [
        (1.3, 1.0, -0.6, True),
        (1.1, 1.0, -0.6, False),
        (9.0, 1.0, -0.4, False),  # an odd batch: its gradient points anywhere
        (1.3, 0.0, -0.6, False),  # no gradient before
    ],
)
def test_an_explosion(gradient, previous, cosine, wanted):
    numbers = map(jnp.float32, (gradient, previous, cosine))
    assert bool(rule.has_exploded(*numbers)) is wanted


def test_the_limit_and_how_long_the_beginning_is():
    np.testing.assert_allclose(rule.limit(jnp.float32(2), 0.05, 3), 0.05, rtol=1e-6)
    for momentum, wanted in ((0.0, 20), (0.5, 20), (0.99, 200)):
        got = rule.beginning(jnp.float32(momentum))
        np.testing.assert_allclose(got, wanted, rtol=1e-3)


def known(**fields):
    start = {"count": 5, "factor": 0.1, "coherence": 0.2, "momentum": 0.0}
    start |= {"size": 1.0, "gradient": 1.0, "params": jnp.ones((1, BLOCK))}
    return rule.Known(**{k: jnp.asarray(v) for k, v in (start | fields).items()})


def assert_known(got, wanted):
    for name, one, two in zip(wanted._fields, got, wanted, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=name)


@pytest.mark.parametrize("bad", [0.0, jnp.nan, jnp.inf])
def test_a_gradient_that_tells_nothing_changes_nothing(bad):
    layout = layout_of([jnp.ones(BLOCK)])
    params = jnp.full((1, BLOCK), 1.5)
    told = rule.judged(jnp.full((1, BLOCK), bad), params, known(), layout)
    got = rule.after(known(), jnp.float32(0.1), params, 0.05, told)
    assert_known(got, known(params=params))
    still = rule.judged(jnp.ones((1, BLOCK)), known().params, known(), layout)
    got = rule.after(known(), jnp.float32(0.0), known().params, 0.05, still)
    assert got.count == 5 and got.factor == np.float32(0.1)


@pytest.mark.parametrize("size", [0.0, jnp.nan, jnp.inf])
def test_an_update_that_moves_nothing_changes_nothing(size):
    params = jnp.full((1, BLOCK), 1.5)
    got = rule.after(known(), jnp.float32(size), params, 0.05)
    assert_known(got, known(params=params, coherence=0.0, gradient=0.0))


def test_a_move_without_feedback():
    """It makes S larger, of the first updates, and the factor is start sqrt(t) / S."""
    params = known().params.at[0, 0].set(jnp.nan)
    got = rule.after(known(), jnp.float32(0.2), params, 0.05)
    assert (got.count, got.size, got.coherence, got.gradient) == (6, 2, 0, 0)
    assert got.factor == np.float32(0.05) * np.sqrt(np.float32(6)) / 2
    np.testing.assert_array_equal(got.params, known().params)  # NaN is not kept
    late = rule.after(known(count=25), jnp.float32(0.2), params, 0.05)
    assert late.size == 1


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"count": 20, "factor": 1.0}, True),
        ({"count": 19, "factor": 1.0}, False),  # S may still grow
        ({"count": 500, "factor": 0.99}, False),
        ({"count": 199, "factor": 1.0, "momentum": 0.99}, False),
        ({"count": 201, "factor": 1.0, "momentum": 0.99}, True),
    ],
)
def test_the_factor_has_arrived(fields, wanted):
    assert bool(rule.arrived(known(**fields))) is wanted


@pytest.mark.parametrize("size", [0.0, jnp.nan, jnp.inf])
def test_there_is_no_start_without_an_update(size):
    got = rule.started(known(count=0, factor=0.0), jnp.float32(size), 0.05)
    assert got.count == 0 and got.factor == 0


def test_a_start():
    got = rule.started(known(count=0, factor=0.0), jnp.float32(2), 0.05)
    assert (got.count, got.size) == (1, 2) and got.factor == np.float32(0.025)
    low = rule.started(known(count=0), jnp.float32(0.01), 0.05)
    assert low.factor == 1
    sgd = rule.started(known(count=0, momentum=0.99), jnp.float32(2), 0.05)
    np.testing.assert_allclose(sgd.factor, 0.00025, rtol=1e-4)
    later = rule.started(known(), jnp.float32(9), 0.05)
    assert (later.count, later.size) == (5, 1)


def test_a_sample_stands_for_its_leaf():
    shapes = {"large": (500, 400), "small": (7,), "none": (0, 3), "one": ()}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    leaves = [
        jax.random.normal(k, s) for k, s in zip(keys, shapes.values(), strict=True)
    ]
    leaves.append(jnp.array([1, 2]))  # whole numbers have no gradient
    leaves.append(jnp.array([3 + 4j], jnp.complex64))
    layout = layout_of(leaves)
    drawn = draw(leaves, layout)
    counts = layout.sums(jnp.ones_like(drawn))
    assert counts[1] == 7 and counts[2] == 1 and counts[3] == 2
    squares = layout.sums(drawn**2)
    np.testing.assert_allclose(squares[1], jnp.sum(leaves[1] ** 2), rtol=1e-5)
    np.testing.assert_allclose(squares[3], 25, rtol=1e-6)
    np.testing.assert_allclose(squares[0] / counts[0], 1, rtol=0.05)
    everything = 200_000 + 7 + 1 + 2
    np.testing.assert_allclose(
        layout.total(jnp.ones_like(drawn)), everything, rtol=1e-4
    )
    nothing = draw([None, *leaves[1:]], layout)
    assert layout.sums(nothing**2)[0] == 0


PLATEAU = PlateauSettings(0.5, 2, 0.0, 0.1, 0, 3, 1, 0.3)


def after(**fields):
    state = (
        reduce_on_plateau()
        .init(None)
        ._replace(best_value=jnp.float32(1.0), samples=jnp.int32(1))
    )
    fields = {name: jnp.asarray(value) for name, value in fields.items()}
    return judged(PLATEAU, state._replace(**fields))


def test_a_mean_is_judged():
    better = after(mean_value=0.8, stagnant=1)
    assert (better.best_value, better.stagnant, better.scale) == (np.float32(0.8), 0, 1)
    within = after(mean_value=0.95, stagnant=0)
    assert (within.best_value, within.stagnant, within.scale) == (1, 1, 1)
    reduced = after(mean_value=1.0, stagnant=1)
    assert (reduced.stagnant, reduced.scale, reduced.cooldown_left) == (0, 0.5, 3)
    lowest = after(mean_value=1.0, stagnant=1, scale=0.5)
    assert lowest.scale == np.float32(0.3)
    resting = after(mean_value=1.0, stagnant=1, cooldown_left=2)
    assert (resting.stagnant, resting.scale, resting.cooldown_left) == (0, 1, 1)
    assert resting.samples == 0 and resting.mean_value == 0


def test_losses_enter_the_running_mean_if_they_count():
    state = reduce_on_plateau().init(None)
    for loss, counts in ((2.0, True), (99.0, False), (4.0, True)):
        state = with_loss(state, jnp.float32(loss), jnp.bool_(counts))
    assert (state.samples, state.mean_value) == (2, 3)

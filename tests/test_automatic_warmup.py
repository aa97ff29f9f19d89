"""The automatic warmup: against an oracle, and where its first version went wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle_automatic
import pytest
from automatic_runs import PARAMS, gradients_of, quadratic, run
from compiled import quickly
from selection import parametrize

import optax_warmup as ow

pytestmark = pytest.mark.train


def first_factor(inner, params, gradients, start=0.07):
    optimizer = ow.automatic_warmup(inner, start=start)
    state = optimizer.init(params)
    return float(optimizer.update(gradients, state, params)[1].factor)


class Sgd:
    """optax.sgd with momentum, in float64."""

    def __init__(self, rate, momentum):
        self.rate, self.momentum, self.trace = rate, momentum, [0.0, 0.0]

    def __call__(self, gradients, params):
        self.trace = [
            self.momentum * m + g for m, g in zip(self.trace, gradients, strict=True)
        ]
        return [-self.rate * m for m in self.trace]


@pytest.mark.parametrize("feedback", [True, False])
@parametrize("momentum", [0.9, 0.0, 0.95], quick=1)
def test_it_does_what_the_formula_says(momentum, feedback):
    """A steep quadratic with noise: the factor starts, rises, falls and is halved."""
    steps, rate = 70, 3.0
    curvature = [np.logspace(-1, 2.5, 40).reshape(8, 5), np.ones(3)]
    noise = gradients_of(PARAMS, steps)
    leaves = [np.asarray(noise[k], np.float64) for k in ("w", "b")]

    def gradients_at(params, t):
        return [
            h * p + 3 * n[t] for h, p, n in zip(curvature, params, leaves, strict=True)
        ]

    params = [np.asarray(PARAMS[k], np.float64) for k in ("w", "b")]
    wanted = list(
        oracle_automatic.factors(
            Sgd(rate, momentum),
            gradients_at,
            params,
            steps,
            momentum=momentum,
            feedback=feedback,
        )
    )
    optimizer = ow.automatic_warmup(
        optax.sgd(rate, momentum=momentum or None), feedback=feedback
    )

    @quickly
    def train(params, state, noise):
        def step(carry, noise):
            params, state = carry
            grads = {
                k: h * params[k] + 3 * noise[k]
                for k, h in zip(("w", "b"), curvature, strict=True)
            }
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), (state.factor, state.coherence)

        return jax.lax.scan(step, (params, state), noise)

    (end, _), (factors, coherences) = train(PARAMS, optimizer.init(PARAMS), noise)
    np.testing.assert_allclose(factors, [w[0] for w in wanted], rtol=2e-3)
    known = [w[1] if feedback else 0 for w in wanted]  # not measured without feedback
    np.testing.assert_allclose(coherences, known, atol=3e-3)
    np.testing.assert_allclose(end["w"], wanted[-1][2][0], rtol=1e-2, atol=1e-3)
    changes = np.diff(np.log([w[0] for w in wanted]))
    assert changes.max() > 0
    assert not feedback or changes.min() < 0  # both happen


def test_what_is_frozen_inside_does_not_count():
    """The first version compared the head's update with all parameters."""
    frozen = optax.partition(
        {"head": optax.adam(0.1), "frozen": optax.set_to_zero()},
        {"body": "frozen", "head": "head"},
    )
    head = jnp.linspace(-1, 1, 20).reshape(4, 5)
    params = {"body": jnp.full((50, 50), 100.0), "head": head}
    got = first_factor(frozen, params, jax.tree.map(jnp.ones_like, params))
    alone = first_factor(optax.adam(0.1), head, jnp.ones_like(head))
    assert got == pytest.approx(alone, rel=1e-5) and got < 0.5


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rows_without_a_gradient_do_not_count(decay):
    """Of a large embedding a batch touches a few rows, weight decay moves them all."""
    rows = (jnp.arange(5_000) % 10 == 0)[:, None]
    params = {"e": jnp.ones((5_000, 8)), "w": jnp.eye(6) * 6**0.5}
    grads = {"e": jnp.where(rows, 1.0, jnp.zeros((5_000, 8))), "w": jnp.ones((6, 6))}
    got = first_factor(optax.adamw(0.1, weight_decay=decay), params, grads)
    assert got == pytest.approx(0.07 / (0.1 + 0.1), rel=0.03 + decay)


def test_zeros_can_be_left():
    """The first version moved them by less than 1e-5."""
    params = {"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}
    gradients = gradients_of(params, 3)
    _, updates, _ = run(ow.automatic_warmup(optax.adam(0.1)), params, gradients)
    rms = {k: float(jnp.sqrt(jnp.mean(u[0] ** 2))) for k, u in updates.items()}
    assert rms["w"] / (1 / 8) + rms["b"] == pytest.approx(0.07, rel=1e-3)


def test_a_momentum_that_adds_up_is_expected_to():
    """With 0.99 the hundredth update is a hundred times the first."""
    params, grads = jnp.eye(5), jnp.ones((5, 5))
    plain = first_factor(optax.sgd(1.0), params, grads)
    for momentum in (0.5, 0.99):
        got = first_factor(optax.sgd(1.0, momentum=momentum), params, grads)
        assert got == pytest.approx(plain * (1 - momentum), rel=1e-3)
    nested = optax.chain(optax.clip(10.0), optax.trace(0.99), optax.scale(-1.0))
    assert first_factor(nested, params, grads) == pytest.approx(plain / 100, rel=1e-3)
    # Adam averages, and corrects the bias.
    for b1 in (0.5, 0.99):
        got = first_factor(optax.adam(1.0, b1=b1), params, grads)
        assert got == pytest.approx(first_factor(optax.adam(1.0), params, grads), 1e-4)


INNERS = {
    "sgd": optax.sgd(1.0),
    "rmsprop": optax.rmsprop(0.5),
    "adafactor": optax.adafactor(0.5),
    "lion": optax.lion(0.5),
    "muon": optax.contrib.muon(0.5),
    "adan": optax.adan(0.5),
    "ademamix": optax.contrib.ademamix(0.5),
    "schedule_free": optax.contrib.schedule_free_adamw(0.5),
    "radam": optax.radam(0.5),
    "lars": optax.lars(5.0),
    "lamb": optax.lamb(5.0),
    "sophia": optax.contrib.sophia(0.5),
    "momo": optax.contrib.momo(0.5),
    "injected": optax.inject_hyperparams(optax.adam)(0.5),
    "masked": optax.masked(optax.adam(0.5), {"w": True, "b": False}),
    "two momenta": optax.chain(optax.trace(0.9), optax.adam(0.5)),
}


@parametrize("name", INNERS, quick=["sgd", "adafactor"])
def test_any_optimizer(name):
    """Momentum or not: it reads gradients, and where the parameters went."""
    inner = optax.with_extra_args_support(INNERS[name])
    optimizer = ow.automatic_warmup(inner)
    gradients = gradients_of(PARAMS, 6)
    params, state, factors = PARAMS, optimizer.init(PARAMS), []
    if name == "sophia":
        more = {"obj_fn": lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p))}
    else:
        more = {"value": jnp.float32(1.0)}
    first = jax.tree.map(lambda g: g[0], gradients)
    update, _ = inner.update(first, inner.init(PARAMS), PARAMS, **more)
    size = size_in_float64(update) * (10 if name == "lars" else 1)  # momentum 0.9
    for step in range(6):
        grads = jax.tree.map(lambda g, step=step: g[step], gradients)
        updates, state = optimizer.update(grads, state, params, **more)
        params = optax.apply_updates(params, updates)
        factors.append(float(state.factor))
    assert factors[0] == pytest.approx(min(1, 0.07 / size), rel=1e-4)
    assert all(0 < f <= 1 for f in factors)
    assert state.count == 6
    assert factors[0] < 0.6 or name == "momo"  # which chooses its own rate


def size_in_float64(update):
    """S of an update of PARAMS, whose gradients are nowhere zero."""
    moved, params = (
        [np.asarray(tree[k], np.float64) for k in ("w", "b")]
        for tree in (update, PARAMS)
    )
    return oracle_automatic.sum_of_sizes(moved, params, [m != 0 for m in moved])


def test_a_rate_of_zero_is_waited_for():
    """A schedule with a warmup of its own begins with an update of zero."""
    schedule = ow.warmup_constant(1.0, 4)
    ones = jax.tree.map(lambda x: jnp.ones((6, *x.shape)), PARAMS)
    _, updates, states = run(ow.automatic_warmup(optax.adam(schedule)), PARAMS, ones)
    np.testing.assert_array_equal(states.count[:3], [0, 1, 2])
    assert states.factor[0] == 0 < states.factor[1] < 1
    np.testing.assert_array_equal(updates["w"][0], 0)
    size = 0.25 * (1 + 1 / float(jnp.sqrt(jnp.mean(PARAMS["w"] ** 2))))
    assert states.factor[1] == pytest.approx(0.07 / size, rel=1e-2)


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("pause", [0.0, jnp.nan, jnp.inf])
def test_it_stands_still_while_nothing_moves_or_judges(pause, feedback):
    """Adam moves on without a gradient; with feedback nothing judges that."""
    gradients = gradients_of(PARAMS, 12)
    paused = jax.tree.map(lambda g: g.at[4:9].set(pause), gradients)
    inner = optax.adam(0.5) if feedback or pause else optax.sgd(0.5)
    optimizer = ow.automatic_warmup(ow.skip_nonfinite(inner), feedback=feedback)
    _, updates, states = run(optimizer, PARAMS, paused)
    # The move of step 3 is seen in step 4, where a gradient of zero judges nothing.
    first = 3 if feedback else 4
    np.testing.assert_array_equal(states.factor[first:9], states.factor[first])
    np.testing.assert_array_equal(states.count[first:9], states.count[first])
    assert np.all(states.factor[10:] != states.factor[first])
    for leaf in jax.tree.leaves((updates, states)):
        assert np.all(np.isfinite(leaf))


@pytest.mark.parametrize("scale", [1e-25, 1e8])
def test_the_scale_of_the_loss_does_not_matter(scale):
    inner = optax.adam(0.5, eps=0)
    gradients = gradients_of(PARAMS, 8)
    _, _, plain = run(ow.automatic_warmup(inner), PARAMS, gradients)
    scaled = jax.tree.map(lambda g: g * jnp.float32(min(scale, 1e8)), gradients)
    if scale < 1e-20:  # Adam's own squares would be zero
        inner = optax.sign_sgd(0.5)
        _, _, plain = run(ow.automatic_warmup(inner), PARAMS, gradients)
    _, _, other = run(ow.automatic_warmup(inner), PARAMS, scaled)
    np.testing.assert_allclose(other.factor, plain.factor, rtol=1e-4)


@parametrize("dtype", [jnp.float16, jnp.bfloat16], quick=1)
def test_coarse_parameters_move(dtype):
    """The factor would be zero in float16, and the first version left them at 0."""
    params = {"w": jnp.zeros((8, 5), dtype), "b": jnp.zeros(3, dtype)}
    gradients = jax.tree.map(lambda g: g.astype(dtype), gradients_of(params, 5))
    end, updates, states = run(
        ow.automatic_warmup(optax.sgd(3e4, momentum=0.99)), params, gradients
    )
    assert states.factor[0] < 6e-8
    assert updates["w"].dtype == dtype
    assert np.all(np.asarray(end["w"], np.float32) != 0)


def test_groups_warm_up_on_their_own():
    """And what is frozen at first is warmed up when its turn comes."""
    optimizer = optax.partition(
        {name: ow.automatic_warmup(optax.adam(0.5)) for name in ("body", "head")},
        {"w": "body", "b": "head"},
    )
    gradients = gradients_of(PARAMS, 8)
    gradients["b"] = gradients["b"].at[:5].set(0.0)
    _, updates, states = run(optimizer, PARAMS, gradients)
    body, head = (states.inner_states[n].inner_state for n in ("body", "head"))
    np.testing.assert_array_equal(head.factor[:5], 0)
    np.testing.assert_array_equal(updates["b"][:5], 0)
    assert head.factor[5] == pytest.approx(
        0.07 / (0.5 * first_size_of_adam(gradients["b"], 5)), rel=1e-2
    )
    assert 0 < body.factor[0] < 1


def first_size_of_adam(gradients, zeros):
    """RMS of Adam's direction at the first gradient after some of zero."""
    one = 1 - 0.9 ** (zeros + 1), 1 - 0.999 ** (zeros + 1)
    return 0.1 / one[0] / np.sqrt(0.001 / one[1])


def test_accumulated_gradients_count_once():
    gradients = gradients_of(PARAMS, 5)
    _, _, once = run(ow.automatic_warmup(optax.adam(0.5)), PARAMS, gradients)
    repeated = jax.tree.map(lambda g: jnp.repeat(g, 3, 0), gradients)
    outside = optax.MultiSteps(ow.automatic_warmup(optax.adam(0.5)), 3)
    outside = optax.GradientTransformation(outside.init, outside.update)
    _, _, states = run(outside, PARAMS, repeated)
    np.testing.assert_allclose(
        states.inner_opt_state.factor[2::3], once.factor, rtol=1e-5
    )
    inside = ow.automatic_warmup(optax.MultiSteps(optax.adam(0.5), 3))
    _, _, states = run(inside, PARAMS, repeated)
    # The gradient that follows a move is the first of three; here they are equal.
    np.testing.assert_allclose(states.factor[2::3], once.factor, rtol=1e-4)
    np.testing.assert_array_equal(states.count[2::3], once.count)


@parametrize("rate", [1.0, 100.0], quick=1)
@pytest.mark.parametrize(
    ("momentum", "feedback"), [(None, True), (0.9, True), (0.9, False)]
)
def test_a_rate_that_diverges_is_borne(rate, momentum, feedback):
    bare, _ = quadratic(optax.sgd(rate, momentum=momentum))
    assert not bare[-1] < 1e6
    inner = optax.sgd(rate, momentum=momentum)
    losses, state = quadratic(ow.automatic_warmup(inner, feedback=feedback))
    assert losses[-1] < 0.01 * losses[0]
    assert losses.max() < 1e3 * losses[0]
    assert 1e-4 < state.factor * rate < 0.1


def test_a_low_rate_is_not_held_back():
    _, _, states = run(
        ow.automatic_warmup(optax.adam(0.005)), PARAMS, gradients_of(PARAMS, 5)
    )
    np.testing.assert_array_equal(states.factor[0], 1)


@parametrize("rate", [0.03, 0.3], quick=1)
def test_softmax_regression_from_zero(rate):
    """The first version ended at 2.17 of 2.30 nats."""
    key = jax.random.key(0)
    x = jax.random.normal(key, (512, 64))
    labels = jnp.argmax(x @ jax.random.normal(jax.random.key(1), (64, 10)), axis=1)

    def loss(params):
        logits = x @ params["w"] + params["b"]
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return each.mean()

    params = {"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}
    schedule = ow.transition(rate, 0.0, 300, ow.shapes.cosine)
    optimizer = ow.automatic_warmup(optax.adam(schedule))

    @jax.jit
    def train(carry):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, carry, length=300)[0]

    params, _ = train((params, optimizer.init(params)))
    assert loss(params) < 0.1


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((optax.adam(0.1), 1000), {}, "length of the run is not needed any more"),
        ((optax.adam(0.1),), {"total_steps": 9}, "automatic_warmup\\(optimizer\\)"),
        ((optax.adam(0.1),), {"growth": 7}, "unexpected keyword"),
        ((optax.adam(0.1),), {"start": 0}, "start must be .* got 0"),
        ((optax.adam(0.1),), {"feedback": 1}, "feedback must be"),
        ((optax.adam(0.1),), {"start": float("nan")}, "start must be"),
        ((optax.adam,), {}, "inner must be an optax optimizer"),
    ],
)
def test_bad_input(arguments, settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ow.automatic_warmup(*arguments, **settings)


def test_update_needs_parameters():
    optimizer = ow.automatic_warmup(optax.adam(0.1))
    with pytest.raises(ValueError, match="needs params"):
        optimizer.update(PARAMS, optimizer.init(PARAMS))


def test_nothing_on_its_way_is_nan():
    """Whoever looks for NaN with jax.debug_nans must not find them here."""
    with jax.debug_nans(True):
        assert 0 < first_factor(optax.adam(0.5), PARAMS, PARAMS) < 1
        assert (
            first_factor(optax.sgd(0.5), PARAMS, jax.tree.map(jnp.zeros_like, PARAMS))
            == 0
        )

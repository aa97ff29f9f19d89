"""The automatic warmup: against an oracle, against theory, where it must not break."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from flax import nnx
from matplotlib import pyplot
from selection import parametrize

import optax_warmup as ow

pytestmark = pytest.mark.train

B1, B2, EPS = 0.9, 0.95, 1e-8
STEPS = 280  # at full pace the factor then grows by 2.5 % an update


def run(optimizer, params, gradients, value=None):
    """The states after each update, stacked, and the parameters in the end."""

    @quickly
    def train(params, state):
        def step(carry, grads):
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), (updates, state)

        return jax.lax.scan(step, (params, state), gradients)

    (params, _), (updates, states) = train(params, optimizer.init(params))
    return params, updates, states


def noise(steps, size, seed=0):
    return jax.random.normal(jax.random.key(seed), (steps, size))


def oracle(
    gradients, params, rate, *, start=0.007, growth=7, power=1.5, threshold=0.65
):
    """float64, by the gradients themselves instead of the momentum's differences."""
    m, v, expected, factor = 0.0, 0.0, 0.0, np.inf
    params = np.asarray(params, np.float64)
    for t, g in enumerate(np.asarray(gradients, np.float64), 1):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        expected = B1**2 * expected + (1 - B1) ** 2 * np.sum(g * g)
        update = -rate * m / (1 - B1**t) / (np.sqrt(v / (1 - B2**t)) + EPS)
        coherence = np.sqrt(np.sum(m * m) / expected)
        if t <= 10:
            size = max(np.linalg.norm(params), 1e-3 * np.sqrt(params.size))
            factor = min(factor, start * size / np.linalg.norm(update))
        factor = min(1, factor)
        params = params + factor * update
        yield factor, coherence, params
        strong = coherence**2 > 1 / (1 - B1)
        pace = growth / STEPS if strong else min(growth / STEPS, power / t)
        factor *= 1 + pace * np.clip((coherence - threshold) / 0.1, 0, 1)


@parametrize(
    "settings",
    [
        {},
        {"start": 0.3, "growth": 140, "power": 3, "threshold": 1},
        {"start": 1e-3, "power": 0.1},  # slow but for the signal at first
    ],
    quick=3,
)
def test_it_does_what_the_formula_says(settings):
    params = jnp.linspace(-1, 2, 40)
    agreeing = jnp.where(jnp.arange(60) < 25, 3.0, 0.3)[:, None]
    gradients = noise(60, 40) + agreeing  # more signal than noise at first
    optimizer = ow.automatic_warmup(optax.adam(0.3, B1, B2, EPS), STEPS, **settings)
    end, _, states = run(optimizer, params, gradients)
    factors, coherences, ends = zip(
        *oracle(gradients, params, 0.3, **settings), strict=1
    )
    np.testing.assert_allclose(states.factor, factors, rtol=1e-5)
    np.testing.assert_allclose(states.coherence, coherences, rtol=1e-5)
    np.testing.assert_allclose(end, ends[-1], rtol=1e-4, atol=1e-5)


def test_a_run_twice_as_long_grows_half_as_fast():
    """One program for both: the length may be traced."""

    @quickly
    def growth(total_steps):
        optimizer = ow.automatic_warmup(optax.adam(0.3), total_steps)
        state = optimizer.init(jnp.ones(3))
        for _ in range(2):
            _, state = optimizer.update(jnp.ones(3), state, jnp.ones(3))
        return state.following / state.factor - 1

    np.testing.assert_allclose(growth(100), 0.07, rtol=1e-4)
    np.testing.assert_allclose(growth(200), 0.035, rtol=1e-4)


@parametrize("active", [1.0, 0.02], quick=2)
@pytest.mark.parametrize("drift", [0.0, 6.0])
def test_noise_has_coherence_one(active, drift):
    """Whatever its size, however it changes, and if few coordinates have a gradient."""
    size, steps = 20_000, 40
    present = jax.random.bernoulli(jax.random.key(1), active, (steps, size))
    scale = jnp.exp(jnp.linspace(0, drift, steps))[:, None]
    gradients = noise(steps, size) * present * scale
    optimizer = ow.automatic_warmup(optax.adam(1e-3, B1, B2), STEPS)
    _, _, states = run(optimizer, jnp.ones(size), gradients)
    error = 4 * np.sqrt(2 * (1 + B1) / (1 - B1) / (size * active))
    np.testing.assert_allclose(states.coherence[0], 1, rtol=1e-5)
    np.testing.assert_allclose(np.square(states.coherence), 1, atol=error)


def test_equal_gradients_have_the_greatest_coherence():
    _, _, states = run(
        ow.automatic_warmup(optax.adam(1e-3, B1, B2), STEPS),
        jnp.ones(3),
        jnp.ones((80, 3)),
    )
    t = np.arange(1, 81)
    greatest = np.sqrt((1 + B1) / (1 - B1) * (1 - B1**t) / (1 + B1**t))
    np.testing.assert_allclose(states.coherence, greatest, rtol=1e-4)


def test_opposite_gradients_hold_it():
    signs = jnp.where(jnp.arange(40) % 2, -1.0, 1.0)[:, None] * jnp.ones(3)
    _, _, states = run(
        ow.automatic_warmup(optax.adam(0.1, B1), STEPS), jnp.ones(3), signs
    )
    least = np.sqrt((1 - B1) / (1 + B1))
    np.testing.assert_allclose(states.coherence[-1], least, rtol=0.02)
    assert np.ptp(states.factor[2:]) == 0


def test_a_low_rate_is_not_held_back():
    _, updates, states = run(
        ow.automatic_warmup(optax.adam(0.005), STEPS), jnp.ones(3), noise(5, 3)
    )
    np.testing.assert_array_equal(states.factor, 1)
    assert np.all(updates[0] != 0)


def quadratic(optimizer, steps=400):
    """The loss of a quadratic, curvatures 0.01 to 100, that an optimizer reaches."""
    curvature = jnp.logspace(-2, 2, 30)

    def loss(x):
        return 0.5 * jnp.sum(curvature * x * x)

    @quickly
    def train(x):
        def step(carry, _):
            x, state = carry
            updates, state = optimizer.update(jax.grad(loss)(x), state, x)
            return (optax.apply_updates(x, updates), state), loss(x)

        return jax.lax.scan(step, (x, optimizer.init(x)), length=steps)

    (x, state), losses = train(jnp.ones(30))
    return losses, state


@pytest.mark.parametrize("rate", [0.3, 30.0])
def test_a_rate_that_diverges_is_borne(rate):
    """Heavy-ball momentum diverges above 2 * (1 + b) / 100 = 0.038."""
    bare, _ = quadratic(optax.sgd(rate, momentum=0.9))
    assert not bare[-1] < 1e6
    losses, state = quadratic(ow.automatic_warmup(optax.sgd(rate, momentum=0.9), STEPS))
    assert losses[-1] < 0.02 * losses[0]
    assert 1e-3 < state.factor * rate < 0.1
    assert np.all(np.isfinite(losses))


def test_the_peak_hardly_matters_when_it_is_too_high():
    rates = [
        float(rate * quadratic(ow.automatic_warmup(optax.adam(rate), STEPS))[1].factor)
        for rate in (1e2, 1e4)
    ]
    np.testing.assert_allclose(rates[0], rates[1], rtol=0.05)


INNERS = {
    "adam": optax.adam(0.1, 0.8),
    "adamw, clipped": optax.chain(
        optax.clip_by_global_norm(1e-3), optax.adamw(optax.constant_schedule(0.1), 0.8)
    ),
    "amsgrad": optax.amsgrad(0.1, 0.8),
    "lion": optax.lion(0.1, b2=0.8),
    "sgd": optax.sgd(0.1, momentum=0.8),
    "nesterov": optax.sgd(0.1, momentum=0.8, nesterov=True),
    "muon": optax.contrib.muon(0.1, beta=0.8, adam_b1=0.8),
    "injected": optax.inject_hyperparams(optax.adam)(0.1, b1=0.8),
    "skipping": ow.skip_nonfinite(optax.adam(0.1, 0.8)),
    "masked": optax.masked(optax.adam(0.1, 0.8), {"w": True, "b": False}),
}


@parametrize("name", INNERS, quick=4)
def test_any_optimizer_with_momentum(name):
    """Coherence is the gradients', whatever becomes of them before the momentum."""
    params = {"w": jnp.ones((30, 20)), "b": jnp.zeros(4)}
    keys = jax.random.split(jax.random.key(0), 12)
    gradients = {
        "w": jax.vmap(lambda key: jax.random.normal(key, (30, 20)))(keys),
        "b": jnp.zeros((12, 4)),
    }
    _, _, states = run(ow.automatic_warmup(INNERS[name], STEPS), params, gradients)
    np.testing.assert_allclose(states.decay[0, 1], 0.8, rtol=1e-5)
    flat = np.asarray(gradients["w"], np.float64).reshape(12, -1)
    if name == "adamw, clipped":
        flat *= 1e-3 / np.linalg.norm(flat, axis=1, keepdims=True)
    m, expected = 0.0, 0.0
    for g in flat:
        m, expected = 0.8 * m + g, 0.64 * expected + g @ g
    np.testing.assert_allclose(
        states.coherence[-1], np.sqrt(m @ m / expected), rtol=1e-4
    )
    assert 0 < states.factor[-1] <= 1


def test_groups_warm_up_on_their_own():
    """And what is frozen at first is warmed up when its turn comes."""
    optimizer = optax.partition(
        {
            name: ow.automatic_warmup(optax.adam(0.5), STEPS)
            for name in ("body", "head")
        },
        {"w": "body", "b": "head"},
    )
    params = {"w": jnp.ones(50), "b": jnp.full(50, 10.0)}
    head = jnp.where(jnp.arange(20)[:, None] < 5, 0.0, noise(20, 50))
    _, updates, states = run(optimizer, params, {"w": noise(20, 50, 1), "b": head})
    body, head = (states.inner_states[n].inner_state for n in ("body", "head"))
    np.testing.assert_array_equal(head.factor[:5], 0)
    np.testing.assert_allclose(body.factor[0], 0.007 / 0.5, rtol=1e-4)
    sizes = np.linalg.norm(updates["b"], axis=1) / np.linalg.norm(params["b"])
    np.testing.assert_array_equal(sizes[:5], 0)
    np.testing.assert_allclose(sizes[5], 0.007, rtol=1e-3)


def test_nothing_stays_of_a_gradient_that_is_not_finite():
    optimizer = ow.automatic_warmup(ow.skip_nonfinite(optax.adam(0.5)), STEPS)
    gradients = noise(30, 50).at[0].set(jnp.nan).at[10, 3].set(jnp.inf)
    _, updates, states = run(optimizer, jnp.ones(50), gradients)
    assert states.factor[0] == 0 and states.factor[1] > 0
    assert np.all(np.isfinite(updates[1:]))
    for leaf in (states.factor, states.coherence, states.noise):
        assert np.all(np.isfinite(leaf))
    bare, _, states = run(
        ow.automatic_warmup(optax.adam(0.5), STEPS), jnp.ones(50), gradients
    )
    assert np.isnan(bare).all()  # Adam's own moments are: the guard belongs there
    for leaf in (states.factor, states.coherence, states.noise):
        assert np.all(np.isfinite(leaf))


def test_zeros_are_passed_over():
    gradients = noise(12, 50).at[:4].set(0.0)
    _, updates, states = run(
        ow.automatic_warmup(optax.adam(0.5), STEPS), jnp.ones(50), gradients
    )
    np.testing.assert_array_equal(updates[:4], 0)
    np.testing.assert_array_equal(states.coherence[:4], 1)
    np.testing.assert_allclose(
        np.linalg.norm(updates[4]) / np.sqrt(50), 0.007, rtol=1e-3
    )
    start = jnp.zeros(50)  # a model that starts at zero moves all the same
    _, updates, _ = run(ow.automatic_warmup(optax.adam(0.5), STEPS), start, gradients)
    np.testing.assert_allclose(np.sqrt(np.mean(updates[4] ** 2)), 7e-6, rtol=1e-3)


def test_a_parameter_without_numbers_changes_nothing():
    gradients = noise(5, 20)
    _, _, alone = run(
        ow.automatic_warmup(optax.adam(0.5), STEPS), jnp.ones(20), gradients
    )
    empty = {"w": gradients, "none": jnp.zeros((5, 0))}
    params = {"w": jnp.ones(20), "none": jnp.zeros(0)}
    _, _, beside = run(ow.automatic_warmup(optax.adam(0.5), STEPS), params, empty)
    assert np.all(alone.factor > 0)
    np.testing.assert_allclose(beside.factor, alone.factor, rtol=1e-6)
    np.testing.assert_allclose(beside.coherence, alone.coherence, rtol=1e-6)


def test_accumulated_gradients_count_once():
    optimizer = optax.MultiSteps(ow.automatic_warmup(optax.adam(0.5), STEPS), 4)
    wrapped = optax.GradientTransformation(optimizer.init, optimizer.update)
    gradients = noise(6, 50)
    _, _, states = run(wrapped, jnp.ones(50), jnp.repeat(gradients, 4, 0))
    _, _, once = run(
        ow.automatic_warmup(optax.adam(0.5), STEPS), jnp.ones(50), gradients
    )
    np.testing.assert_allclose(
        states.inner_opt_state.coherence[3::4], once.coherence, rtol=1e-5
    )


def test_it_serves_flax_and_its_decisions_are_recorded():
    warm = ow.automatic_warmup(
        optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(0.5)), STEPS
    )
    model = nnx.Linear(8, 4, rngs=nnx.Rngs(0))
    holder = nnx.Optimizer(model, ow.record_moments(warm), wrt=nnx.Param)
    factors, signs = [], []
    for step in range(3):
        x = jax.random.normal(jax.random.key(step), (16, 8))
        grads = nnx.grad(lambda m, x=x: jnp.mean(jnp.square(m(x) - 1)))(model)
        holder.update(model, grads)
        state = nnx.as_pure(holder.opt_state).inner_state
        factors.append(state.factor)
        signs.append(state.coherence)
    history = ow.read_moments(holder.opt_state)
    np.testing.assert_array_equal(history.warmup_factor, factors)
    np.testing.assert_array_equal(history.coherence, signs)
    np.testing.assert_allclose(history.learning_rate, 0.5 * np.array(factors))
    figure, axes = ow.diagnostics.plot_moments(history)
    pyplot.close(figure)
    assert {"warmup_factor", "coherence"} <= set(axes)
    assert ow.diagnostics.to_scalars(history)["moments/warmup_factor"] == factors[-1]


@pytest.mark.parametrize(
    ("inner", "settings", "message"),
    [
        (optax.rmsprop(0.1), {}, "keeps no momentum"),
        (optax.sgd(0.1), {}, "optax.sgd\\(0.1, momentum=0.9\\)"),
        (optax.MultiSteps(optax.adam(0.1), 4), {}, "inside of optax.MultiSteps"),
        (optax.chain(optax.trace(0.9), optax.adam(0.1)), {}, "two parts"),
        (optax.adam(0.1), {"start": 0}, "start must be .* got 0"),
        (optax.adam(0.1), {"growth": -1}, "growth must be .* got -1"),
        (optax.adam(0.1), {"power": 0}, "power must be .* got 0"),
        (optax.adam(0.1), {"threshold": float("nan")}, "threshold must be"),
        (optax.adam(0.1), {"total_steps": 0}, "total_steps must be .* got 0"),
        (optax.adam(0.1), {"total_steps": 0.5}, "total_steps must be .* got 0.5"),
        (optax.adam(0.1), {"total_steps": None}, "total_steps must be .* got None"),
        (optax.adam, {}, "inner must be an optax optimizer"),
        (0.1, {}, "inner must be an optax optimizer"),
    ],
)
def test_bad_input(inner, settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ow.automatic_warmup(inner, **{"total_steps": STEPS} | settings).init(
            jnp.ones(3)
        )


def test_update_needs_parameters():
    optimizer = ow.automatic_warmup(optax.adam(0.1), STEPS)
    with pytest.raises(ValueError, match="needs params"):
        optimizer.update(jnp.ones(3), optimizer.init(jnp.ones(3)))

"""Small real trainings: some healthy, and some made to have one illness each.

Each returns the history of its record and the loss of every step. A network of a few
layers learns a fixed random one from noisy batches, unless its illness needs another
task. What differs between two trainings by numbers alone (the rate at each step, when
the targets jump) is an argument of one compiled program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from compiled import quickly

import optax_warmup as ow

WIDTH, INPUTS, BATCH = 32, 8, 64
CHUNK, LONGEST = 100, 1500  # steps of a compiled call, and of a training


@functools.cache
def program(make_optimizer, loss_fn):
    """(first carry, next carry and losses): compiled once for each pair."""

    def step_fn(carry, step, rates, events):
        params, state = carry
        optimizer = make_optimizer(lambda count: rates[count])
        key = jax.random.fold_in(jax.random.key(0), step)
        now = {name: values[step] for name, values in events.items()}
        loss, grads = jax.value_and_grad(loss_fn)(params, key, now)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    @quickly
    def run(carry, start, rates, events):
        steps = start + jnp.arange(CHUNK)
        return jax.lax.scan(lambda c, s: step_fn(c, s, rates, events), carry, steps)

    @quickly
    def init(params, rates):
        return params, make_optimizer(lambda count: rates[count]).init(params)

    return init, run


def train(make_optimizer, schedule, params, steps, loss_fn=None, look=None, **events):
    """(history, losses). Events are numbers for each step that the loss is told.

    `look` tells the sharpness of parameters and a state; it is asked every CHUNK steps.
    """
    every = np.arange(LONGEST)
    rates = jnp.asarray(jax.vmap(schedule)(jnp.asarray(every)), jnp.float32)
    given = {"scale": 1.0, "targets": 1.0, "pulse": 0.0} | events
    given = {k: jnp.broadcast_to(jnp.float32(v), LONGEST) for k, v in given.items()}
    init, run = program(make_optimizer, loss_fn or regression)
    carry, losses, sharpness = init(params, rates), [], {}
    for start in range(0, steps, CHUNK):
        carry, some = run(carry, start, rates, given)
        losses.append(np.asarray(some, np.float64))
        if look is not None:
            sharpness[start + CHUNK] = look(*carry)
    history = ow.read_moments(carry[1], sharpness=sharpness)
    return history, np.concatenate(losses)


def at(steps, value, otherwise):
    """An event: `value` at some steps."""
    values = np.full(LONGEST, otherwise)
    values[steps] = value
    return values


def network(key, layers=3, gain=1.0):
    sizes = [INPUTS, *[WIDTH] * (layers - 1), 1]
    keys = jax.random.split(jax.random.key(key), layers)
    return {
        f"layer{i}": {
            "w": gain * jax.random.normal(keys[i], (a, b)) / np.sqrt(a),
            "b": jnp.zeros(b),
        }
        for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
    }


def apply(params, x, activation=jnp.tanh):
    for i in range(len(params)):
        layer = params[f"layer{i}"]
        x = x @ layer["w"].astype(x.dtype)
        x = x + layer["b"].astype(x.dtype) if "b" in layer else x
        x = activation(x) if i < len(params) - 1 else x
    return x


TEACHER = network(7, gain=2.0)


def batch_of(key):
    one, two = jax.random.split(key)
    x = jax.random.normal(one, (BATCH, INPUTS))
    return x, apply(TEACHER, x) + 0.1 * jax.random.normal(two, (BATCH, 1))


def regression(params, key, now, activation=jnp.tanh):
    x, y = batch_of(key)
    error = apply(params, x, activation) - now["targets"] * y
    one = params["layer1"]["w"][0, 0]
    return now["scale"] * jnp.mean(error**2) + now["pulse"] * one


def layers(path):
    return path.split("/")[0]


@functools.cache
def adam(b2=0.999, eps=1e-8, decay=0.0, groups=None):
    """A maker of recorded optimizers; equal ones share their compiled programs."""
    inner = optax.scale_by_adam(0.9, b2, eps)
    inner = optax.chain(inner, optax.add_decayed_weights(decay)) if decay else inner
    return recorded(inner, b2, eps, groups)


@functools.cache
def rmsprop(decay):
    return recorded(optax.scale_by_rms(decay, eps=1e-8, eps_in_sqrt=False), decay)


def recorded(inner, b2, eps=1e-8, groups=None):
    return lambda schedule: ow.record_moments(
        optax.chain(inner, ow.scale_by_learning_rate(schedule)),
        b2=b2,
        eps=eps,
        groups=groups,
    )


def ramp(peak, steps):
    return ow.warmup_constant(peak, steps, offset=1)


@functools.cache
def healthy(kind):
    """Warmed up, at a rate that suits the task."""
    schedule = ow.warmup_cosine(3e-3, 100, 1200, offset=1)
    if kind == "rmsprop":
        schedule = ow.warmup_cosine(1e-3, 200, 1200, offset=1)
    optimizer = {
        "adam 0.999": adam(),
        "adam 0.95": adam(0.95),
        "adamw by layer": adam(0.99, decay=1e-2, groups=layers),
        "rmsprop": rmsprop(0.99),
    }[kind]
    return train(optimizer, schedule, network(0), 1200)


HEALTHY = ("adam 0.999", "adam 0.95", "adamw by layer", "rmsprop")


@functools.cache
def first_update_zero():
    return train(adam(), ow.warmup_constant(3e-3, 50), network(0), 100)


@functools.cache
def no_rate_at_all():
    return train(adam(), optax.linear_schedule(0.0, 3e-3, 0), network(0), 100)


@functools.cache
def no_warmup(rate=0.1, b2=0.999):
    return train(adam(b2), ow.constant(rate), network(0), 400)


@functools.cache
def endless_warmup():
    return train(adam(0.95), ramp(1e-4, 700), network(0), 1000)


@functools.cache
def jumping_targets():
    """From update 400 on the targets are thirty times as large."""
    targets = at(slice(400, None), 30.0, 1.0)
    return train(adam(), ramp(3e-3, 100), network(0), 1000, targets=targets)


@functools.cache
def one_huge_gradient(size=1e5, scale_afterwards=1.0):
    """At update 40 one weight gets a huge gradient, once."""
    return train(
        adam(),
        ramp(3e-3, 100),
        network(0),
        1000,
        pulse=at(40, size, 0.0),
        scale=at(slice(41, None), scale_afterwards, 1.0),
    )


@functools.cache
def skipped_spike():
    """The loss of one batch is a thousand times the usual one."""

    def guarded(schedule):
        inner = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(schedule))
        guard = ow.guards.skip_spikes(inner, threshold=30.0)
        return ow.record_moments(guard, b1=0.9, b2=0.999, groups=layers)

    scale = at(60, 1000.0, 1.0)
    return train(guarded, ramp(3e-3, 50), network(0), 130, scale=scale)


@functools.cache
def nan_in_a_batch(optimizer=None):
    optimizer = optimizer or adam()
    scale = at(25, np.nan, 1.0)
    return train(optimizer, ramp(3e-3, 50), network(0), 100, scale=scale)


@functools.cache
def skipped_nan():
    """The guard is inside of the record, which sees that an update was skipped."""

    def guarded(schedule):
        inner = optax.chain(optax.scale_by_adam(), ow.scale_by_learning_rate(schedule))
        guard = ow.skip_nonfinite(inner)
        return ow.record_moments(guard, b1=0.9, b2=0.999, groups=layers)

    return nan_in_a_batch(guarded)


@functools.cache
def low_precision(dtype):
    """Gradients that become a hundred times smaller, with moments in some dtype."""
    params = jax.tree.map(lambda x: x.astype(dtype), network(0))
    scale = at(slice(100, None), 0.01, 1.0)
    return train(adam(), ramp(1e-3, 100), params, 1500, scale=scale)


def through_sigmoids(params, key, now):
    return regression(params, key, now, jax.nn.sigmoid)


@functools.cache
def deep_sigmoids():
    """Nine layers of sigmoids: the gradients of the first ones vanish."""
    params = {name: {"w": x["w"]} for name, x in network(0, layers=9).items()}
    optimizer = adam(groups=layers)
    return train(optimizer, ramp(1e-3, 50), params, 300, through_sigmoids)


def unbounded(params, key, now):
    x, _ = batch_of(key)
    return -jnp.mean(apply(params, x, lambda x: x) ** 2)


@functools.cache
def unbounded_loss():
    """A loss without a lowest value: weights grow for ever, and gradients with them."""
    return train(adam(), ramp(1e-2, 20), network(0), 400, unbounded)


def without_first_layer(params, key, now):
    still = jax.lax.stop_gradient(params["layer0"])
    return regression(params | {"layer0": still}, key, now)


@functools.cache
def frozen_layer():
    """A stop_gradient too many: the first layer learns nothing."""
    optimizer = adam(groups=layers)
    return train(optimizer, ramp(3e-3, 50), network(0), 200, without_first_layer)


@functools.cache
def large_eps():
    return train(adam(eps=0.3), ramp(3e-3, 100), network(0), 600)


_TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0]
_BOWL = (_TURN @ np.diag(np.logspace(-2, 1, 30)) @ _TURN.T).astype(np.float32)


def bowl(params, key, now):
    return 0.5 * params["w"] @ jnp.asarray(_BOWL) @ params["w"]


@functools.cache
def quadratic(rate):
    """A bowl of 30 directions, none along an axis, descended with exact gradients.

    Adam settles there at the edge of its stability, whatever the rate: nu shrinks with
    the gradients until rate * lambda(H / P) is 38.
    """
    params = {"w": jax.random.normal(jax.random.key(0), (30,))}
    return train(adam(0.95), ramp(rate, 50), params, 1500, bowl)


@functools.cache
def measured_quadratic(rate):
    """The same, with its sharpness."""

    @quickly
    def look(params, state):
        loss = functools.partial(bowl, key=None, now=None)
        return ow.curvature.sharpness(loss, params, state, b2=0.95, iterations=30).value

    params = {"w": jax.random.normal(jax.random.key(0), (30,))}
    return train(adam(0.95), ramp(rate, 50), params, 1500, bowl, look)


def noisy_slope(params, key, now):
    """The mean gradient is constant, of length 1; tr(Sigma) is `scale`."""
    noise = jax.random.normal(key, (600,)) * jnp.sqrt(now["scale"] / 600)
    return params["w"] @ (600**-0.5 + noise)


@functools.cache
def known_noise_scale(batches):
    """A gradient noise scale of so many batches."""
    params = {"w": jnp.ones(600)}
    return train(adam(), ramp(1e-4, 50), params, 600, noisy_slope, scale=batches)


@functools.cache
def cold_rmsprop():
    return train(rmsprop(0.999), ow.constant(1e-2), network(0), 400)


def by_first_name(params):
    return jax.tree.map_with_path(lambda path, _: path[0].key, params)


@functools.cache
def other_b2():
    """Gradients are accumulated, so that trying the optimizer does not show its b2."""

    def accumulated(schedule):
        inner = optax.chain(
            optax.scale_by_adam(0.9, 0.95), ow.scale_by_learning_rate(schedule)
        )
        return ow.record_moments(optax.MultiSteps(inner, 2), b1=0.9, b2=0.999)

    return train(accumulated, ramp(3e-3, 100), network(0), 300)


def forgetful(schedule):
    return ow.record_moments(optax.adam(schedule))


@functools.cache
def rate_not_remembered():
    return train(forgetful, ow.constant(3e-3), network(0), 300)


@functools.cache
def rate_outside():
    """The record sees Adam alone; its rate comes after it."""

    def around_adam(schedule):
        return optax.chain(
            ow.record_moments(optax.scale_by_adam()),
            ow.scale_by_learning_rate(schedule),
        )

    return train(around_adam, ow.constant(3e-3), network(0), 300)


def half_sgd(schedule):
    def label(params):
        return jax.tree.map_with_path(
            lambda path, _: "sgd" if path[0].key == "layer0" else "adam", params
        )

    parts = {"adam": optax.adam(schedule), "sgd": optax.sgd(1e-2)}
    optimizer = optax.partition(parts, label)
    return ow.record_moments(optimizer, groups=layers)


@functools.cache
def partly_sgd():
    return train(half_sgd, ow.constant(3e-3), network(0), 200)


@functools.cache
def short(kind):
    """A few updates of few numbers, by optimizers that are not what they seem."""
    rising = ow.warmup(1e-2, 30, offset=1)
    adam = optax.scale_by_adam(b2=0.95)
    optimizer = {
        "two signs": lambda: optax.chain(
            optax.adamw(3e-4, b2=0.95), ow.scale_by_learning_rate(rising)
        ),
        "outside": lambda: optax.chain(
            optax.MultiSteps(adam, 4).gradient_transformation(),
            ow.scale_by_learning_rate(rising),
        ),
        "outside, constant": lambda: optax.chain(
            optax.MultiSteps(adam, 4).gradient_transformation(),
            ow.scale_by_learning_rate(1e-3),
        ),
        "inside": lambda: optax.MultiSteps(
            optax.chain(adam, ow.scale_by_learning_rate(rising)), 4
        ),
        "groups": lambda: optax.partition(
            {
                "w": optax.chain(adam, ow.scale_by_learning_rate(rising)),
                "b": optax.chain(adam, ow.scale_by_learning_rate(1e-3)),
            },
            {"w": "w", "b": "b"},
        ),
    }[kind]()
    params = {"w": jnp.linspace(0.5, 2.0, 12).reshape(4, 3), "b": jnp.ones(4)}
    optimizer = ow.record_moments(optimizer)
    state, update = optimizer.init(params), quickly(optimizer.update)
    for n in range(24):
        grads = jax.tree.map(
            lambda p, n=n: 1 + 0.5 * jnp.cos(jnp.arange(p.size) + n).reshape(p.shape),
            params,
        )
        _, state = update(grads, state, params)
    return ow.read_moments(state), None


def empty():
    return ow.read_moments(adam()(ow.constant(1e-3)).init(network(0)))


@functools.cache
def automatic(scale, rate=30.0, steps=40, feedback=False):
    """An automatic warmup, at a rate far too high, on gradients times a number."""
    inner = ow.automatic_warmup(optax.adam(rate), feedback=feedback)
    optimizer = ow.record_moments(inner)

    def step(carry, key):
        params, state = carry
        grads = scale * (params + 0.1 * jax.random.normal(key, params.shape))
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    params = jnp.ones((8, 8))
    keys = jax.random.split(jax.random.key(0), steps)
    carry = params, optimizer.init(params)
    (_, state), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))(carry)
    return ow.read_moments(state), None


# A training for each code of advice, which has that illness.
ILL = {
    "first-update-zero": first_update_zero,
    "rate-unknown": rate_outside,
    "warmup-short": no_warmup,
    "warmup-long": endless_warmup,
    "updates-large": no_warmup,
    "suggested-warmup": no_warmup,
    "beyond-stability": functools.partial(quadratic, 0.1),
    "update-spikes": jumping_targets,
    "gradients-vanish": deep_sigmoids,
    "gradients-explode": unbounded_loss,
    "eps-dominates": large_eps,
    "batch-large": functools.partial(known_noise_scale, 0.05),
    "batch-small": functools.partial(known_noise_scale, 6.0),
    "moments-frozen": functools.partial(low_precision, jnp.bfloat16),
    "huge-gradient": one_huge_gradient,
    "not-finite": nan_in_a_batch,
    "spikes-skipped": skipped_spike,
    "rmsprop-start": cold_rmsprop,
    "constants-differ": other_b2,
    "rate-estimated": functools.partial(short, "groups"),
    "updates-climb": functools.partial(short, "two signs"),
    "schedule-ahead": functools.partial(short, "outside"),
    "automatic-no-start": functools.partial(automatic, 0.0),
    "automatic-limits": functools.partial(automatic, 1.0),
    "automatic-no-decay": functools.partial(automatic, 1.0, steps=300),
    "empty-record": lambda: (empty(), None),
}

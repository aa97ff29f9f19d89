"""A user's program, as a type checker sees it; test_types.py checks it and runs it.

Every line is one that users write. None of them may need a cast or an ignore.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

import optax_warmup as ow
from optax_warmup import values

Batch = tuple[jax.Array, jax.Array]
Params = dict[str, jax.Array]


class sawtooth(ow.Schedule):
    """Rises to the peak again and again."""

    peak_value: values.Rate
    period: values.PositiveLength
    share: Annotated[ArrayLike, values.Number(minimum=0, maximum=1)] = 0.5
    floor: values.Rate | None = None
    falling: values.Flag = False

    def value_at(self, clock: jax.Array) -> jax.Array:
        progress = (clock % self.period) / self.period
        progress = 1 - progress if self.falling else progress
        value = progress * self.share * self.peak_value
        return value if self.floor is None else jnp.maximum(value, self.floor)


class crossfade(ow.Schedule):
    """One schedule that gives way to another."""

    first: ow.Schedule
    then: ow.Schedule
    steps: values.Length
    shape: ow.shapes.Shape = ow.shapes.linear

    def value_at(self, clock: jax.Array) -> jax.Array:
        early, late = self.first.value_at(clock), self.then.value_at(clock)
        weight = self.shape(jnp.minimum(clock / self.steps, 1))
        return early + (late - early) * weight


class smoothstep(ow.shapes.Shape):
    """3 p**2 - 2 p**3, bent by an exponent."""

    exponent: values.PositiveRate = 1.0

    def rise(self, progress: jax.Array, left: jax.Array) -> jax.Array:
        bent = progress**self.exponent
        return bent**2 * (3 - 2 * bent)


def mine(progress: jax.Array) -> jax.Array:
    """A shape may be any function."""
    return jnp.sin(jnp.pi / 2 * progress)


def schedules() -> dict[str, ow.Schedule]:
    """Schedules are values: built, composed, compared, kept in containers."""
    base: ow.Schedule = ow.warmup(1e-3, 10, shape=mine)
    found: list[ow.Schedule] = [
        base,
        ow.warmup(ow.transition(1e-3, 0.0, 90), 10, init_value=1e-5),
        ow.warmup(optax.cosine_decay_schedule(1e-3, 90), 10),
        ow.warmup(1e-3, 10, shape=smoothstep(2)),
        ow.warmup_cosine(1e-3, 10, 100, end_value=1e-5, offset=1),
        ow.wsd(1e-3, 10, 100, 20),
        ow.multiply(ow.warmup(1.0, 10), sawtooth(1e-3, period=4)),
        ow.join([(5, 1e-4), (5, base)], last=1e-3),
        ow.piecewise(0.0, [(10, 1e-3), (80, 1e-4, ow.shapes.cosine)]),
        ow.stretch(crossfade(base, sawtooth(1e-3, 4), steps=20), 2),
        ow.factors.linear(10),
        ow.constant(jnp.float32(1e-3)),
        ow.constant(np.float32(1e-3)),
    ]
    found.append(ow.from_config(ow.to_config(found[-1])))
    assert base == found[0] and len({base, *found}) == len(found) - 2
    return {f"{index}: {schedule!r}": schedule for index, schedule in enumerate(found)}


def loss_fn(params: Params, batch: Batch) -> jax.Array:
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def data(key: int) -> Batch:
    x = jax.random.normal(jax.random.key(key), (16, 3))
    return x, x @ jnp.array([1.0, -2.0, 0.5])


def start() -> Params:
    return {"w": jnp.zeros(3), "b": jnp.zeros(())}


def train(schedule: optax.Schedule, steps: int) -> Mapping[str, jax.Array]:
    """A training with everything that looks inside Adam."""
    optimizer = ow.record_moments(
        optax.chain(
            ow.clip_update_rms(optax.scale_by_adam(), threshold=1.0),
            ow.scale_by_learning_rate(schedule),
        ),
        b2=0.999,
        groups=lambda path: path.split("/")[0],
    )
    params = start()
    state = optimizer.init(params)

    @jax.jit
    def step(
        params: Params, state: optax.OptState, batch: Batch
    ) -> tuple[Any, optax.OptState, jax.Array]:  # optax's updated params may be any
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    losses: list[jax.Array] = []
    for index in range(steps):
        params, state, loss = step(params, state, data(index))
        losses.append(loss)
    rate: jax.Array | float = ow.learning_rate(state)
    rates: dict[str, jax.Array | float] = ow.learning_rates(state)
    print(f"rate {float(rate):.1e} of {len(rates)}, should be {schedule(steps - 1)}")

    history: ow.diagnostics.MomentHistory = ow.read_moments(state)
    for advice in ow.diagnostics.advise(history, losses=jnp.stack(losses)):
        code: str = advice.code
        print(code, advice)
    assert ow.diagnostics.advise(history, losses=[float(x) for x in losses])
    scalars: dict[str, float] = ow.diagnostics.to_scalars(history)
    print(max(scalars, key=lambda name: scalars[name]))
    return params


def other_optimizers(schedule: ow.Schedule) -> list[optax.GradientTransformation]:
    """Wherever optax takes a schedule or a transformation, it takes ours."""
    return [
        optax.adamw(schedule),
        optax.adamw(ow.warmup(1e-3, 10)),
        optax.inject_hyperparams(optax.adam)(learning_rate=schedule),
        optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(schedule)),
        optax.chain(ow.skip_nonfinite(optax.adam(schedule))),
        ow.automatic_warmup(optax.adam(1e-3)),
        optax.chain(
            ow.scale_by_warmup(ow.factors.radam(0.999)), optax.adam(schedule, b2=0.999)
        ),
    ]


def sweep() -> None:
    """Peak rates and lengths of the warmup, in one program."""

    def final_loss(
        x: jax.Array,
        y: jax.Array,
        *,
        peak_value: jax.Array,
        steps: jax.Array,
        seed: int,
    ) -> jax.Array:
        del seed
        optimizer = optax.sgd(ow.warmup(peak_value, steps))

        def step(
            carry: tuple[Params, optax.OptState], _: None
        ) -> tuple[tuple[Any, optax.OptState], jax.Array]:
            params, state = carry
            loss, grads = jax.value_and_grad(loss_fn)(params, (x, y))
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), loss

        params = start()
        _, losses = jax.lax.scan(step, (params, optimizer.init(params)), length=20)
        return losses[-1]

    configurations = ow.sweeps.grid(
        peak_value=ow.sweeps.log_space(1e-2, 1e-1, 3), steps=[0, 5], seed=range(2)
    )
    losses = ow.sweeps.sweep(final_loss, configurations, shared=data(0))
    best: ow.sweeps.Ranked = ow.sweeps.rank(configurations, losses)[0]
    assert best == ow.sweeps.rank(configurations, [float(x) for x in losses])[0]
    print(best.configuration["peak_value"], best.mean, best.standard_error)


def main() -> None:
    every = schedules()
    for name, schedule in every.items():
        value: jax.Array = schedule(7)
        print(f"{name}: {float(value):.1e}", schedule(np.arange(3)).tolist())
    first = next(iter(every.values()))
    description: ow.Description = ow.describe(first, steps=20)
    print(description)
    print(train(first, steps=12)["w"])
    for optimizer in other_optimizers(first):
        optimizer.update(start(), optimizer.init(start()), start())
    sweep()


if __name__ == "__main__":
    main()

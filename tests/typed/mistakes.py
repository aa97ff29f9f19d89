"""Mistakes, each with the codes of mypy's errors at its line; never run."""

import jax
import optax

import optax_warmup as ow


class sawtooth(ow.Schedule):
    peak_value: ow.values.Rate
    period: ow.values.PositiveLength

    def value_at(self, clock: jax.Array) -> jax.Array:
        return (clock % self.period) / self.period * self.peak_value


ow.warmup("1e-3", 10)  # error: arg-type
ow.warmup(1e-3, 10, shape="cosine")  # error: arg-type
ow.warmup(1e-3, 10, shapes=ow.shapes.cosine)  # error: call-arg
ow.warmup(1e-3, 10, ow.shapes.cosine)  # error: arg-type call-arg
ow.warmup(1e-3)  # error: call-arg
ow.warmup_cosine(1e-3, 10)  # error: call-arg
ow.plot(ow.constant(1e-3))[1].nothing_such()  # error: attr-defined
sawtooth(1e-3, period="4")  # error: arg-type
sawtooth(1e-3)  # error: call-arg
ow.warmup_cosine(1e-3, 10, 100).steps = 5  # error: attr-defined
ow.warmup(1e-3, 10).steps = 5  # error: misc
ow.record_moments(optax.adam(1e-3), gradient=True)  # error: call-arg
ow.diagnostics.advise([1.0])  # error: arg-type
ow.sweeps.grid(seed=3)  # error: arg-type
ow.sweeps.rank([{"seed": 0}], [1.0], "seed")  # error: call-arg
ow.warmup(1e-3, 10)(7).split()  # error: attr-defined
ow.cosine_warmup(1e-3, 10)  # error: attr-defined

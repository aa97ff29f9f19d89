"""The table of schedules under test: one line each.

A line is an expression in a vocabulary m and numbers n. With `m = optax_warmup` it is
our schedule, with `m = oracle` its float64 oracle. A schedule in this table is checked
for precision, exact ends, bounds, modes, and values alike. Add yours
here, and its oracle, under the same name and arguments, to oracle.py.
"""

from case import (
    MAX_STEP as MAX_STEP,
    Case,
    draw as draw,
    example as example,
    steps as steps,
)
from cases_modifiers import MORE

CASES = {
    "constant": Case(lambda m, n: m.constant(n.v0)),
    "linear": Case(lambda m, n: m.transition(n.v0, n.v1, n.n0, m.shapes.linear)),
    "cosine": Case(lambda m, n: m.transition(n.v0, n.v1, n.n0, m.shapes.cosine)),
    "power": Case(lambda m, n: m.transition(n.v0, n.v1, n.n0, m.shapes.power(n.e))),
    "polynomial": Case(
        lambda m, n: m.transition(n.v0, n.v1, n.n0, m.shapes.polynomial(n.e))
    ),
    # As for "reverse" below.
    "exponential": Case(
        lambda m, n: m.transition(n.v0, n.v1, n.n0, m.shapes.exponential(n.r)),
        tolerance=1.5e-6,
    ),
    # The last bit of an exponent of up to log(1e4) moves its exponential by 5e-7.
    "reverse": Case(
        lambda m, n: m.transition(
            n.v0, n.v1, n.n0, m.shapes.reverse(m.shapes.exponential(n.r))
        ),
        tolerance=1.5e-6,
    ),
    "piecewise": Case(
        lambda m, n: m.piecewise(
            n.v0,
            [
                (n.n0, n.v1, m.shapes.cosine),
                (n.n1, n.v2),
                (n.n2, n.v3, m.shapes.power(n.e)),
            ],
        )
    ),
    "inverse_power": Case(
        lambda m, n: m.inverse_power(n.v0, timescale=n.x, power=n.e / 2)
    ),
    "inverse_sqrt": Case(lambda m, n: m.inverse_power(n.v0, timescale=n.x)),
    "warmup": Case(
        lambda m, n: m.warmup(
            m.transition(n.v1, n.v2, n.n1), n.n0, init_value=n.v0, shape=m.shapes.cosine
        )
    ),
    "warmup_offset": Case(
        lambda m, n: m.warmup(n.v1, n.n0, init_value=n.v0, offset=n.k)
    ),
    "cooldown": Case(
        lambda m, n: m.cooldown(
            m.transition(n.v0, n.v1, n.n0), n.n1, n.n2, end_value=n.v2
        )
    ),
    "cooldown_sqrt": Case(
        lambda m, n: m.cooldown(n.v0, n.n0, n.n1, shape=m.shapes.power(0.5))
    ),
    "multiply": Case(
        lambda m, n: m.multiply(
            m.warmup(n.v0, n.n0), m.transition(n.v1, n.v2, n.n1, m.shapes.cosine)
        ),
        exact=False,
        bounded=False,
        monotone=False,
    ),
    "join": Case(
        lambda m, n: m.join(
            [(n.n0, n.v0), (n.n1, m.transition(n.v1, n.v2, n.n1))], last=n.v3
        )
    ),
    "advance": Case(lambda m, n: m.advance(m.transition(n.v0, n.v1, n.n0), n.n1)),
    "delay": Case(lambda m, n: m.delay(m.transition(n.v0, n.v1, n.n0), n.n1)),
    "warmup_constant": Case(
        lambda m, n: m.warmup_constant(n.v1, n.n0, init_value=n.v0, offset=n.k)
    ),
    "warmup_linear": Case(
        lambda m, n: m.warmup_linear(
            n.v1,
            n.n0,
            n.n0 + n.n1 + 1,
            init_value=n.v0,
            end_value=n.v2,
            offset=n.k,
        )
    ),
    "warmup_cosine": Case(
        lambda m, n: m.warmup_cosine(
            n.v1,
            n.n0,
            n.n0 + n.n1 + 1,
            init_value=n.v0,
            end_value=n.v2,
            offset=n.k,
        )
    ),
    "warmup_inverse_sqrt": Case(
        lambda m, n: m.warmup_inverse_sqrt(
            n.v1, n.n0, timescale=n.x, init_value=n.v0, offset=n.k
        )
    ),
    # Its ends are sums and roots of what is given, rounded once more.
    "noam": Case(
        lambda m, n: m.noam(n.x, n.n0 + 1, scale=n.v0), exact=False, bounded=False
    ),
    "wsd": Case(
        lambda m, n: m.wsd(
            n.v1,
            n.n0,
            n.n0 + n.n1 + n.n2,
            n.n2,
            init_value=n.v0,
            end_value=n.v2,
            offset=n.k,
        )
    ),
} | MORE

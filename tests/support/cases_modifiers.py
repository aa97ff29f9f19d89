"""The cases of cycles, decays, modifiers, continuations, factors and their presets.

A product or a sum of curves has no joints whose values are numbers given, and where two
curves nearly cancel it may go either way by its last bit: no `exact`, no `monotone`.
"""

from case import Case


def ramp(shape):
    """A transition along a shape that the vocabulary and the numbers decide."""
    return Case(lambda m, n: m.transition(n.v0, n.v1, n.n0, shape(m.shapes, n)))


def wave(m, n):
    return m.transition(n.v0, n.v1, n.n0, m.shapes.cosine)


def curve(build, **promises):
    """A case that promises its precision alone, unless said otherwise."""
    promises = {"exact": False, "bounded": False, "monotone": False} | promises
    return Case(build, **promises)


SHAPES = {
    "logarithmic": ramp(lambda s, n: s.logarithmic(n.r)),
    "tanh": ramp(lambda s, n: s.tanh(-n.e, 3 * n.f)),
    # So steep that the last bit of the progress, a float32, moves the value by 4e-6.
    "tanh_steep": ramp(lambda s, n: s.tanh(-8 * n.e, 4 * n.e))._replace(tolerance=5e-6),
    "sigmoid": ramp(lambda s, n: s.sigmoid(4 * n.e)),
    "rex": ramp(lambda s, n: s.rex(n.r)),
    "mirror_cosine": ramp(lambda s, n: s.mirror_cosine),
    "warp": ramp(lambda s, n: s.warp(s.cosine, s.power(n.e))),
}

CYCLES = {
    "cycle": curve(
        lambda m, n: m.cycle(wave(m, n), n.n1 + 1, scale=n.f, floor=n.v2),
        exact=True,
        bounded=True,
    ),
    # Four cycles at most, as one that is longer than a step may be does not end.
    "cycle_growing": curve(
        lambda m, n: m.cycle(
            m.transition(n.v0, n.v1, n.n0 // 64, m.shapes.cosine),
            n.n1 // 64 + 1,
            period_multiplier=n.k % 3 + 2,
            scale=n.f,
            floor=n.v2,
            num_cycles=4,
        ),
        exact=True,
        bounded=True,
    ),
    "triangular": curve(
        lambda m, n: m.triangular(n.v0, n.v0 + n.v1, n.n0, n.n1 + 1, scale=n.f),
        exact=True,
        bounded=True,
    ),
    "triangular_falling": curve(
        lambda m, n: m.triangular(
            n.v0, n.v0 + n.v1, n.n0, n.n1 + 1, scale=0.5, rate=n.f
        )
    ),
    "warmup_cosine_restarts": curve(
        lambda m, n: m.warmup_cosine_restarts(
            n.v0,
            n.n0,
            n.n0 + n.n1 // 4 + 1,
            n.k % 3 + 2,
            scale=n.f,
            init_value=n.v1,
            end_value=n.v2,
            offset=n.k,
        ),
        exact=True,
        bounded=True,
    ),
    "restarts_growing": curve(
        lambda m, n: m.warmup_cosine_restarts(
            n.v0,
            n.n0,
            n.n0 + n.n1 // 16 + 1,
            n.k % 3 + 2,
            period_multiplier=2,
            init_value=n.v1,
            end_value=n.v2,
        ),
        exact=True,
        bounded=True,
    ),
}

DECAYS = {
    "exponential_decay": Case(
        lambda m, n: m.exponential_decay(n.v0, steps=n.n0 + 1, rate=n.f, limit=n.v1)
    ),
    "step_decay": Case(lambda m, n: m.step_decay(n.v0, steps=n.n0 + 1, rate=n.f)),
    "multistep": Case(
        lambda m, n: m.multistep(n.v0, [(n.n0, n.f), (n.n0 + n.n1, n.e)])
    ),
}

MODIFIERS = {
    "staircase": Case(lambda m, n: m.staircase(wave(m, n), n.n1 + 1)),
    "retime": Case(lambda m, n: m.retime(wave(m, n), n.k + 1)),
    # A length times a factor, traced, has float32's digits above 2**24, as it says.
    "stretch": Case(
        lambda m, n: m.stretch(
            m.warmup(
                m.transition(n.v0, n.v1, n.n0 // 4 * 2, m.shapes.cosine),
                n.n1 // 4 * 2,
                init_value=n.v2,
            ),
            1.5,
        ),
        traceable=False,
    ),
    "clip": Case(
        lambda m, n: m.clip(wave(m, n), minimum=n.v2, maximum=n.v2 + n.v3),
    ),
    "add": curve(
        lambda m, n: m.add(m.warmup(n.v0, n.n0), m.transition(n.v1, n.v2, n.n1), n.v3)
    ),
    "jitter": curve(lambda m, n: m.jitter(wave(m, n), n.f, seed=n.i)),
    # Values that float32 and float64 round to the same whole number. Whole values have
    # no derivative.
    "round_to": curve(
        lambda m, n: m.round_to(
            m.join([(n.n0, 1000 * n.v0), (n.n1, 1000 * n.v1)], last=1000 * n.v2),
            multiple=n.k + 1,
        ),
        traceable=False,
        whole=True,
    ),
    "growing_batch": Case(
        lambda m, n: m.growing_batch(
            wave(m, n), m.join([(n.n1, 4), (n.n2, 8)], last=32), base=4
        )
    ),
    "spike": curve(
        lambda m, n: m.spike(
            wave(m, n), n.n1, factor=n.e, up_steps=n.n2, hold_steps=3, down_steps=n.n0
        )
    ),
}

CONTINUING = {
    "switch_bridged": Case(
        lambda m, n: m.switch(
            wave(m, n),
            m.transition(n.v2, n.v3, n.n2),
            n.n1,
            steps=n.n2,
            shape=m.shapes.power(n.e),
            allow_jump=True,
        )
    ),
    "switch": Case(
        lambda m, n: m.switch(
            m.constant(n.v0), m.delay(m.transition(n.v0, n.v1, n.n1 + 1), n.n0), n.n0
        )
    ),
    "rewarm": Case(lambda m, n: m.rewarm(wave(m, n), n.n1, n.n2, init_value=n.v2)),
    "retime_begin": Case(
        lambda m, n: m.retime(
            # Not 0 at the end: nothing would be left to spread.
            m.transition(n.v0, n.v1 + 1e-3, n.n0 + n.n1 + 1, m.shapes.cosine),
            n.n0 + n.n1 + 1,
            n.n0 + n.n2,
            begin=n.n0,
        )
    ),
}

FACTORS = {
    "factors.linear": curve(
        lambda m, n: m.factors.linear(n.n0), bounded=True, monotone=True
    ),
    "factors.exponential": curve(
        lambda m, n: m.factors.exponential(n.n0 + 1), monotone=True
    ),
    "factors.untuned_linear": curve(
        lambda m, n: m.factors.untuned_linear(n.b), monotone=True
    ),
    "factors.untuned_exponential": curve(
        lambda m, n: m.factors.untuned_exponential(n.b), monotone=True
    ),
    # A short memory's first factors are differences that have lost some digits.
    "factors.radam": curve(
        lambda m, n: m.factors.radam(n.b), monotone=True, tolerance=1e-5
    ),
    "factors.rectification": curve(
        lambda m, n: m.factors.rectification(n.x + 2.5), tolerance=1e-5
    ),
}

PRESETS = {
    "one_cycle": Case(
        lambda m, n: m.one_cycle(
            n.v0,
            n.n0,
            n.n0 + n.n1 + n.n2,
            init_value=n.v1,
            end_value=n.v2,
            return_steps=n.n1,
            shape=m.shapes.cosine,
        )
    ),
    "tri_stage": curve(
        lambda m, n: m.tri_stage(
            n.x, n.n0, n.n1, n.n2, init_value=n.v0, end_value=n.x * n.r
        ),
        bounded=True,
        monotone=True,
    ),
    "lr_range_test": curve(
        lambda m, n: m.lr_range_test(n.x, n.x * n.r, n.n0 + 1),
        bounded=True,
        monotone=True,
    ),
    "infinite": Case(
        lambda m, n: m.infinite(
            n.v0, n.n0, n.n1, n.v1, init_value=n.v2, shape=m.shapes.power(n.e)
        )
    ),
    "power_law": Case(
        lambda m, n: m.power_law(
            n.v0,
            n.n0,
            hold_until=n.n0 + n.n1 + 1,
            power=n.e / 2,
            init_value=n.v1,
            offset=n.k,
        )
    ),
    "warmup_exponential": Case(
        lambda m, n: m.warmup_exponential(
            n.v0,
            n.n0,
            decay_steps=n.n1 + 1,
            decay_rate=n.f,
            init_value=n.v1,
            limit=n.v2,
            offset=n.k,
        )
    ),
    "warmup_constant_schedule": Case(
        lambda m, n: m.compat.optax.warmup_constant_schedule(n.v0, n.v1, n.n0)
    ),
    "warmup_cosine_decay_schedule": Case(
        lambda m, n: m.compat.optax.warmup_cosine_decay_schedule(
            n.v0, n.v1, n.n0, n.n0 + n.n1 + 1, n.v2, 1.5 * n.e
        )
    ),
    "warmup_exponential_decay_schedule": Case(
        lambda m, n: m.compat.optax.warmup_exponential_decay_schedule(
            n.v0, n.v1, n.n0, n.n1 + 1, n.f, transition_begin=n.n2 + 1, end_value=n.v2
        )
    ),
    "get_scheduler": Case(
        lambda m, n: m.compat.transformers.get_scheduler(
            "polynomial",
            n.v0 + n.v1,  # lr_end must not be above it
            n.n0,
            n.n0 + n.n1 + 1,
            {"lr_end": n.v1, "power": n.e},
        )
    ),
}

MORE = SHAPES | CYCLES | DECAYS | MODIFIERS | CONTINUING | FACTORS | PRESETS

"""The vocabulary again: slow, scalar, in float64, from the formulas in the docstrings.

Names and arguments are those of `optax_warmup`, so one expression builds both. Nothing
is imported from the package. A schedule is a function of a Python int, or of a fraction
from `fractions` for what lies between two steps. A shape is a function of (p, q),
progress and what is left, that gives f and 1 - f, since float64 loses 1 - f near the
end of a ramp of 2**31 steps.
"""

import math

MAX_STEP = 2**31 - 1


# Shapes -------------------------------------------------------------------------------


def linear(p, q):
    return p, q


def cosine(p, q):
    return math.sin(math.pi * p / 2) ** 2, math.sin(math.pi * q / 2) ** 2


def power(exponent):
    def shape(p, q):
        log = math.log1p(-q) if q < 0.5 else math.log(p)
        return p**exponent, -math.expm1(exponent * log)

    return shape


def reverse(shape):
    return lambda p, q: shape(q, p)[::-1]


def polynomial(exponent):
    return reverse(power(exponent))


def exponential(ratio):
    if ratio == 1:
        return linear

    def shape(p, q):
        log = math.log(ratio)
        rise = math.expm1(p * log) / math.expm1(log)
        return rise, math.expm1(-q * log) / math.expm1(-log)

    return shape


SHAPES = ["linear", "cosine", "power", "reverse", "polynomial", "exponential"]


# Schedules ----------------------------------------------------------------------------


def ramp(init_value, end_value, steps, shape, step):
    if step >= steps:
        return end_value
    if step <= 0:
        return init_value
    risen, left = shape(step / steps, (steps - step) / steps)
    return init_value * left + end_value * risen


def as_schedule(x):
    return x if callable(x) else constant(x)


def first(schedule):
    """What a warmup must meet: a transition starts at its start, of whatever length."""
    return getattr(schedule, "start", schedule(0))


def constant(value):
    return lambda step: value


def transition(init_value, end_value, steps, shape=linear):
    def schedule(step):
        return ramp(init_value, end_value, steps, shape, step)

    schedule.start = init_value
    return schedule


def started(schedule, start):
    """The schedule, with what a warmup in front of it leads to."""
    schedule.start = start
    return schedule


def start_of_phases(phases):
    """Of the first that has a length, or the highest; phases are (steps, start)."""
    highest = max(start for _, start in phases)
    return next((start for steps, start in phases if steps), highest)


def piecewise(init_value, segments):
    def schedule(step):
        start = init_value
        for steps, end, *shape in segments:
            if step < steps:
                return ramp(start, end, steps, *(shape or [linear]), step)
            step, start = step - steps, end
        return start

    lengths, ends = [s[0] for s in segments], [s[1] for s in segments]
    starts = [init_value, *ends[:-1]]
    return started(schedule, start_of_phases([*zip(lengths, starts, strict=True)]))


def inverse_power(init_value, *, timescale, power=0.5):
    return lambda step: init_value * (1 + step / timescale) ** -power


def warmup(schedule, steps, *, init_value=0.0, shape=linear, offset=0):
    after = as_schedule(schedule)

    def schedule(step):
        if step >= steps:
            return after(step - steps)
        return ramp(init_value, first(after), steps, shape, step + offset)

    return schedule if steps else started(schedule, first(after))


def cooldown(schedule, begin, steps, *, end_value=0.0, shape=linear):
    before = as_schedule(schedule)

    def schedule(step):
        if step < begin:
            return before(step)
        return ramp(before(begin), end_value, steps, shape, step - begin)

    return started(schedule, first(before))


def multiply(*schedules):
    return started(
        lambda step: math.prod(as_schedule(s)(step) for s in schedules),
        math.prod(first(as_schedule(s)) for s in schedules),
    )


def join(phases, last):
    def schedule(step):
        for steps, phase in phases:
            if step < steps:
                return as_schedule(phase)(step)
            step -= steps
        return as_schedule(last)(step)

    schedule.phases = [*phases, (MAX_STEP, last)]
    starts = [(steps, first(as_schedule(s))) for steps, s in schedule.phases]
    return started(schedule, start_of_phases(starts))


def advance(schedule, steps):
    return lambda step: as_schedule(schedule)(min(step + steps, MAX_STEP))


def delay(schedule, steps):
    inner = as_schedule(schedule)
    return started(lambda step: inner(max(step - steps, 0)), first(inner))


# Presets, from their formulas ---------------------------------------------------------


def warmup_constant(peak_value, warmup_steps, *, init_value=0.0, offset=0):
    return lambda step: ramp(
        init_value,
        peak_value,
        warmup_steps,
        linear,
        step + offset if step < warmup_steps else step,
    )


def _warmup_then(rest, peak_value, warmup_steps, init_value, offset):
    rise = warmup_constant(
        peak_value, warmup_steps, init_value=init_value, offset=offset
    )
    return lambda t: rise(t) if t < warmup_steps else rest(t - warmup_steps)


def warmup_linear(
    peak_value, warmup_steps, total_steps, *, init_value=0.0, end_value=0.0, offset=0
):
    decay = total_steps - warmup_steps

    def rest(step):
        if step >= decay:
            return end_value
        return (peak_value * (decay - step) + end_value * step) / decay

    return _warmup_then(rest, peak_value, warmup_steps, init_value, offset)


def warmup_cosine(
    peak_value, warmup_steps, total_steps, *, init_value=0.0, end_value=0.0, offset=0
):
    decay = total_steps - warmup_steps

    def rest(step):
        if step >= decay:
            return end_value
        high, low = (
            math.cos(math.pi * step / (2 * decay)) ** 2,
            math.sin(math.pi * step / (2 * decay)) ** 2,
        )
        if 2 * step > decay:  # the cosine would cancel
            high = math.sin(math.pi * (decay - step) / (2 * decay)) ** 2
        return peak_value * high + end_value * low

    return _warmup_then(rest, peak_value, warmup_steps, init_value, offset)


def warmup_inverse_sqrt(
    peak_value, warmup_steps, *, timescale=None, init_value=0.0, offset=0
):
    timescale = timescale or warmup_steps
    return _warmup_then(
        lambda step: peak_value / math.sqrt(1 + step / timescale),
        peak_value,
        warmup_steps,
        init_value,
        offset,
    )


def noam(width, warmup_steps, *, scale=1.0):
    def schedule(step):
        n = min(step + 1, MAX_STEP)
        return scale * width**-0.5 * min(n**-0.5, n * warmup_steps**-1.5)

    return schedule


def wsd(
    peak_value,
    warmup_steps,
    total_steps,
    decay_steps,
    *,
    init_value=0.0,
    end_value=0.0,
    decay_shape=linear,
    offset=0,
):
    begin = total_steps - decay_steps
    rise = warmup_constant(
        peak_value, warmup_steps, init_value=init_value, offset=offset
    )
    # Without a warmup or a stable phase the cooldown starts from what is there.
    return lambda t: (
        rise(t)
        if t < begin
        else ramp(rise(begin), end_value, decay_steps, decay_shape, t - begin)
    )

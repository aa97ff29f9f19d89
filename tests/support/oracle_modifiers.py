"""Oracles of cycles, decays, modifiers, continuations, factors and their presets."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from types import SimpleNamespace

from oracle_schedules import (
    MAX_STEP,
    as_schedule,
    first,
    linear,
    ramp,
    start_of_phases,
    started,
    warmup,
    warmup_constant,
)

# Shapes -------------------------------------------------------------------------------


def logarithmic(base):
    if base == 1:
        return linear

    def shape(p, q):
        at = 1 + (base - 1) * p
        rise = math.log1p((base - 1) * p) / math.log(base)
        return rise, math.log1p((base - 1) * q / at) / math.log(base)

    return shape


def tanh(lower, upper):
    """As products: tanh(a) - tanh(b) = sinh(a - b) / (cosh(a) cosh(b))."""
    if lower == upper:
        return linear

    def shape(p, q):
        width = upper - lower
        below = math.sinh(width) * math.cosh(lower + width * p)
        rise = math.sinh(width * p) * math.cosh(upper) / below
        return rise, math.sinh(width * q) * math.cosh(lower) / below

    return shape


def sigmoid(steepness):
    return tanh(-steepness / 4, steepness / 4)


def rex(beta):
    return lambda p, q: (beta * p / (q + beta * p), q / (q + beta * p))


def mirror_cosine(p, q):
    return tuple(2 * x - math.sin(math.pi * x / 2) ** 2 for x in (p, q))


def warp(outer, inner):
    return lambda p, q: outer(*inner(p, q))


SHAPES = ["logarithmic", "tanh", "sigmoid", "rex", "mirror_cosine", "warp"]


# Cycles and decays --------------------------------------------------------------------


def cycle(
    schedule,
    period,
    *,
    period_multiplier=1,
    scale=1.0,
    floor=0.0,
    num_cycles=math.inf,
):
    def value(step):
        if period_multiplier == 1:
            index = min(math.floor(step / Fraction(period)), num_cycles - 1)
            begin, times = index * period, 1
        else:
            index, begin, times = 0, 0, 1
            while step >= begin + period * times and index < num_cycles - 1:
                index, begin = index + 1, begin + period * times
                times *= period_multiplier
        local = min(step - begin, period * times)
        inside = schedule(local if times == 1 else Fraction(local) / times)
        kept = scale**index
        return inside if kept == 1 else floor * (1 - kept) + inside * kept

    value.start = first(schedule)
    return value


def exponential_decay(init_value, *, steps, rate, limit=0.0):
    def schedule(step):
        if step == 0:
            return init_value
        if limit > init_value:
            gone = -math.expm1(math.log(rate) * (step / steps))
            return init_value + (limit - init_value) * gone
        return limit + (init_value - limit) * rate ** (step / steps)

    return schedule


def step_decay(init_value, *, steps, rate):
    return lambda step: init_value * rate ** (step // steps)


def multistep(init_value, milestones):
    def schedule(step):
        factors = [factor for begin, factor in milestones if begin <= step]
        return init_value * factors[-1] if factors else init_value

    return schedule


# One schedule out of another ----------------------------------------------------------


def staircase(schedule, steps):
    return started(lambda step: schedule(step - step % steps), first(schedule))


def retime(schedule, steps, updates=1, *, begin=0):
    def retimed(step):
        if step < begin:
            return schedule(step)
        if updates == begin:
            return schedule(steps)
        reached = begin + Fraction(step - begin) * (steps - begin) / (updates - begin)
        reached = min(reached, MAX_STEP)
        if isinstance(step, Fraction) or updates == 1:
            return schedule(reached)
        low = math.floor(reached)
        part = float(reached - low)
        return schedule(low) * (1 - part) + schedule(min(low + 1, MAX_STEP)) * part

    return started(retimed, first(schedule))


def stretch(schedule, factor):
    return lambda step: schedule(Fraction(step) / Fraction(factor))


def clip(schedule, *, minimum=0.0, maximum=math.inf):
    return started(
        lambda step: min(max(schedule(step), minimum), maximum),
        min(max(first(schedule), minimum), maximum),
    )


def add(*schedules):
    return started(
        lambda step: math.fsum(as_schedule(s)(step) for s in schedules),
        math.fsum(first(as_schedule(s)) for s in schedules),
    )


def jitter(schedule, amount, *, seed):
    def mixed(x):
        x = (x + 0x9E3779B9) % 2**32
        x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
        x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
        return x ^ (x >> 16)

    def shaken(step):
        uniform = ((mixed(mixed(seed) ^ int(step)) >> 9) + 0.5) / 2**22  # 0 to 2
        return as_schedule(schedule)(step) * ((1 - amount) + amount * uniform)

    return shaken


def round_to(schedule, *, multiple=1):
    def value(step):
        count = math.floor(as_schedule(schedule)(step) / multiple + 0.5)
        return multiple * min(count, MAX_STEP // multiple)

    return value


def growing_batch(schedule, batch_size, *, base):
    def value(step):
        ticks = 0
        for steps, size in batch_size.phases:
            ticks += min(step, steps) * (size // base)
            step = max(step - steps, 0)
        return schedule(min(ticks, MAX_STEP))

    return value


# Continuing ---------------------------------------------------------------------------


def switch(
    old, new, begin, *, steps=0, init_value=None, shape=linear, allow_jump=False
):
    def schedule(step):
        if step < begin:
            return old(step)
        if step - begin >= steps:
            return new(step)
        start = old(begin) if init_value is None else init_value
        end = new(min(begin + steps, MAX_STEP))
        return ramp(start, end, steps, shape, step - begin)

    return started(schedule, first(old)) if begin else schedule


def rewarm(schedule, begin, steps, *, init_value=0.0, shape=linear):
    return switch(
        schedule, schedule, begin, steps=steps, init_value=init_value, shape=shape
    )


# Factors ------------------------------------------------------------------------------


def factor_linear(steps):
    return warmup(1.0, steps, offset=1)


def factor_exponential(timescale):
    return lambda step: -math.expm1(-min(step + 1, MAX_STEP) / timescale)


def untuned_linear(b2):
    return warmup(1.0, round(2 / (1 - Fraction(b2))), offset=1)


def untuned_exponential(b2):
    return factor_exponential(round(1 / (1 - Fraction(b2))))


def radam(b2):
    return rectification(1 / (1 - Fraction(b2)))


def rectification(timescale):
    """In sixty digits, since all of it cancels."""
    timescale = Fraction(timescale)

    def length(n):
        b2 = 1 - Decimal(timescale.denominator) / timescale.numerator
        most = 2 * Decimal(timescale.numerator) / timescale.denominator - 1
        return most, most - 2 * n * b2**n / (1 - b2**n)

    with localcontext(prec=60):
        begin = next(n for n in range(1, 100) if length(n)[1] > 4)

    def factor(step):
        with localcontext(prec=60):
            n = min(step, MAX_STEP - begin) + begin
            if not isinstance(n, int):
                n = Decimal(n.numerator) / n.denominator
            s, r = length(n)
            return float(((r - 4) * (r - 2) * s / ((s - 4) * (s - 2) * r)).sqrt())

    return factor


factors = SimpleNamespace(
    linear=factor_linear,
    exponential=factor_exponential,
    untuned_linear=untuned_linear,
    untuned_exponential=untuned_exponential,
    radam=radam,
    rectification=rectification,
)


# Presets, from their formulas ---------------------------------------------------------


def warmup_cosine_restarts(
    peak_value,
    warmup_steps,
    total_steps,
    num_cycles,
    *,
    period_multiplier=1,
    scale=1.0,
    init_value=0.0,
    end_value=0.0,
    offset=0,
):
    lengths = [period_multiplier**i for i in range(num_cycles)]
    unit = Fraction(total_steps - warmup_steps, sum(lengths))

    def rest(step):
        index, begin = 0, 0
        while step >= begin + lengths[index] * unit:
            index, begin = index + 1, begin + lengths[index] * unit
            if index == num_cycles:
                return end_value
        p = (step - begin) / (lengths[index] * unit)
        high = math.sin(math.pi * float(1 - p) / 2) ** 2
        low = math.sin(math.pi * float(p) / 2) ** 2
        inside = peak_value * high + end_value * low
        return (
            inside
            if index == 0
            else end_value + scale**index * high * (peak_value - end_value)
        )

    rise = warmup_constant(
        peak_value, warmup_steps, init_value=init_value, offset=offset
    )
    return lambda t: rise(t) if t < warmup_steps else rest(t - warmup_steps)


def one_cycle(
    peak_value,
    warmup_steps,
    total_steps,
    *,
    init_value,
    end_value,
    return_steps=0,
    shape,
):
    def schedule(step):
        if step < warmup_steps:
            return ramp(init_value, peak_value, warmup_steps, shape, step)
        step -= warmup_steps
        if step < return_steps:
            return ramp(peak_value, init_value, return_steps, shape, step)
        start = init_value if return_steps is not None else peak_value
        rest = total_steps - warmup_steps - return_steps
        return ramp(start, end_value, rest, shape, step - return_steps)

    return_start = init_value if return_steps is not None else peak_value
    phases = [(warmup_steps, init_value), (return_steps, peak_value)]
    return started(schedule, start_of_phases([*phases, (1, return_start)]))


def triangular(base_value, peak_value, up_steps, down_steps, *, scale=1.0, rate=1.0):
    period = up_steps + down_steps

    def schedule(step):
        index, local = int(step // period), step % period
        up = local < up_steps
        height = local / up_steps if up else (period - local) / down_steps
        height *= scale**index * rate ** float(step)
        return base_value + (peak_value - base_value) * height

    return schedule


def tri_stage(
    peak_value, warmup_steps, hold_steps, decay_steps, *, init_value, end_value
):
    def schedule(step):
        if step < warmup_steps:
            return ramp(init_value, peak_value, warmup_steps, linear, step)
        step -= warmup_steps + hold_steps
        if step < 0:
            return peak_value
        if step >= decay_steps:
            return end_value
        return peak_value * (end_value / peak_value) ** (step / decay_steps)

    phases = [(warmup_steps, init_value), (hold_steps + decay_steps, peak_value)]
    return started(schedule, start_of_phases(phases))


def lr_range_test(min_value, max_value, total_steps):
    def schedule(step):
        if step >= total_steps:
            return max_value
        return min_value * (max_value / min_value) ** (step / total_steps)

    return schedule


def infinite(
    peak_value, warmup_steps, decay_steps, constant_value, *, init_value, shape
):
    def schedule(step):
        if step < warmup_steps:
            return ramp(init_value, peak_value, warmup_steps, linear, step)
        return ramp(peak_value, constant_value, decay_steps, shape, step - warmup_steps)

    phases = [(warmup_steps, init_value), (decay_steps, peak_value)]
    return started(schedule, start_of_phases(phases))


def spike(schedule, begin, *, factor, up_steps, hold_steps=0, down_steps):
    def value(step):
        local = step - begin
        left = up_steps + hold_steps + down_steps - local
        if local < 0 or left <= 0:
            times = 1
        elif local < up_steps:
            times = ramp(1, factor, up_steps, linear, local)
        elif left <= down_steps:
            times = ramp(1, factor, down_steps, linear, left)
        else:
            times = factor
        return as_schedule(schedule)(step) * times

    phases = [(begin, 1), (up_steps, 1), (hold_steps, factor), (down_steps, factor)]
    return started(value, first(as_schedule(schedule)) * start_of_phases(phases))


def power_law(
    peak_value, warmup_steps, *, hold_until, power=0.5, init_value=0.0, offset=0
):
    rise = warmup_constant(
        peak_value, warmup_steps, init_value=init_value, offset=offset
    )
    return lambda t: (
        peak_value * (t / hold_until) ** -power if t > hold_until else rise(t)
    )


def warmup_exponential(
    peak_value,
    warmup_steps,
    *,
    decay_steps,
    decay_rate,
    init_value=0.0,
    limit=0.0,
    offset=0,
):
    decay = exponential_decay(
        peak_value, steps=decay_steps, rate=decay_rate, limit=limit
    )
    return warmup(decay, warmup_steps, init_value=init_value, offset=offset)


def warmup_constant_schedule(init_value, peak_value, warmup_steps):
    return warmup_constant(peak_value, warmup_steps, init_value=init_value)


def warmup_cosine_decay_schedule(
    init_value, peak_value, warmup_steps, decay_steps, end_value, exponent
):
    def rest(step):
        steps = decay_steps - warmup_steps
        if step >= steps:
            return end_value
        p, q = step / steps, (steps - step) / steps
        log = 2 * math.log(math.sin(math.pi * q / 2))
        if p < 0.5:  # the logarithm of a cosine near 1
            log = math.log1p(-(math.sin(math.pi * p / 2) ** 2))
        high, low = math.exp(exponent * log), -math.expm1(exponent * log)
        return peak_value * high + end_value * low

    rise = warmup_constant(peak_value, warmup_steps, init_value=init_value)
    return lambda t: rise(t) if t < warmup_steps else rest(t - warmup_steps)


def warmup_exponential_decay_schedule(
    init_value,
    peak_value,
    warmup_steps,
    transition_steps,
    decay_rate,
    transition_begin,
    end_value,
):
    def rest(step):
        step = max(step - transition_begin, 0)
        return max(peak_value * decay_rate ** (step / transition_steps), end_value)

    rise = warmup(max(peak_value, end_value), warmup_steps, init_value=init_value)
    return lambda t: rise(t) if t < warmup_steps else rest(t - warmup_steps)


def get_scheduler(name, peak_value, warmup_steps, total_steps, more):
    """Of the ten that there are (see parity.json) the one with the most numbers."""
    assert name == "polynomial"
    end, power = more["lr_end"], more["power"]

    def rest(step):
        steps = total_steps - warmup_steps
        if step >= steps:
            return end
        left = (steps - step) / steps
        return end + (peak_value - end) * left**power

    rise = warmup_constant(peak_value, warmup_steps)
    return lambda t: rise(t) if t < warmup_steps else rest(t - warmup_steps)

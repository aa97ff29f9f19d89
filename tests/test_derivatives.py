"""Derivatives at numbers where a value is held within bounds, or replaced.

Equal ends, rates of 1, straight shapes, the middle of a ramp: a derivative by automatic
differentiation is easily half of the right one there, or 0. The right one is taken from
differences of the float64 oracle.
"""

import jax
import numpy as np
import oracle
import pytest

import optax_warmup as ow

CASES = {
    "equal ends": (lambda m, a, b: m.transition(a, b, 8)(2), (1.0, 1.0)),
    "equal ends, bent": (
        lambda m, a, b: m.transition(a, b, 8, m.shapes.power(2.0))(2),
        (1.0, 1.0),
    ),
    "segments of equal ends": (
        lambda m, a, b, c: m.piecewise(a, [(4, b), (8, c)])(6),
        (1.0, 1.0, 1.0),
    ),
    "a cosine of equal ends": (
        lambda m, a, b: m.warmup_cosine(a, 4, 12, end_value=b)(8),
        (1.0, 1.0),
    ),
    "a cooldown to the same": (
        lambda m, a, b: m.cooldown(m.constant(a), 4, 8, end_value=b)(6),
        (1.0, 1.0),
    ),
    "a switch to the same": (
        lambda m, a, b: m.switch(m.constant(a), m.constant(b), 4, steps=8)(6),
        (1.0, 1.0),
    ),
    "a decay to the same": (
        lambda m, a, b: m.exponential_decay(a, steps=4, rate=0.5, limit=b)(4),
        (1.0, 1.0),
    ),
    "a decay by nothing": (
        lambda m, a, r: m.exponential_decay(a, steps=4, rate=r)(8),
        (1.5, 1.0),
    ),
    "a rise by nothing": (
        lambda m, a, r: m.exponential_decay(a, steps=4, rate=r, limit=2.0)(8),
        (1.5, 1.0),
    ),
    "cycles of one height": (
        lambda m, a, b: m.cycle(m.constant(a), 4, scale=b, floor=0.25)(9),
        (1.5, 1.0),
    ),
    "an inverse square root": (
        lambda m, a, p: m.inverse_power(a, timescale=4.0, power=p)(9),
        (1.0, 0.5),
    ),
    "triangles of no height": (
        lambda m, a, b: m.triangular(a, b, 4, 4)(2),
        (1.0, 1.0),
    ),
    "along a straight shape": (
        lambda m, n, a: m.transition(a, 0.25, n, m.shapes.logarithmic(1.0))(2),
        (8.0, 1.0),
    ),
    **{
        f"the middle of {name}": (
            lambda m, n, a, name=name, numbers=numbers: m.transition(
                0.0, a, n, getattr(m.shapes, name)(*numbers)
            )(4),
            (8.0, 1.5),
        )
        for name, numbers in {
            "power": (1.7,),
            "polynomial": (2.0,),
            "tanh": (-3.0, 2.0),
            "exponential": (0.1,),
            "logarithmic": (9.0,),
        }.items()
    },
    **{
        f"straight {name}, {end}": (
            lambda m, *numbers, name=name, end=end: m.transition(
                1.0, end, 8, getattr(m.shapes, name)(*numbers)
            )(2),
            numbers,
        )
        for name, numbers in {
            "exponential": (1.0,),
            "logarithmic": (1.0,),
            "tanh": (0.5, 0.5),
            "rex": (1.0,),
            "power": (1.0,),
        }.items()
        for end in (0.25, 2.0)
    },
}


@pytest.mark.parametrize("name", CASES)
def test_the_derivative_is_that_of_the_oracle(name):
    value, numbers = CASES[name]
    found = jax.grad(lambda x: value(ow, *x))(numbers)
    h = 1e-5
    for index, derivative in enumerate(found):
        moved = [list(numbers), list(numbers)]
        moved[0][index] += h
        moved[1][index] -= h
        up, down = (value(oracle, *each) for each in moved)
        wanted = (up - down) / (2 * h)
        np.testing.assert_allclose(derivative, wanted, rtol=2e-4, atol=2e-5)

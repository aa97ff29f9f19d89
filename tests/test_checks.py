"""What the checks of arguments let through, and what they say.

Most are those that `make mutants` showed to be missing.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_warmup as ow
from optax_warmup.values._checked import checked

HUGE = {"10**400": 10**400, "10**5000": 10**5000, "2**64": 2**64, "2**63": 2**63}


@pytest.mark.parametrize("name", HUGE)
def test_integers_beyond_64_bits_are_numbers(name):
    """To NumPy they are objects, and from 4301 digits on Python prints them no more."""
    value = HUGE[name]
    with pytest.raises(
        ValueError, match=r"warmup: steps must .* \(optax counts steps in"
    ):
        ow.warmup(1.0, value)
    with pytest.raises(
        ValueError, match=r"constant: value must be a finite number >= 0"
    ):
        ow.constant(-value)
    if value < 1e38:
        assert ow.constant(value).value == float(value)
        return
    shown = repr(value) if value < 10**600 else "an integer of 16610 bits"
    with pytest.raises(
        ValueError, match=rf"must be a finite number >= 0, got {shown} "
    ):
        ow.constant(value)


@pytest.mark.parametrize("zero", [-0.0, np.float32(-0.0), jnp.float32(-0.0)])
def test_minus_zero_is_zero(zero):
    assert repr(ow.constant(zero)) == "constant(0.0)"


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", "str"), (None, "NoneType"), (True, "dtype bool"), (1j, "complex")],
)
def test_the_type_of_what_is_no_number_is_said(value, kind):
    with pytest.raises(TypeError, match=rf"got {value!r} \(its type is {kind}\)\.$"):
        ow.constant(value)


def test_bounds_belong_to_a_range():
    for bound in (-40, 40, np.float32(40)):
        assert ow.shapes.tanh(bound, 0).lower == bound
    for bound in (-40.5, 40.5):
        with pytest.raises(
            ValueError, match=r"tanh: lower must be .* >= -40 and <= 40"
        ):
            ow.shapes.tanh(bound, 0)
    assert ow.scale_by_warmup(1.0)
    with pytest.raises(
        ValueError, match="factor must be a finite number >= 0 and <= 1"
    ):
        ow.scale_by_warmup(1.001)


@pytest.mark.parametrize("rate", [np.array([0.1, 0.2]), "0.1", -0.1])
def test_a_rate_of_groups_is_one_number_or_a_schedule(rate):
    rules = [ow.groups.Rule(".*")]
    with pytest.raises(
        (TypeError, ValueError), match=r"scale_by_rules: learning_rate "
    ):
        ow.groups.scale_by_rules(rules, rate)
    for one in (
        0.1,
        np.float32(0.1),
        ow.constant(0.1),
        lambda step: 0.1 * (step + 1.0),
    ):
        assert ow.groups.scale_by_rules(rules, one)


def test_a_share_of_the_run_is_explained_where_one_is_given():
    share = r"Did you mean warmup_steps\? A share of the run is round"
    with pytest.raises(TypeError, match=share):
        ow.warmup_cosine(1.0, total_steps=100, warmup_ratio=0.1)
    with pytest.raises(TypeError, match=r"Did you mean steps\? The arguments are"):
        ow.warmup(1.0, step=5)


def test_annotations_without_a_kind_are_not_checked():
    @checked()
    def function(rate: ow.values.Rate, text: str, note: Annotated[Any, "free"]) -> Any:
        return rate, text, note

    assert function(1.0, "text", None) == (1.0, "text", None)
    with pytest.raises(TypeError, match="rate must be a finite number|rate must be"):
        function("x", "text", None)


SHAPES = ow.shapes
ENDS = [
    *(SHAPES.linear, SHAPES.cosine, SHAPES.mirror_cosine, SHAPES.rex(0.3)),
    *(SHAPES.rex(3.0), SHAPES.tanh(-3.0, 2.0), SHAPES.logarithmic(10.0)),
    *(SHAPES.exponential(0.01), SHAPES.polynomial(2.0), SHAPES.sigmoid(9.0)),
]


@pytest.mark.parametrize("shape", ENDS, ids=repr)
def test_the_slopes_at_both_ends_are_finite(shape):
    """Of f and of 1 - f, and they add up to 0."""
    for end in (0.0, 1.0):
        rise, fall = (jax.grad(lambda p, f=f: f(p, 1 - p))(end) for f in both(shape))
        assert np.isfinite(rise), (shape, end)
        np.testing.assert_allclose(rise, -fall, rtol=1e-5, atol=1e-6)


def both(shape):
    return shape.rise, shape.fall

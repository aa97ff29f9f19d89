"""A decay turned into a growing batch: its data, its rates, and what it promises."""

import numpy as np
import pytest

import optax_warmup as ow
from benchmarks.reproduce import seesaw as reproduced


def spelled_out(run):
    """The batch size and the learning rate of every update, in float64."""
    steps = np.arange(run.total_steps)
    sizes = np.asarray(run.batch_size(steps), np.float64)
    return sizes, np.asarray(run.learning_rate(steps), np.float64)


SCHEDULES = {
    "cosine": (ow.warmup_cosine(1e-3, 1000, 16_000), 16_000),
    "linear": (ow.warmup_linear(1e-3, 10, 5_000), 5_000),
    "wsd": (ow.wsd(1e-3, 100, 10_000, decay_steps=2_000), 10_000),
    "steps": reproduced.halved(6, 960, peak=1.0),
    "inverse sqrt": (ow.warmup_inverse_sqrt(1e-3, 100), 30_000),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("factor", "power"), [(2, 0.5), (2, 1.0), (3, 0.5), (4, 0.0)])
def test_the_data_and_the_rates(name, factor, power):
    schedule, total = SCHEDULES[name]
    size, largest = 32, 2048
    run = ow.seesaw(
        schedule, total, batch_size=size, largest=largest, factor=factor, power=power
    )
    sizes, rates = spelled_out(run)
    assert sizes[0] == size and size < sizes.max() <= largest
    assert abs(sizes.sum() - total * size) < sizes.max()  # the same data
    growth = np.round(np.log(sizes / size) / np.log(factor))
    np.testing.assert_array_equal(sizes, size * factor**growth)
    assert set(np.diff(growth)) <= {0, 1}
    # The rate of each update, from the examples that were seen before it.
    seen = np.concatenate([[0], np.cumsum(sizes)[:-1]]) / size
    values = np.asarray(schedule(np.arange(total + 2048)), np.float64)
    expected = values[seen.astype(int)] * factor ** (growth * power)
    np.testing.assert_allclose(rates, expected, rtol=2e-6, atol=1e-12)
    # The batch grows when the schedule has fallen so far, to within an update.
    for k in range(1, int(growth.max()) + 1):
        first = int(seen[np.argmax(growth == k)])
        before, after = values[first - factor**k], values[first + factor**k]
        assert before >= values.max() / factor**k * 0.999
        assert after <= values.max() / factor**k * 1.001


def test_what_does_not_fall_keeps_its_batch():
    run = ow.seesaw(ow.warmup_constant(1e-3, 10), 100, batch_size=8, largest=64)
    assert run == (ow.warmup_constant(1e-3, 10), ow.constant(8), 100)


def test_sgd_ends_where_the_decay_would_have_ended():
    """Theorem 1 of arXiv:2510.14717: equal risk at equal data, in a third of the
    updates. The same rate with the batch as it was ends at a higher one."""
    each = reproduced.EACH
    (decayed, total), (grown, fewer) = (
        reproduced.decayed(each),
        reproduced.grown(each, 1),
    )
    assert fewer < total / 3
    assert grown == pytest.approx(decayed, rel=0.01)
    assert reproduced.neither(each)[0] > 1.5 * decayed
    assert reproduced.grown(each, 0.5)[0] > 1.5 * decayed  # Adam's rule


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schedule": "cosine"}, "schedule"),
        ({"schedule": ow.shapes.cosine}, "schedule shape"),
        ({"total_steps": 0}, "total_steps 0"),
        ({"total_steps": 2**25}, "total_steps 16,777,216"),
        ({"batch_size": 1.5}, "batch_size 1.5"),
        ({"largest": 16}, "batch_size <= largest"),
        ({"factor": 1}, "factor 1"),
        ({"power": 1.5}, "power 1.5"),
        ({"power": -0.5}, "power -0.5"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    arguments = {
        "schedule": ow.warmup_cosine(1e-3, 10, 100),
        "total_steps": 100,
        "batch_size": 32,
        "largest": 256,
    }
    with pytest.raises((TypeError, ValueError)) as caught:
        ow.seesaw(**arguments | change)
    for word in ("seesaw", *words.split()):
        assert word in str(caught.value), str(caught.value)

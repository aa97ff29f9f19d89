"""Published results, made again in a small version; and the page of the full ones."""

import json

import numpy as np
import pytest
from selection import parametrize

import optax_warmup as ow
from benchmarks.reproduce import convex_bound, edge_of_stability, sharpness_and_loss
from benchmarks.reproduce.__main__ import CASES, FOLDER, main, make
from benchmarks.reproduce.page import BOUNDS, page


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bound_of_a_schedule_is_that_of_the_authors(name):
    found = convex_bound.tuned(convex_bound.SCHEDULES[name])
    assert found == pytest.approx(BOUNDS[name], abs=2e-6)


def spelled_out(rates):
    """Theorem 1 with sums written out, at the best factor of all rates."""
    n, last = len(rates), len(rates) - 1
    grows = sum(r**2 for r in rates) / (2 * sum(rates))
    for k in range(last):
        squares = sum(rates[t] ** 2 for t in range(k, n))
        grows += rates[k] / sum(rates[k + 1 :]) * squares / sum(rates[k:]) / 2
    return 2 * (grows / (2 * sum(rates))) ** 0.5


def test_the_bound_is_the_sum_of_the_theorem():
    schedule = ow.wsd(0.3, 3, 20, 8, offset=1)
    rates = [float(schedule(t)) for t in range(20)]
    assert convex_bound.tuned(schedule, 20) == pytest.approx(
        spelled_out(rates), rel=1e-5
    )


@pytest.mark.train
def test_descent_on_the_rates_finds_a_straight_line():
    bound, shares = convex_bound.optimised(1500)
    assert bound < BOUNDS["linear"]
    assert shares == pytest.approx([0.75, 0.5, 0.25], abs=0.03)


@pytest.mark.train
@parametrize(("b1", "edge"), [(0.5, 6), (0.0, 2)], quick=2)
def test_adam_settles_at_its_edge(b1, edge):
    """With more momentum it takes longer than a quick test may."""
    seen = edge_of_stability.at_the_end(b1, 0.99, 3e-3, updates=2500)
    assert edge == pytest.approx(ow.curvature.stability_threshold(1.0, b1))
    assert np.median(seen) == pytest.approx(edge, rel=0.25), seen


@pytest.mark.slow
@pytest.mark.train
def test_sharpness_goes_with_the_squared_loss():
    found = sharpness_and_loss.correlations("relu, squared", points=12)
    assert min(found) > 0.8, found


def test_what_is_kept_is_not_made_again(tmp_path):
    kept, made = tmp_path / "kept.json", []

    def fails():
        raise KeyboardInterrupt

    cases = {"a": lambda: made.append("a") or [1.5], "b": fails}
    with pytest.raises(KeyboardInterrupt):
        make(kept, cases)
    found = make(kept, cases | {"b": lambda: made.append("b") or 2})
    assert made == ["a", "b"] and found == {"a": [1.5], "b": 2}
    assert make(kept, {"a": lambda: 3}, again=True) == {"a": 3}


def test_the_page_shows_what_is_kept(tmp_path, capsys):
    kept = (FOLDER / "reproductions.json").read_text("utf-8")
    assert json.loads(kept).keys() == CASES.keys()
    (tmp_path / "reproductions.json").write_text(kept, "utf-8")
    main(["--results", str(tmp_path)])
    made = (tmp_path / "reproductions.md").read_text("utf-8").splitlines()
    there = (FOLDER / "reproductions.md").read_text("utf-8").splitlines()
    tables = [[x for x in lines if x.startswith("|")] for lines in (made, there)]
    assert tables[0] == tables[1]
    assert capsys.readouterr().out.startswith("# Published results")
    assert "{" not in page(json.loads(kept))

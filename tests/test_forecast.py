"""The rest of a run in the report: what a law gives, and what is refused."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure

import optax_warmup as ow
from optax_warmup._drawing import figure, svg
from optax_warmup.diagnostics import Forecast
from optax_warmup.diagnostics._charts import charts

LAW = ow.loss_laws.LossLaw(3.04, 0.525, 0.508, 364.0, 2.07, 0.583, 0.641)
WSD = ow.wsd(1e-3, 200, 8000, 2000)
REST = LAW.forecast(WSD, 4000, 8000)


@pytest.fixture(scope="module")
def history():
    optimizer = ow.record_moments(optax.adam(WSD))
    params = {"w": jnp.ones(3)}
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update({"w": jnp.ones(3)}, state, params)
    return ow.read_moments(state)


LOSSES = {k: 3.7 + 100 / k for k in range(100, 4000, 100)}


def test_a_law_forecasts_the_rest_of_a_run():
    assert REST.steps[0] == 4000
    assert REST.steps[-1] == 8000
    np.testing.assert_allclose(REST.loss, LAW(WSD, REST.steps))
    assert np.all(REST.low < REST.loss)
    assert np.all(REST.loss < REST.high)


def test_the_report_draws_it_on(history, tmp_path):
    plain = ow.diagnostics.write_report(tmp_path / "a.html", history, losses=LOSSES)
    page = ow.diagnostics.write_report(
        tmp_path / "b.html", history, losses=LOSSES, forecasts=REST
    )
    assert 'class="band' not in plain.read_text()
    text = page.read_text()
    assert text.count('<polygon points="') == 1
    assert 'class="line run0 expected"' in text
    named = ow.diagnostics.write_report(
        tmp_path / "c.html",
        {"a": history, "b": history},
        losses={"b": LOSSES},
        forecasts={"b": REST},
    )
    assert 'class="band run1"' in named.read_text()


def test_the_band_lies_around_the_dashed_line(history):
    found = charts({"run": history}, {"run": LOSSES}, {"run": REST})
    (chart,) = [chart for chart in found if chart.key == "expected"]
    measured, expected = chart.lines
    assert measured.x.min() >= 1000
    low, high = expected.band
    assert low.max() < high.max()
    text = svg.chart(chart)
    corners = text.split('<polygon points="')[1].split('"')[0].split()
    assert len(corners) == 2 * len(REST.steps)
    axes = Figure().subplots()
    figure.draw_chart(axes, chart)
    assert len(axes.collections) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"forecasts": REST}, ValueError, "has none; pass them as losses"),
        ({"forecasts": {"x": REST}, "losses": LOSSES}, ValueError, "got \\['x'\\]"),
        ({"forecasts": {"run": 3.0}, "losses": LOSSES}, TypeError, "got float"),
        (
            {"forecasts": Forecast([2, 1], [1, 1], 0, 2), "losses": LOSSES},
            ValueError,
            "must increase",
        ),
        (
            {"forecasts": Forecast([1, 2], [1, 1, 1], 0, 2), "losses": LOSSES},
            ValueError,
            "one value for each",
        ),
    ],
)
def test_wrong_forecasts_are_refused(history, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        ow.diagnostics.write_report(tmp_path / "a.html", history, **options)

"""The quickstart: what it prints, as a newcomer would run it."""

import re
import sys

import pytest
from transformer_runs import ROOT, finish, start

import optax_warmup as ow
from examples import quickstart

pytestmark = pytest.mark.train


@pytest.mark.slow
def test_the_quickstart_learns_and_logs_the_rate_of_its_schedule():
    code, out, errors = finish(
        start([sys.executable, str(ROOT / "examples" / "quickstart.py")])
    )
    assert code == 0, errors
    rows = re.findall(r"step +(\d+)  loss (\S+)  learning rate (\S+)", out)
    assert len(rows) == 13
    schedule = ow.warmup_cosine(
        3e-3, quickstart.WARMUP_STEPS, quickstart.TOTAL_STEPS, offset=1
    )
    for step, _, rate in rows:
        assert float(rate) == pytest.approx(schedule(int(step)).item(), rel=0.05)
    losses = [float(loss) for _, loss, _ in rows]
    assert losses[0] == pytest.approx(2.3, abs=0.3)  # log(10): it knows nothing yet
    assert losses[-1] < 0.1
    (accuracy,) = re.findall(r"test accuracy (\S+)%", out)
    assert float(accuracy) > 95
    assert out.splitlines()[-1] == "No issues found."

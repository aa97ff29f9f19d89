"""The adapters in docs/sweeps.md, for the engines that are installed."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "sweeps.md"
ENGINES = ("ray", "wandb", "vizier")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def blocks(fence):
    return re.findall(rf"^```{fence}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def test_each_engine_has_its_adapter():
    assert len(blocks("py")) == len(ENGINES)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_adapter_runs(engine, tmp_path, monkeypatch, capsys):
    pytest.importorskip(engine, reason=f"{engine} is not installed, and in no extra")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    # The first block of the page has the training, another one the losses.
    scope = {"__name__": "page"}
    first, losses = (
        next(x for x in blocks("python") if f"def {name}(" in x)
        for name in ("train", "losses")
    )
    (adapter,) = (x for x in blocks("py") if re.search(rf"^(from|import) {engine}", x))
    exec(first, scope)
    exec(losses, scope)
    exec(adapter, scope)
    if engine == "wandb":
        assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 5
    else:
        assert "peak_value" in capsys.readouterr().out

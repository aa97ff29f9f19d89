"""The lines of docs/watch.md that log a record, run where the logger is installed."""

import re
import struct
from pathlib import Path

import jax.numpy as jnp
import optax
import pytest

import optax_warmup as ow

PAGE = Path(__file__).parent.parent / "docs" / "watch.md"
STEP = 7
# Loggers warn about their own packages.
pytestmark = pytest.mark.filterwarnings("ignore")


def of_tensorboard(scope):
    from tensorboardX.proto.event_pb2 import Event

    (path,) = Path("runs/tensorboard").glob("events.out.tfevents.*")
    content, logged = path.read_bytes(), {}
    while content:  # a record: length, its checksum, the event, its checksum
        (size,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + size])
        logged |= {(x.tag, event.step): x.simple_value for x in event.summary.value}
        content = content[16 + size :]
    return logged


def of_wandb(scope):
    run = scope["run"]
    assert list(Path("wandb").glob("offline-run-*/run-*.wandb"))
    step = run.summary["_step"]
    names = [name for name in run.summary.keys() if not name.startswith("_")]  # noqa: SIM118
    return {(name, step): run.summary[name] for name in names}


def of_mlflow(scope):
    client = scope["mlflow"].MlflowClient()
    (run,) = client.search_runs(["0"])
    return {
        (name, each.step): each.value
        for name in run.data.metrics
        for each in client.get_metric_history(run.info.run_id, name)
    }


def of_aim(scope):
    (run,) = scope["aim"].Repo("runs/aim").iter_runs()
    logged = {}
    for metric in run.metrics():
        steps, values = metric.values.sparse_numpy()
        logged[metric.name, int(steps[-1])] = float(values[-1])
    return logged


READERS = {
    "tensorboardX": of_tensorboard,
    "wandb": of_wandb,
    "mlflow": of_mlflow,
    "aim": of_aim,
}


def blocks():
    """The lines for each logger, by the package that they import."""
    found = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return {re.search(r"^(?:import|from) (\w+)", x, re.M)[1]: x for x in found}


def scalars():
    """Those of two updates, with groups in a list and numbers that are NaN."""
    optimizer = ow.record_moments(optax.adam(1e-3))
    params = {"layers": [jnp.ones(3), jnp.ones((2, 2))], "head": jnp.ones(2)}
    state = optimizer.init(params)
    for _ in range(2):
        _, state = optimizer.update(params, state, params)
    return {"loss": 0.5} | ow.diagnostics.to_scalars(state)


def test_every_logger_has_its_lines():
    assert blocks().keys() == READERS.keys()


@pytest.mark.parametrize("package", READERS)
def test_a_logger_has_the_numbers_of_the_record(package, tmp_path, monkeypatch):
    pytest.importorskip(package, reason=f"needs pip install {package}")
    monkeypatch.chdir(tmp_path)
    scope = {"scalars": scalars(), "step": STEP}
    exec(blocks()[package], scope)
    logged = READERS[package](scope)
    wanted = {(name, STEP): x for name, x in scope["scalars"].items()}
    assert logged.keys() == wanted.keys()
    assert logged == pytest.approx(wanted, rel=1e-6, nan_ok=True)

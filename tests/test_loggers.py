"""The lines of docs/watch.md that log a record, run where the logger is installed."""

import json
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
    from wandb.proto.wandb_internal_pb2 import Record

    scope["wandb"].teardown()  # its process writes the file
    (path,) = Path("wandb").glob("offline-run-*/run-*.wandb")
    content, place, record, logged = path.read_bytes(), 7, b"", {}
    while place + 7 <= len(content):  # a log of LevelDB, in blocks of 32 KiB
        size, kind = struct.unpack("<4xHB", content[place : place + 7])
        place += 7 + size
        record += content[place - size : place]
        if kind in (1, 4):  # complete
            history = Record.FromString(record).history
            logged |= {
                ("/".join(each.nested_key) or each.key, history.step.num): float(
                    json.loads(each.value_json)
                )
                for each in history.item
            }
            record = b""
        left = 2**15 - place % 2**15
        place += left if left < 7 else 0
    return {(name, step): x for (name, step), x in logged.items() if name[0] != "_"}


def of_mlflow(scope):
    client = scope["mlflow"].MlflowClient()
    (run,) = client.search_runs(["0"])
    return {
        (name, each.step): each.value
        for name in run.data.metrics
        for each in client.get_metric_history(run.info.run_id, name)
    }


def of_aim(scope):
    run = scope["aim"].Run(scope["run"].hash, repo="runs/aim")
    return {
        (metric.name, step): value
        for metric in run.metrics()
        if not metric.name.startswith("__system__")
        for step, (value, _, _) in metric.data.items()
    }


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

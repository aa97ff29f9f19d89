"""What the transformer example needs of a device's memory, and whether it fits."""

import jax
import pytest
from compiled import quickly
from transformer_runs import (
    OPTIONS,
    TINY,
    TRAIN,
    finish,
    kept_programs,
    quiet,
    run,
    start,
    written_text,
)

from examples.transformer.core.settings import InputError
from examples.transformer.run import dry_run, estimate, train
from examples.transformer.run.plan import make_layout

pytestmark = pytest.mark.train


programs = kept_programs(quickly, autouse=True)
text = written_text()


def test_parameters_are_counted_by_part():
    state = make_layout(TINY.replace(layers=2, tied_embedding=False)).state
    counts = estimate.parameters(state.params)
    assert counts["tokens"] == counts["output"] == 256 * 16
    assert counts["blocks/attention"] == 2 * (16 * 48 + 16 * 16)
    assert counts["blocks/mlp"] == 2 * 2 * 16 * 32
    assert counts["final_norm"] == 16
    stacked = make_layout(
        TINY.replace(layers=2, tied_embedding=False, scan_layers=True)
    ).state
    assert estimate.parameters(stacked.params) == counts


def test_memory_is_that_of_the_arrays():
    """Parameters, gradients, and two moments and a record in the optimizer's state."""
    state = make_layout(TINY).state
    params = 4 * sum(estimate.parameters(state.params).values())
    needed = estimate.memory(TINY, state)
    assert needed["parameters"] == needed["gradients"] == params
    assert 2 * params < needed["optimizer state"]
    with_average = TINY.replace(ema_decay=0.9, microbatches=2)
    more = estimate.memory(with_average, make_layout(with_average).state)
    assert more["gradients"] == 2 * params
    assert more["optimizer state"] - needed["optimizer state"] == params + 4  # a count


def test_what_cannot_fit_is_said_before_training(text, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "room", lambda: 1_000)
    with pytest.raises(InputError, match="a device has 1 kB .*without any activations"):
        run(TINY, tmp_path / "run", data=text)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_compiles_and_writes_nothing(tmp_path, capsys):
    where = ["--run-dir", str(tmp_path / "run"), "--data", "no/such/text"]
    assert train.main([*OPTIONS, *where, "--dry-run", "--device-memory", "1e9"]) == 0
    printed = capsys.readouterr().out
    assert "gradients and activations" in printed and "It fits into 1 GB" in printed
    assert not list(tmp_path.iterdir())
    assert train.main([*OPTIONS, *where, "--dry-run", "--device-memory", "1e5"]) == 2
    assert "it does not fit: a device has 100 kB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "no/such.txtpb"}, "target='no/such.txtpb' is no device"),
        ({"devices": 1000}, "devices=1000 cannot be had: JAX is in use"),
    ],
)
def test_devices_that_cannot_be_had(options, message):
    jax.devices()  # in use: dry_run must not make others in this process
    with pytest.raises(InputError, match=message):
        dry_run.dry_run(TINY, quiet(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "2"], "--devices is for a --dry-run"),
        (["--target", "v5e:4x4"], "--target is for a --dry-run"),
        (["--device-memory", "1e9"], "--device-memory is for a --dry-run"),
        (["--dry-run", "--find-rate"], "--dry-run and --find-rate"),
        (["--resume", "--overwrite"], "--resume and --overwrite"),
    ],
)
def test_options_that_do_not_go_together(options, message, capsys):
    assert train.main(options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_dry_run_for_devices_that_are_not_here(tmp_path):
    options = ["--dry-run", "--devices", "4", "--fsdp", "4", "--batch-size", "8"]
    code, out, errors = finish(start([*TRAIN, *OPTIONS, *options], devices=1))
    assert code == 0, errors
    assert "4 x cpu (data 1, fsdp 4)" in out
    code, out, errors = finish(
        start([*TRAIN, *OPTIONS, *options, "--microbatches", "3"], devices=1)
    )
    assert code == 2 and "does not divide over 4 devices x microbatches=3" in errors

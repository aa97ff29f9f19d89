"""What makes the transformer example fast changes nothing else. How fast it is."""

import json
import re
import struct
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import quickly
from flax import nnx
from selection import parametrize
from transformer_runs import (
    TINY,
    kept_programs,
    quiet,
    run,
    written_text,
)

from examples.transformer.core import attention, loader
from examples.transformer.core.model import Transformer
from examples.transformer.core.optimizer import matrices
from examples.transformer.core.settings import InputError
from examples.transformer.core.sharding import make_mesh, put_batch
from examples.transformer.core.train_step import (
    abstract_model,
    init_params,
    init_state,
    loss_of,
    make_train_step,
)  # fmt: skip
from examples.transformer.run import throughput
from examples.transformer.run.plan import make_plan
from examples.transformer.run.presets import PRESETS

pytestmark = pytest.mark.train


programs = kept_programs(quickly)
text = written_text()


# The model, computed in other ways.


def loss_and_gradient(config):
    graphdef, params = init_params(config, make_mesh(config.batch_size, config.fsdp))
    tokens_BxL = jax.random.randint(jax.random.key(1), (4, 17), 0, 256)
    value, gradient = jax.jit(jax.value_and_grad(loss_of(graphdef)))(params, tokens_BxL)
    blocks = gradient["blocks"]
    if not config.scan_layers:  # a dictionary of blocks, by their number
        blocks = jax.tree.map(lambda *x: np.stack(x), *[blocks[i] for i in range(2)])
    return value, {**gradient, "blocks": blocks}


@pytest.fixture(scope="module")
def plain():
    return loss_and_gradient(TINY.replace(layers=2))


@parametrize(
    "changes",
    [
        {"scan_layers": True, "remat": True, "loss_chunks": 2},
        {"scan_layers": True},
        {"remat": True, "loss_chunks": 4},
        {"scan_layers": True, "scan_unroll": 1, "remat": True},
    ],
    quick=3,
    ids=lambda changes: "_".join(changes),
)
def test_scan_remat_and_chunks_change_no_gradient(changes, plain):
    other = loss_and_gradient(TINY.replace(layers=2, **changes))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
        other,
        plain,
    )


@pytest.mark.parametrize("scan_layers", [False, True])
def test_the_scales_of_norms_do_not_decay(scan_layers):
    config = TINY.replace(layers=2, scan_layers=scan_layers)
    _, params = init_params(config, make_mesh(config.batch_size, config.fsdp))
    decayed = jax.tree_util.tree_leaves_with_path(matrices(params))
    names = {jax.tree_util.keystr(path): decays for path, decays in decayed}
    assert all(decays is ("scale" not in name) for name, decays in names.items())
    assert sum("scale" in name for name in names) == (3 if scan_layers else 5)


def test_the_layers_of_a_scan_are_stacked_however_it_runs(monkeypatch):
    """So a checkpoint of a CPU, which unrolls the loop, goes on where it is a loop."""
    config = PRESETS["small"].replace(layers=3)
    assert config.layers_at_once() == 3
    shapes = [jax.tree.map(jnp.shape, abstract_model(config)[1])]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(attention, "probe", lambda *_: "not here")
    assert config.layers_at_once() == 1
    assert config.replace(scan_unroll=2).layers_at_once() == 2
    assert config.replace(scan_unroll=9).layers_at_once() == 3
    shapes.append(jax.tree.map(jnp.shape, abstract_model(config)[1]))
    assert shapes[0] == shapes[1]
    assert shapes[0]["blocks"]["mlp"]["up"]["kernel"] == (3, 384, 1536)


def test_parameters_moments_and_loss_stay_float32_under_bfloat16(text):
    config = TINY.replace(compute_dtype="bfloat16", scan_layers=True, data=text)
    plan = make_plan(config)
    floats = [x for x in jax.tree.leaves(plan.state) if x.dtype.kind == "f"]
    assert {x.dtype.name for x in floats} == {"float32"}
    tokens = jax.ShapeDtypeStruct((4, 17), np.int32)
    loss_fn = loss_of(plan.graphdef)
    assert jax.eval_shape(loss_fn, plan.state.params, tokens).dtype == "float32"
    program = str(jax.make_jaxpr(loss_fn)(plan.state.params, tokens))
    products = re.findall(r":(\w+)\[([\d,]+)\] = dot_general", program)
    # Attention's scores, with five axes, are summed in float32.
    names = {dtype for dtype, shape in products if shape.count(",") < 4}
    assert names == {"bf16"}


def test_a_step_takes_the_memory_of_the_state_before(programs, text):
    plan = make_plan(TINY.replace(data=text))
    mesh, loss_fn = plan.mesh, loss_of(plan.graphdef)
    state = init_state(plan.config, plan.optimizer, plan.state, mesh, 0)
    step = make_train_step(loss_fn, plan.optimizer, plan.state, mesh)
    with jax.set_mesh(mesh):
        new, _ = step(state, put_batch(np.zeros((4, 17), np.int32), plan.rows, mesh))
    assert all(x.is_deleted() for x in jax.tree.leaves(state.params))
    moments = state.opt_state.inner_state[1][0]
    assert all(x.is_deleted() for x in jax.tree.leaves((moments.mu, moments.nu)))
    assert not any(x.is_deleted() for x in jax.tree.leaves(new))


# Which attention.


def test_attention_says_what_it_took(monkeypatch):
    config = TINY.replace(compute_dtype="bfloat16")
    assert attention.choose(config) == (
        "xla",
        "XLA attention (cuDNN does not run on cpu)",
    )
    asked = config.replace(attention="xla")
    assert attention.choose(asked) == ("xla", "XLA attention, as requested")
    # On a GPU it is tried, and where it fails the reason is told. Here it does fail.
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    took, why = attention.choose(config)
    assert took == "xla" and "does not work here: " in why
    assert "bfloat16" in attention.choose(TINY)[1]
    # Where it compiles, it is taken.
    monkeypatch.setattr(attention, "probe", lambda *shape: None)
    assert attention.choose(config)[0] == "cudnn"


def test_cudnn_where_there_is_none_stops_before_training(text):
    with pytest.raises(InputError, match="cudnn' does not work here: it needs .*bfl"):
        make_plan(TINY.replace(data=text, attention="cudnn"))
    with pytest.raises(InputError, match="cudnn' does not work here: .*auto"):
        config = TINY.replace(data=text, attention="cudnn", compute_dtype="bfloat16")
        make_plan(config)


# The batches.

LOADERS = [
    "threads",
    pytest.param("grain", marks=pytest.mark.skipif(
        not loader.installed(), reason="grain is not installed"
    )),
]  # fmt: skip


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_yield_each_step_once_and_in_order(name):
    made = loader.batches(lambda step: np.array([step, step**2]), 3, 30, name)
    assert [batch.tolist() for batch in made] == [[n, n**2] for n in range(3, 30)]
    assert list(loader.batches(np.array, 5, 5, name)) == []


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_pass_errors_on(name):
    def make(step):
        if step == 6:
            raise OSError("the disk is gone")
        return np.array(step)

    made = loader.batches(make, 0, 10, name)
    with pytest.raises(OSError, match="the disk is gone"):
        list(made)


def test_batches_are_made_ahead_and_a_loop_that_ends_early_leaves_no_thread():
    made = []
    batches = loader.batches(lambda step: made.append(step) or step, 0, 100, "threads")
    assert next(batches) == 0
    batches.close()
    assert 1 < len(made) <= 1 + loader.PREFETCH
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]


def test_without_grain_there_are_threads(monkeypatch):
    monkeypatch.setattr(loader, "installed", lambda: False)
    assert loader.choose("auto") == "threads"
    with pytest.raises(InputError, match="needs grain.*--loader threads"):
        loader.choose("grain")


# How fast.


@pytest.mark.parametrize("preset", ["demo", "gpt2", "1b"])
def test_flops_are_six_for_each_weight_of_a_product_and_attention(preset):
    config = PRESETS[preset]
    model = nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0)))
    params = nnx.as_pure(nnx.state(model, nnx.Param))
    del params["positions"]  # added, not multiplied
    sizes = jax.tree_util.tree_leaves_with_path(params)
    weights = sum(x.size for path, x in sizes if "scale" not in str(path))
    scores = 2 * 2 * config.length * config.width * config.layers  # Q K' and P V
    assert throughput.flops_per_token(config) == 6 * weights + 3 * scores


@pytest.mark.parametrize(
    ("kind", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", None),
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("cpu", None),
    ],
)
def test_peak_flops_by_kind(kind, flops):
    assert throughput.peak_of(kind) == flops


def test_rows_go_to_every_sink_with_speed_and_diagnostics(programs, text, tmp_path):
    rows = []
    run(
        TINY, tmp_path / "run", data=text, peak_flops=1e9,
        options={"sinks": [rows.append]},
    )  # fmt: skip
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [row["step"] for row in rows] == [json.loads(x)["step"] for x in lines]
    flops = throughput.flops_per_token(TINY)
    timed = [row for row in rows if "tokens_per_second" in row]
    assert len(timed) > 3
    for row in timed:
        share = row["tokens_per_second"] * flops / 1e9
        assert row["model_flops_utilisation"] == pytest.approx(share, rel=1e-2)
    (last,) = (row for row in rows if "heldout_loss" in row and row["step"] == 12)
    assert last["moments/step"] == 11
    assert 0 < last["moments/nu_hat_rms"] < 1


def test_tensorboard_gets_the_same_numbers(programs, text, tmp_path):
    pytest.importorskip("tensorboardX", reason="needs pip install tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    result = run(TINY, tmp_path / "run", data=text, tensorboard=True)
    (path,) = result.folder.glob("events.out.tfevents.*")
    content, events = path.read_bytes(), []
    while content:  # a record: length, its checksum, the event, its checksum
        (size,) = struct.unpack("<Q", content[:8])
        events.append(Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]
    losses = {
        event.step: value.simple_value
        for event in events
        for value in event.summary.value
        if value.tag == "loss"
    }
    assert losses == dict(
        zip(result.updates["step"], result.updates["loss"], strict=True)
    )


def test_tensorboard_that_is_not_installed_stops_before_training(
    text, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match="pip install tensorboardX"):
        run(TINY, tmp_path / "run", quiet(), data=text, tensorboard=True)
    assert not (tmp_path / "run.incomplete").exists()

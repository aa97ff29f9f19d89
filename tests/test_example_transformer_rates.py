"""Rates by path in the transformer example: layer-wise decay and muP."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import quickly
from flax import nnx
from transformer_runs import TINY, compile_once, quiet, run, write_text

import optax_warmup as ow
from examples.transformer.core import optimizer as rates
from examples.transformer.core.optimizer import make_optimizer
from examples.transformer.core.settings import InputError
from examples.transformer.core.train_step import abstract_model, make_model
from examples.transformer.run import dry_run
from examples.transformer.run.config import Config

pytestmark = pytest.mark.train

MODEL = TINY.replace(layers=3, total_steps=4, warmup_steps=0, peak_value=0.5)
WIDE = {"width": 16, "mup_base_width": 4}


def flat(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(x)
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def first_update(config):
    """Of gradients as large as Adam's eps, which shows in it; without clipping."""
    config = config.replace(clip_norm=1e9, eps=1e-3)
    params = nnx.as_pure(nnx.state(make_model(config)))
    grads = jax.tree.map(lambda x: jnp.full(x.shape, 1e-3), params)
    optimizer = make_optimizer(config, record=False)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return flat(updates), flat(params)


def depth(path, shape, layers):
    """How many layers an array is away from the head; one number for each slice."""
    where = path.split("/")
    if where[0] in ("final_norm", "output"):
        return 0
    if where[0] in ("tokens", "positions"):
        return layers + 1
    if where[1].isdecimal():
        return layers - int(where[1])
    return np.arange(layers, 0, -1).reshape(-1, *[1] * (len(shape) - 1))


@pytest.mark.slow
@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("kind", ["adamw", "adamc", "independent"])
def test_layer_decay_lowers_rates_towards_the_input(kind, scan_layers):
    config = MODEL.replace(
        scan_layers=scan_layers, weight_decay_kind=kind, tied_embedding=scan_layers
    )
    before, params = first_update(config)
    after, _ = first_update(config.replace(layer_decay=0.5))
    assert len(after) > 8
    for path, update in after.items():
        # An independent decay does not follow the rate.
        share = config.weight_decay if kind == "independent" else 0.0
        fixed = -share * params[path] * (not path.endswith("scale"))
        wanted = 0.5 ** depth(path, update.shape, 3) * (before[path] - fixed)
        np.testing.assert_allclose(update - fixed, wanted, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "adamc", "independent"])
def test_mup_scales_the_rates_of_hidden_matrices_and_eps(kind):
    """Weight decay stays: rate times decay does not change with the width."""
    config = MODEL.replace(weight_decay_kind=kind, tied_embedding=False)
    after, params = first_update(config.replace(**WIDE))
    for path, update in after.items():
        rate = 0.5 / 4 if "blocks" in path and "kernel" in path else 0.5
        decay = config.weight_decay * (1.0 if kind == "independent" else 0.5)
        decay *= not path.endswith("scale")
        direction = 1e-3 / (1e-3 + 1e-3 / 4)
        wanted = -rate * direction - decay * params[path]
        np.testing.assert_allclose(update, wanted, rtol=2e-4, err_msg=path)


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("tied_embedding", [False, True])
def test_its_rules_are_those_that_shapes_tell(scan_layers, tied_embedding):
    changes = {"scan_layers": scan_layers, "tied_embedding": tied_embedding}
    wide = MODEL.replace(**changes, **WIDE)
    _, narrow = abstract_model(MODEL.replace(**changes, width=4, mlp_width=8))
    _, params = abstract_model(wide)
    found = {
        row.path: (row.multiplier, row.decay_multiplier)
        for row in ow.groups.table(rates.by_width(wide), params).rows
    }
    table = ow.groups.table(ow.groups.mup_adam(narrow, readout_multiplier=True), params)
    assert found == {x.path: (x.multiplier, x.decay_multiplier) for x in table.rows}
    eps = ow.groups.table(ow.groups.mup_eps(narrow, readout_multiplier=True), params)
    assert {row.multiplier for row in eps.rows} == {(1 / wide.width_ratio,)}


@pytest.mark.parametrize("tied_embedding", [False, True])
def test_mup_divides_the_logits_and_keeps_the_variance_of_the_output(tied_embedding):
    plain, wide = (
        make_model(MODEL.replace(tied_embedding=tied_embedding, **changes))
        for changes in ({}, WIDE)
    )
    gain = 1.0 if tied_embedding else 2.0  # of the base's fan-in, not the model's
    x = jnp.ones((1, 1, 16))
    np.testing.assert_allclose(wide.unembed(x), plain.unembed(x) * gain / 4, rtol=1e-5)
    for path, array in flat(nnx.as_pure(nnx.state(plain))).items():
        other = flat(nnx.as_pure(nnx.state(wide)))[path]
        scale = gain if path == "output/kernel" else 1.0
        np.testing.assert_allclose(other, array * scale, rtol=1e-5)


def test_without_these_settings_there_are_no_groups():
    _, params = abstract_model(MODEL)
    assert rates.table(MODEL, params) is None
    state = jax.eval_shape(make_optimizer(MODEL, record=False).init, params)
    assert "ScaleByRulesState" not in str(jax.tree.structure(state))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_decay": 0.0}, "layer_decay=0.0 .*above 0"),
        ({"layer_decay": 1.1}, "layer_decay=1.1 .*1 or less"),
        ({"layer_decay": float("nan")}, "layer_decay=nan"),
        ({"mup_base_width": -1}, "mup_base_width=-1 .*0 or more"),
        ({"mup_base_width": 32.0}, "mup_base_width=32.0 .*whole number"),
        ({"mup_base_width": 65}, "mup_base_width=65 is wider than .* 64"),
        ({"mup_base_width": 32, "layer_decay": 0.9}, "layer_decay=0.9 and mup_base"),
    ],
)
def test_settings_that_will_not_do(changes, message):
    with pytest.raises(InputError, match=message):
        Config(**changes)


# A run.


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory):
    with compile_once(tmp_path_factory, quickly):
        yield


@pytest.mark.slow
def test_a_run_logs_and_records_the_rate_of_each_group(tmp_path):
    data = write_text(tmp_path)
    config = TINY.replace(data=data, layer_decay=0.5, scan_layers=True)
    result = run(config, tmp_path / "run")
    common = result.updates["learning_rate"]
    assert common.max() == pytest.approx(config.peak_value)
    wanted = {"head": 1, "layer_0": 0.5, "embed": 0.25}
    for name, multiplier in wanted.items():
        rate = result.updates[f"learning_rate/{name}"]
        np.testing.assert_allclose(rate, multiplier * common, rtol=1e-6)
        recorded = result.history.scalars[f"learning_rate/{name}"]
        np.testing.assert_allclose(recorded, rate[result.history.steps], rtol=1e-6)
    for changes, message in (
        ({"layer_decay": 0.25}, "layer_decay was 0.5 and is 0.25.*--accept-changes"),
        ({"layer_decay": 1.0}, "another model or optimizer.*layer_decay was 0.5"),
        (
            {"layer_decay": 1.0, "mup_base_width": 8},
            "mup_base_width was 0 and is 8",
        ),
    ):
        again = config.replace(total_steps=14, **changes)
        with pytest.raises(InputError, match=message):
            run(again, tmp_path / "run", options={"resume": True})


def test_a_dry_run_says_what_each_array_gets(monkeypatch):
    monkeypatch.setattr(dry_run, "make_train_program", stop)
    console = quiet()
    with pytest.raises(KeyboardInterrupt):
        dry_run.dry_run(TINY.replace(layer_decay=0.5), console)
    text = console.file.getvalue()
    assert "layer_0 / norms" in text
    assert "embed / matrices" in text


def stop(*_):
    raise KeyboardInterrupt

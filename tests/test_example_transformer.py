"""The transformer example: it trains, it repeats itself, and it refuses what is wrong.

Everything goes through the example's own code, on text that a test writes or on the
standard library's.
"""

import dataclasses
import itertools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformer_runs as runs
from compiled import quickly
from flax import nnx
from transformer_runs import (
    OPTIONS,
    TEXT,
    TINY,
    TRAIN,
    finish,
    kept_programs,
    run,
    start,
    written_text,
)  # fmt: skip

import optax_warmup as ow
from examples.transformer.core import data
from examples.transformer.core.model import Transformer
from examples.transformer.core.optimizer import make_optimizer, make_schedule
from examples.transformer.core.settings import InputError
from examples.transformer.core.sharding import make_mesh
from examples.transformer.core.train_step import init_params, loss_of
from examples.transformer.run import demo, find_rate, train, training
from examples.transformer.run.config import Config
from examples.transformer.run.presets import PRESETS
from examples.transformer.run.result import load_result
from examples.transformer.run.run_folder import RunFolder

pytestmark = pytest.mark.train


programs = kept_programs(quickly, autouse=True)
text = written_text()


@pytest.fixture
def quiet():
    return runs.quiet()


# Training.


@pytest.mark.slow
def test_a_range_test_leaves_a_curve_and_no_run(text, tmp_path, monkeypatch):
    monkeypatch.setattr(find_rate, "STEPS", 20)
    folder = tmp_path / "run"
    where = ["--data", text, "--run-dir", str(folder)]
    assert train.main([*OPTIONS, *where, "--find-rate"]) == 0
    curve = ow.finder.load_curve(tmp_path / "run.range_test.csv")
    assert len(curve.rates) <= 20
    assert not folder.exists()


def test_a_run_leaves_a_whole_folder(text, tmp_path, quiet):
    result = run(TINY, tmp_path / "run", quiet, data=text)
    names = {path.name for path in result.folder.iterdir()}
    assert names == {
        "checkpoints",
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "moments.npz",
        "summary.json",
    }
    assert not list(tmp_path.glob("*.incomplete"))

    assert result.updates["step"].tolist() == list(range(12))
    assert result.evaluations["step"].tolist() == [0, 5, 10, 12]
    assert result.updates["learning_rate"][:6] == pytest.approx(
        [0, 0.0025, 0.005, 0.0075, 0.01, 0.01]
    )
    assert result.evaluations["heldout_loss"][0] == pytest.approx(np.log(256), abs=0.2)
    assert result.summary["heldout_loss"] < 5
    assert result.history.steps.tolist() == list(range(12))
    assert result.history.effective_sample_size[0] == pytest.approx(1)
    assert result.config == TINY.replace(data=text, run_dir=str(tmp_path / "run"))

    environment = json.loads((result.folder / "environment.json").read_text())
    assert environment["versions"]["jax"] == jax.__version__
    assert environment["corpus"]["bytes"] == len(TEXT)
    # The schedule's repr is the code that rebuilds it.
    schedule = eval(environment["schedule"], vars(ow))
    assert schedule(2) == pytest.approx(0.005)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run(text, tmp_path, quiet):
    first, second, other = (
        run(TINY, tmp_path / name, quiet, data=text, seed=seed)
        for name, seed in (("first", 0), ("second", 0), ("other", 1))
    )
    np.testing.assert_array_equal(first.updates["loss"], second.updates["loss"])
    for name, x in first.history.overall.items():
        np.testing.assert_array_equal(x, second.history.overall[name])
    assert not np.array_equal(first.updates["loss"], other.updates["loss"])


@pytest.mark.slow
def test_an_interrupted_run_is_not_left_as_a_finished_one(
    text, tmp_path, quiet, monkeypatch
):
    def put_seven(*arguments):
        if next(batches) == 7 + 2:  # two of them are held out
            raise KeyboardInterrupt
        return put_batch(*arguments)

    batches, put_batch = itertools.count(), training.put_batch
    monkeypatch.setattr(training, "put_batch", put_seven)
    with pytest.raises(KeyboardInterrupt):
        run(TINY, tmp_path / "run", quiet, data=text)
    assert not (tmp_path / "run").exists()
    lines = (tmp_path / "run.incomplete" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 5  # what was fetched, one step late

    monkeypatch.undo()
    with pytest.raises(InputError, match="interrupted or is still going.*--overwrite"):
        run(TINY, tmp_path / "run", quiet, data=text)
    config = TINY.replace(data=text, run_dir=str(tmp_path / "run"))
    assert train.train(config, overwrite=True, console=quiet).folder.is_dir()
    assert not (tmp_path / "run.incomplete").exists()


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_a_result(text, tmp_path, quiet):
    result = run(TINY, tmp_path / "run", quiet, data=text, peak_value=1e30)
    assert np.isnan(result.summary["heldout_loss"])
    step = result.summary["diverged_at"]
    assert 0 < step < 12
    assert np.isnan(result.updates["loss"][step])
    # Strict JSON: a bare NaN would stop other languages' parsers.
    for line in (result.folder / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.slow
def test_bfloat16_and_untied_embedding_train(text, tmp_path, quiet):
    result = run(
        TINY, tmp_path / "run", quiet, data=text,
        compute_dtype="bfloat16", tied_embedding=False,
    )  # fmt: skip
    assert result.summary["heldout_loss"] < 5


# The model.


@pytest.mark.parametrize("tied", [True, False])
def test_causality(tied):
    """Logits depend on no later position, and on every position up to their own.

    The gradient of the logits at position i with respect to the embedded input is zero
    at positions above i and not zero at positions up to i.
    """
    config = TINY.replace(tied_embedding=tied, length=8, layers=2)
    graphdef, params = init_params(config, make_mesh(config.batch_size, config.fsdp))
    model = nnx.merge(graphdef, params)
    x_BxLxD = model.embed(jnp.arange(8)[None])

    def weighted_logits_L(x_BxLxD):
        weights_V = jnp.sin(jnp.arange(config.vocab_size))  # so that nothing cancels
        model = nnx.merge(graphdef, params)
        return (model.unembed(model.decode(x_BxLxD)) @ weights_V)[0]

    jacobian_LxLxD = jax.jit(jax.jacrev(weighted_logits_L))(x_BxLxD)[:, 0]
    depends_LxL = np.any(np.asarray(jacobian_LxLxD) != 0, axis=-1)
    np.testing.assert_array_equal(depends_LxL, np.tri(8, dtype=bool))


def test_an_untrained_model_knows_nothing():
    graphdef, params = init_params(TINY, make_mesh(TINY.batch_size, TINY.fsdp))
    tokens_BxL = jax.random.randint(jax.random.key(0), (4, 17), 0, 256)
    loss = jax.jit(loss_of(graphdef))(params, tokens_BxL)
    assert loss == pytest.approx(np.log(256), abs=0.1)


@pytest.mark.parametrize(
    ("preset", "rows", "millions"),
    [
        ("demo", 256, 0.12),
        ("small", 256, 10.8),
        ("gpt2", 256, 86.0),
        ("gpt2", 50_304, 124.4),
        ("1b", 256, 911),
        ("1b", 50_304, 1014),
    ],
)
def test_the_presets_have_the_size_they_promise(preset, rows, millions):
    """With a row for each byte, and with GPT-2's tokens, padded."""
    assert PRESETS[preset].vocab_size == 256
    config = PRESETS[preset].replace(vocab_size=rows)
    model = nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0)))
    sizes = [x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param))]
    assert sum(sizes) / 1e6 == pytest.approx(millions, rel=0.01)


# The data.

SHAPE = {"batch_size": 4, "length": 16}


def test_a_batch_is_a_function_of_seed_and_step(text):
    corpus = data.load_corpus(text)
    batch = data.training_batch(corpus, 0, 3, **SHAPE)
    np.testing.assert_array_equal(batch, data.training_batch(corpus, 0, 3, **SHAPE))
    for seed, step in ((0, 4), (1, 3)):
        other = data.training_batch(corpus, seed, step, **SHAPE)
        assert not np.array_equal(batch, other)
    assert batch.shape == (4, 17)
    assert all(bytes(row.astype(np.uint8)).decode() in TEXT for row in batch)


def test_held_out_text_is_the_end_and_never_in_a_batch(tmp_path):
    (tmp_path / "text").write_text("a" * 950 + "b" * 50)
    corpus = data.load_corpus(str(tmp_path / "text"), 0.05)
    seen = [data.training_batch(corpus, 0, step, **SHAPE) for step in range(50)]
    assert np.all(np.array(seen) == ord("a"))
    heldout = data.heldout_batches(corpus, 8, **SHAPE)
    assert np.shape(heldout) == (2, 4, 17)
    assert np.all(np.array(heldout) == ord("b"))


@pytest.mark.slow
def test_the_standard_library_is_the_default_corpus():
    corpus = data.load_corpus()
    assert corpus.size > 5_000_000
    assert corpus.sha256 == data.load_corpus().sha256
    paths = data.list_files(None)[1]
    assert not [path for path in paths if "site-packages" in path.parts]


def test_a_folder_is_read_in_order_and_in_full(tmp_path):
    (tmp_path / "b").mkdir()
    for name, content in {"b/1.md": "one", "a.txt": "zero", ".hidden": "first"}.items():
        (tmp_path / name).write_text(content * 100)
    corpus = data.load_corpus(str(tmp_path))
    text = bytes(np.concatenate([corpus.train, corpus.heldout])).decode()
    assert text == "\n".join(["first" * 100, "zero" * 100, "one" * 100])
    assert corpus.files == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no text"),
        (b" \n", "holds no text"),
        (b"too short", "too short.*length=16 needs 17.*Give more text"),
        (TEXT.encode() + b"\0", "text.txt is not text.*NUL"),
        (b"caf\xe9" + TEXT.encode(), "text.txt is not UTF-8.*Convert it"),
    ],
)
def test_text_that_will_not_do(tmp_path, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    for path in (tmp_path / "text.txt", tmp_path):
        with pytest.raises(InputError, match=message):
            data.load_corpus(str(path), length=16)


def test_a_path_that_does_not_exist():
    with pytest.raises(InputError, match="data='no/such/text' does not exist"):
        data.load_corpus("no/such/text")


# The settings.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 65}, "width=65 does not divide into heads=4.*example 68"),
        ({"warmup_steps": 1300}, "warmup_steps=1300.*do not fit into total_steps=1200"),
        ({"warmup_steps": -1}, "warmup_steps=-1 .*0 or more"),
        ({"warmup_steps": 1.5}, "warmup_steps=1.5 .*a whole number"),
        ({"warmup_steps": "10"}, "warmup_steps='10' .*a whole number"),
        ({"peak_value": float("nan")}, "peak_value=nan .*finite"),
        ({"peak_value": 0.0}, "peak_value=0.0 .*above 0"),
        ({"peak_value": True}, "peak_value=True .*a number"),
        ({"b2": 1.0}, "b2=1.0 .*below 1"),
        ({"decay_fraction": 1.5}, "decay_fraction=1.5 .*1 or less"),
        ({"heldout_fraction": 0.0}, "heldout_fraction=0.0 .*above 0"),
        ({"vocab_size": 100}, "vocab_size=100 .*256 or more"),
        ({"compute_dtype": "fp8"}, "compute_dtype='fp8' .*float32, bfloat16"),
        ({"data": 3}, "data=3 .*a text"),
    ],
)
def test_settings_that_will_not_do(changes, message):
    with pytest.raises(InputError, match=message):
        Config(**changes)


@pytest.mark.slow
def test_a_batch_must_divide_over_the_devices(tmp_path):
    """In a process of its own, since the number of devices is fixed at start."""
    command = [*TRAIN, "--batch-size", "5", "--run-dir", str(tmp_path / "run")]
    code, _, errors = finish(start(command, devices=2))
    assert code == 2
    assert "batch_size=5 does not divide over 2 devices" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


# The command line and the run folder.


@pytest.mark.slow
def test_help_explains_every_setting():
    code, out, _ = finish(start([*TRAIN, "--help"]))
    assert code == 0
    for field in dataclasses.fields(Config):
        assert "--" + field.name.replace("_", "-") in out
    assert "{demo,small,gpt2,1b}" in out


def test_command_line_trains(text, tmp_path, capsys):
    arguments = [*OPTIONS, "--data", text, "--run-dir", str(tmp_path / "run")]
    assert train.main(arguments) == 0
    assert "held-out loss" in capsys.readouterr().out
    trained = load_result(tmp_path / "run").config
    assert trained == TINY.replace(
        data=text, run_dir=str(tmp_path / "run"), on_divergence="stop"
    )

    assert train.main(arguments) == 2  # the folder is taken
    assert "--overwrite" in capsys.readouterr().err
    assert train.main([*arguments, "--overwrite"]) == 0


def test_overwrite_leaves_alone_what_is_not_a_run(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not a run.*leave it alone"):
        RunFolder(tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written.*--run-dir"):
        RunFolder(tmp_path / "file" / "run")


def test_what_is_not_a_finished_run_cannot_be_loaded(tmp_path):
    with pytest.raises(InputError, match="is not a finished run"):
        load_result(tmp_path)


def heldout(result):
    return result.evaluations["heldout_loss"]


@pytest.mark.slow
def test_demo_compares_two_runs_and_draws_them(text, tmp_path, capsys):
    home = tmp_path / "demo"
    assert demo.main([*OPTIONS, "--data", text, "--run-dir", str(home)]) == 0
    printed = capsys.readouterr().out
    assert "One seed; updates and time until the held-out loss is" in printed
    assert (home / "warmup.png").read_bytes().startswith(b"\x89PNG")
    without, with_ = (load_result(home / folder) for folder in demo.FOLDERS)
    row = r"^ *(?:no )?warmup(?:, 4 steps)? +(\d\S+) +(\d\S+)"
    rows = re.findall(row, printed, re.M)
    assert rows == [
        (f"{each.summary['heldout_loss']:.3f}", f"{min(heldout(each)):.3f}")
        for each in (without, with_)
    ]
    without, with_ = without.config, with_.config
    assert with_.warmup_steps == 4
    assert without == with_.replace(warmup_steps=0, run_dir=without.run_dir)


def test_the_optimizer_can_choose_the_warmup():
    config = Config(automatic_warmup=True, peak_value=0.5, weight_decay=0.0)
    schedule, optimizer = make_schedule(config), make_optimizer(config)
    assert schedule(0) == 0.5  # no warmup of its own
    params = {"kernel": jnp.ones((3, 4))}
    state = optimizer.init(params)
    _, state = optimizer.update(params, state, params)
    np.testing.assert_allclose(ow.learning_rate(state), 0.07, rtol=1e-4)

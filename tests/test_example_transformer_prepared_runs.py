"""The transformer example trains on prepared tokens: its own tokenizer in the run's
folder, the loss in nats per byte, exact resumption, text from a checkpoint.
"""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from transformer_runs import (
    OPTIONS,
    TEXT,
    TINY,
    TRAIN,
    assert_same_training,
    finish,
    kept_programs,
    run,
    start,
    start_pair,
    write_text,
)

from examples.transformer.core import data
from examples.transformer.core.model import Transformer
from examples.transformer.core.settings import InputError
from examples.transformer.core.sharding import make_mesh
from examples.transformer.core.token_file import open_prepared
from examples.transformer.core.train_step import init_params
from examples.transformer.prepare.documents import Source
from examples.transformer.prepare.prepare import prepare
from examples.transformer.prepare.settings import Settings
from examples.transformer.run import contents, sample
from examples.transformer.run.result import load_result

pytestmark = pytest.mark.train

CONFIG = TINY.replace(document_mask=True, loss_chunks=2)
ROWS = 384  # 300 tokens, padded to a multiple of 128
SHAPE = {"batch_size": CONFIG.batch_size, "length": CONFIG.length}


programs = kept_programs(autouse=True)


def prepare_text(folder, seed=0, **options):
    """Short documents, several in each sequence."""
    rng = np.random.default_rng(seed)
    words = TEXT.split()[:9]
    lines = [" ".join(rng.permutation(words)[: 2 + n % 7]) for n in range(200)]
    (folder / "text.txt").write_text("\n".join(lines))
    source = Source(str(folder / "text.txt"), separator="\n")
    settings = Settings(source, heldout_fraction=0.2, **options)
    return str(prepare(settings, folder / "tokens").folder)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    return prepare_text(folder, tokenizer="train", vocab_size=300)


@pytest.fixture(scope="module")
def finished(tokens, tmp_path_factory):
    return run(CONFIG, tmp_path_factory.mktemp("finished") / "run", data=tokens)


def nats_per_byte(config, params, batches, lengths_V):
    """All nats over all bytes, float64: each document as if it were alone."""
    graphdef = nnx.graphdef(
        nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0)))
    )
    logits_of = jax.jit(lambda tokens_BxL: nnx.merge(graphdef, params)(tokens_BxL))
    nats, size = 0.0, 0
    for tokens_L in np.concatenate(batches):
        cuts = np.flatnonzero(tokens_L == 0) + 1
        for document in np.split(tokens_L, cuts[cuts < len(tokens_L)]):
            # Padded, so that one program does for all; nothing sees what follows.
            padded_L = np.resize(document, config.length)
            logits_LxV = np.asarray(logits_of(padded_L[None])[0], np.float64)
            log_sums_L = np.log(np.exp(logits_LxV).sum(-1))
            for n, target in enumerate(document[1:]):
                nats += log_sums_L[n] - logits_LxV[n, target]
                size += lengths_V[target]
    return nats / size


def test_losses_are_all_nats_by_all_bytes(finished, tokens):
    assert finished.config.vocab_size == ROWS
    prepared, corpus = open_prepared(Path(tokens)), data.load_corpus(tokens)
    config = finished.config
    _, params = init_params(config, make_mesh(config.batch_size, 1), config.seed)
    lengths_V = [len(piece) for piece in prepared.tokenizer.pieces]
    lengths_V[prepared.tokenizer.end] = 1
    first = [data.training_batch(corpus, config.seed, 0, **SHAPE)]
    wanted = nats_per_byte(config, params, first, lengths_V)
    assert finished.updates["loss"][0] == pytest.approx(wanted, rel=1e-5)
    heldout = data.heldout_batches(corpus, config.eval_sequences, **SHAPE)
    wanted = nats_per_byte(config, params, heldout, lengths_V)
    assert finished.evaluations["heldout_loss"][0] == pytest.approx(wanted, rel=1e-5)
    # A token is several bytes, and log(300) nats at first.
    assert wanted < 0.7 * np.log(300)


def test_the_folder_of_a_run_has_its_tokenizer_and_samples_with_it(finished, tmp_path):
    environment = json.loads((finished.folder / "environment.json").read_text())
    fingerprint = environment["corpus"]["tokenizer"]
    sampler = sample.load_sampler(finished.folder)
    assert sampler.tokenizer.fingerprint == fingerprint
    text = sampler("the quick brown fox", 4)
    assert text.startswith("the quick brown fox")
    with pytest.raises(InputError, match="together are .* tokens"):
        sampler("the quick brown fox jumps over the lazy dog " * 2, 4)

    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    (copy / "tokenizer.json").write_text(
        (copy / "tokenizer.json").read_text().replace('"~"', '"?~"')
    )
    with pytest.raises(InputError, match="is another tokenizer"):
        sample.load_sampler(copy)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="tokenizer.json cannot be read"):
        sample.load_sampler(copy)


@pytest.mark.slow
def test_a_resumed_run_is_the_run_that_nothing_interrupted(finished, tokens, tmp_path):
    def interrupt(row):
        if row["step"] == 7 and "loss" in row:
            raise KeyboardInterrupt

    config = CONFIG.replace(checkpoint_every=3)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run", data=tokens, options={"sinks": [interrupt]})
    resumed = run(config, tmp_path / "run", data=tokens, options={"resume": True})
    assert_same_training(resumed, finished)


def test_a_run_does_not_go_on_with_other_tokens(finished, tokens, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    other = tmp_path / "other"
    other.mkdir()
    other_tokens = prepare_text(other, seed=1, tokenizer=f"{tokens}/tokenizer.json")
    again = {"options": {"resume": True}}
    with pytest.raises(InputError, match="corpus_sha256 was"):
        run(CONFIG, tmp_path / "run", data=other_tokens, **again)
    shutil.rmtree(other)
    other.mkdir()
    as_bytes = prepare_text(other, tokenizer="bytes")
    with pytest.raises(InputError, match="another model .*tokenizer was .*'bytes'"):
        run(CONFIG, tmp_path / "run", data=as_bytes, **again)


def test_a_text_has_no_ends_of_documents(tmp_path):
    with pytest.raises(InputError, match="document_mask .*transformer.prepare"):
        run(CONFIG, tmp_path / "run", data=write_text(tmp_path))


def test_a_run_does_not_write_into_prepared_tokens(tokens):
    with pytest.raises(InputError, match="is not a run"):
        contents.check(Path(tokens), may_be_used=True)


@pytest.mark.slow
def test_two_processes_and_four_devices_train_the_same(
    finished, tokens, programs, tmp_path
):
    words = [*TRAIN, *OPTIONS, "--document-mask", "--loss-chunks", "2"]
    words += ["--data", tokens, "--run-dir"]
    four, two, again = (str(tmp_path / name) for name in ("four", "two", "again"))
    ended = finish(start([*words, four, "--fsdp", "2"], devices=4))
    assert ended[0] == 0, ended
    for folder in (two, again):  # and where a compilation cache has the programs
        for ended in map(finish, start_pair([*words, folder], **programs)):
            assert ended[0] == 0, ended
    for folder in (four, two, again):
        assert_same_training(load_result(folder), finished, tolerance=1e-4)

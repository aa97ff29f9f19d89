"""Tokenizers, packed documents, and the loss in nats per byte."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings, strategies as st

from examples.transformer.core.config import ModelConfig
from examples.transformer.core.model import Transformer, next_token_loss
from examples.transformer.core.packing import Targets, pack
from examples.transformer.core.settings import InputError
from examples.transformer.core.tokenizer import (
    BytePair,
    Bytes,
    embedding_rows,
    load_byte_pair,
    train_byte_pair,
)

TEXTS = ["the quick brown fox jumps over the lazy dog; " * 20, "naïve café 🙂 " * 20]
BPE = train_byte_pair(TEXTS, 300)
END = "<|endoftext|>"
TOKENIZERS = pytest.mark.parametrize("tokenizer", [Bytes(), BPE], ids=["bytes", "bpe"])


@TOKENIZERS
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@settings(max_examples=100, deadline=None)
def test_tokens_stand_for_exactly_the_bytes_of_any_text(tokenizer, text):
    for more in ("", END + "the quick"):
        (tokens_N,) = tokenizer.encode([text + more])
        assert tokenizer.decode(tokens_N) == text + more
        assert tokenizer.byte_lengths_V[tokens_N].sum() == len((text + more).encode())
        assert tokenizer.end not in tokens_N  # not even from its own name


def test_a_tokenizer_is_what_its_file_says(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(BPE.content)
    again = load_byte_pair(path)
    assert again.fingerprint == BPE.fingerprint and again.vocab_size == 300
    np.testing.assert_array_equal(again.encode(TEXTS)[0], BPE.encode(TEXTS)[0])
    assert len(BPE.encode(TEXTS)[0]) < len(TEXTS[0]) / 2
    assert train_byte_pair(TEXTS, 301).fingerprint != BPE.fingerprint


@pytest.mark.parametrize(("size", "rows"), [(256, 256), (257, 384), (50_257, 50_304)])
def test_rows_are_padded_to_a_multiple_of_128(size, rows):
    tokenizer = Bytes()
    tokenizer.vocab_size = size
    assert embedding_rows(tokenizer) == rows


def changed(change):
    """The content of a tokenizer.json that another library's model may have."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_str(BPE.content)
    change(tokenizer, tokenizers)
    return tokenizer.to_str()


def lower(tokenizer, library):
    tokenizer.normalizer = library.normalizers.Lowercase()


def add_prefix(tokenizer, library):
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)


@pytest.mark.parametrize("change", [lower, add_prefix])
def test_a_tokenizer_that_does_not_keep_the_text_is_refused(change):
    tokenizer = BytePair(changed(change), "mine.json")
    with pytest.raises(InputError, match="mine.json cannot encode the text: 'T?he"):
        tokenizer.encode(["The quick brown fox"])


def test_a_tokenizer_without_all_bytes_is_refused():
    import tokenizers

    model = tokenizers.models.BPE({"a": 0, END: 1}, [])
    library = tokenizers.Tokenizer(model)
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.add_special_tokens([END])
    tokenizer = BytePair(library.to_str(), "few.json")
    with pytest.raises(InputError, match="few.json cannot encode the text: 'b"):
        tokenizer.encode(["ab"])


def test_a_tokenizer_that_is_not_byte_level_is_refused():
    import tokenizers

    model = tokenizers.models.WordLevel({"das": 0, "Ω": 1, END: 2}, unk_token=END)
    tokenizer = BytePair(tokenizers.Tokenizer(model).to_str(), "words.json")
    with pytest.raises(InputError, match="words.json is not byte-level: its token 'Ω'"):
        tokenizer.encode(["das"])


@pytest.mark.parametrize(
    ("content", "end", "message"),
    [
        ("{}", None, "cannot be read"),
        ("no JSON", None, "cannot be read"),
        (BPE.content, "<stop>", "no token <stop> .*--end-token"),
    ],
)
def test_files_that_are_no_tokenizer(tmp_path, content, end, message):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_byte_pair(tmp_path / "tokenizer.json", end)


def test_the_message_without_the_library_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"pip install 'optax_warmup\[tokens\]'"):
        train_byte_pair(TEXTS, 300)


# Several documents in a sequence.

CONFIG = ModelConfig(length=24, width=16, layers=2, heads=2, mlp_width=32)
DOCUMENTS = [[5, 6, 7, 0], [9, 0], [1, 2, 3, 4, 5, 6, 7, 8, 9, 0], [6, 6, 6, 6]]


def make(config, seed=0):
    model = Transformer(config, rngs=nnx.Rngs(seed))
    # Positions are 0.02 in size at the start, too small to see a wrong one.
    model.positions.embedding[...] *= 50
    return model


def row(documents):
    return jnp.array([[token for document in documents for token in document]])


def test_packed_positions_and_mask_are_those_of_each_document():
    packed = pack(row(DOCUMENTS), 0)
    owner = [n for n, document in enumerate(DOCUMENTS) for _ in document]
    positions = [n for document in DOCUMENTS for n in range(len(document))]
    np.testing.assert_array_equal(packed.positions_BxL[0], positions)
    same = np.array(owner)[:, None] == np.array(owner)
    np.testing.assert_array_equal(packed.mask_Bx1xLxL[0, 0], same)


@jax.jit
def logits_of(model, tokens_BxL):
    return model(tokens_BxL)


def alone(model, documents):
    """The logits of each document alone. What follows it is not seen by it."""
    padded = [
        document + [1] * (CONFIG.length - len(document)) for document in documents
    ]
    logits_BxLxV = logits_of(model, jnp.array(padded))
    pairs = zip(logits_BxLxV, documents, strict=True)
    return [np.asarray(x[: len(document)], np.float64) for x, document in pairs]


@pytest.mark.parametrize("scan_layers", [False, True])
def test_packed_documents_have_the_logits_that_each_has_alone(scan_layers):
    model = make(CONFIG.replace(scan_layers=scan_layers))
    tokens_1xL = row(DOCUMENTS)
    packed = jax.jit(lambda model, x_BxL: model(x_BxL, pack(x_BxL, 0)))
    alone_LxV = np.concatenate(alone(model, DOCUMENTS))
    np.testing.assert_allclose(packed(model, tokens_1xL)[0], alone_LxV, atol=2e-5)
    # What it is for.
    assert np.abs(logits_of(model, tokens_1xL)[0] - alone_LxV).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss_chunks", "remat", "scan_layers"), [(1, False, False), (3, True, True)]
)
def test_the_loss_of_packed_documents_is_that_of_each_alone(
    loss_chunks, remat, scan_layers
):
    config = CONFIG.replace(
        loss_chunks=loss_chunks, remat=remat, scan_layers=scan_layers
    )
    model = make(config)
    # With an empty document in the second row.
    rows = [[*DOCUMENTS[:3], [3, 0], [8] * 7], [[*[7] * 9, 0], [0], [4] * 14]]
    tokens_2xL = jnp.concatenate([row(documents) for documents in rows])
    assert tokens_2xL.shape == (2, CONFIG.length + 1)
    total, targets = 0.0, 2 * CONFIG.length
    for documents in rows:
        for logits_LxV, document in zip(
            alone(model, documents), documents, strict=True
        ):
            log_sums_L = np.log(np.exp(logits_LxV).sum(-1))
            for n, target in enumerate(document[1:]):
                total += log_sums_L[n] - logits_LxV[n, target]
    loss, gradient = jax.jit(jax.value_and_grad(next_token_loss), static_argnums=2)(
        model, tokens_2xL, 0
    )
    assert loss == pytest.approx(total / targets, rel=1e-5)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_a_sequence_of_nothing_but_ends_has_the_loss_zero():
    model, loss = make(CONFIG), jax.jit(next_token_loss, static_argnums=2)
    assert loss(model, jnp.zeros((2, 25), int), 0) == 0.0


@pytest.mark.parametrize("end", [None, 0])
def test_nats_per_byte_are_all_nats_by_all_bytes(end):
    rng = np.random.default_rng(0)
    batches = rng.integers(0, 5, (2, 3, 12))
    lengths_V = np.array([1, 4, 2, 7, 3], np.int32)
    targets, means, nats, sizes = Targets(lengths_V, end), [], [], []
    for tokens_BxL in batches:
        losses = rng.random((3, 11))
        pairs = [
            (loss, lengths_V[tokens_L[n + 1]])
            for tokens_L, losses_L in zip(tokens_BxL, losses, strict=True)
            for n, loss in enumerate(losses_L)
            if tokens_L[n] != end
        ]
        nats.append(sum(loss for loss, _ in pairs))
        sizes.append(sum(size for _, size in pairs))
        means.append(nats[-1] / 33)
        found = targets.nats_per_byte(jnp.float32(means[-1]), jnp.array(tokens_BxL))
        assert found == pytest.approx(nats[-1] / sizes[-1], rel=1e-6)
    found = np.mean(means) / targets.bytes_per_target(list(batches))
    assert found == pytest.approx(sum(nats) / sum(sizes), rel=1e-6)

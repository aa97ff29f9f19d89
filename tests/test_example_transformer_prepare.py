"""Tokens on disk: what `prepare` writes, what is read from it, and what is refused."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from transformer_runs import ROOT

from examples.transformer.core import data
from examples.transformer.core.locks import lock
from examples.transformer.core.settings import InputError
from examples.transformer.core.token_file import (
    check_files,
    dtype_for,
    open_prepared,
)
from examples.transformer.prepare import documents, encode
from examples.transformer.prepare.__main__ import main
from examples.transformer.prepare.documents import Source
from examples.transformer.prepare.prepare import prepare
from examples.transformer.prepare.settings import Settings

SHAPE = {"batch_size": 5, "length": 12}
WORDS = ("the", "of", "a", "learning", "rate", "rises", "falls", "übergang", "学习")


def make_texts(count, seed=0):
    rng = random.Random(seed)
    return [
        f"{n} " + " ".join(rng.choices(WORDS, k=rng.randrange(5, 60))) + "\n"
        for n in range(count)
    ]


def write_folder(folder, texts):
    folder.mkdir()
    for n, text in enumerate(texts):
        (folder / f"{n:04d}.txt").write_text(text)
    return str(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of 60 documents, and what was prepared from it."""
    home = tmp_path_factory.mktemp("prepared")
    texts = write_folder(home / "texts", make_texts(60))
    make = {"bytes": {}, "bpe": {"tokenizer": "train", "vocab_size": 300}}
    for name, options in make.items():
        settings = Settings(Source(texts), heldout_fraction=0.2, **options)
        prepare(settings, home / name)
    return home


def tokens_of(stream):
    return np.concatenate([np.asarray(x) for x in stream.arrays])


def documents_of(prepared, split):
    """The texts of a split, from its tokens and its ends."""
    tokens_N = tokens_of(getattr(prepared, split))
    starts = [0, *prepared.ends(split)[:-1]]
    parts = zip(starts, prepared.ends(split), strict=True)
    texts = []
    for start, end in parts:
        assert tokens_N[end - 1] == prepared.tokenizer.end
        texts.append(prepared.tokenizer.decode(tokens_N[start : end - 1]))
    return texts


@pytest.mark.parametrize("name", ["bytes", "bpe"])
def test_every_document_is_there_once_whole_and_on_one_side(home, name):
    prepared = open_prepared(home / name)
    train, heldout = (documents_of(prepared, x) for x in ("train", "heldout"))
    assert sorted(train + heldout) == sorted(make_texts(60))
    assert 3 < len(heldout) < 25
    for split, texts in (("train", train), ("heldout", heldout)):
        about = prepared.header["splits"][split]
        assert about["documents"] == len(texts)
        assert about["bytes"] == sum(len(text.encode()) + 1 for text in texts)
        stream = getattr(prepared, split)
        assert about["tokens"] == len(stream)
        lengths = prepared.tokenizer.byte_lengths_V[tokens_of(stream)]
        assert lengths.sum() == about["bytes"]
    assert prepared.header["dtype"] == {"bytes": "uint8", "bpe": "uint16"}[name]
    assert not check_files(prepared)


def test_more_data_move_no_document_between_the_parts(home, tmp_path):
    texts = write_folder(tmp_path / "more", make_texts(60) + make_texts(50, seed=1))
    settings = Settings(Source(texts), heldout_fraction=0.2)
    more = prepare(settings, tmp_path / "tokens")
    before = open_prepared(home / "bytes")
    for split in ("train", "heldout"):
        assert set(documents_of(before, split)) < set(documents_of(more, split))


def test_the_batches_are_the_same_however_the_files_are_divided(home, tmp_path):
    settings = Settings(
        Source(str(home / "texts")), heldout_fraction=0.2, shard_tokens=97
    )
    prepare(settings, tmp_path / "many")
    one, many = (data.load_corpus(str(x)) for x in (home / "bytes", tmp_path / "many"))
    assert many.files > 50 and one.files == 2 and one.sha256 == many.sha256
    for step in range(20):
        batches = [data.training_batch(x, 0, step, **SHAPE) for x in (one, many)]
        np.testing.assert_array_equal(*batches)
    heldout = [data.heldout_batches(x, 20, **SHAPE) for x in (one, many)]
    np.testing.assert_array_equal(*heldout)
    assert len(heldout[0]) == 4


def test_batches_are_a_function_of_seed_and_step_and_each_process_reads_its_rows(home):
    corpus = data.load_corpus(str(home / "bpe"))
    batch = data.training_batch(corpus, 3, 7, **SHAPE)
    assert batch.shape == (5, 13) and batch.dtype == np.int32
    again = data.load_corpus(str(home / "bpe"))
    np.testing.assert_array_equal(batch, data.training_batch(again, 3, 7, **SHAPE))
    rows = np.array([1, 4])
    ours = data.training_batch(corpus, 3, 7, **SHAPE, rows=rows)
    np.testing.assert_array_equal(ours, batch[rows])
    assert (batch != data.training_batch(corpus, 3, 8, **SHAPE)).any()
    stream = tokens_of(corpus.train)
    windows = np.lib.stride_tricks.sliding_window_view(stream, 13)
    assert all((windows == row).all(1).any() for row in batch)


@pytest.mark.parametrize(
    ("vocab_size", "dtype"),
    [(256, "uint8"), (257, "uint16"), (65_536, "uint16"), (65_537, "uint32")],
)
def test_the_smallest_dtype_that_holds_every_token(vocab_size, dtype):
    assert dtype_for(vocab_size) == dtype
    assert np.iinfo(dtype).max >= vocab_size - 1


# Sources.


def read(source):
    """The documents of a source, whole."""
    texts = []
    for piece in documents.pieces(source):
        if piece.starts:
            texts.append("")
        texts[-1] += piece.text
    return texts


def test_a_separator_divides_a_file_wherever_the_blocks_end(tmp_path, monkeypatch):
    texts = [text * 3 for text in make_texts(20)]
    path = tmp_path / "all.txt"
    path.write_text("<end>".join([*texts, "", " \n"]))
    for piece in (7, 8, 64, 2**16):
        monkeypatch.setattr(documents, "PIECE", piece)
        assert read(Source(str(path), separator="<end>")) == texts


def test_long_documents_are_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "PIECE", 64)
    texts = ["a line\n" * 50, "学习" * 100, "x" * 500]
    folder = write_folder(tmp_path / "texts", texts)
    assert read(Source(folder)) == texts
    parts = list(documents.pieces(Source(folder)))
    assert len(parts) > 15 and all(len(x.text.encode()) <= 64 for x in parts)
    single = tmp_path / "single.txt"
    single.write_text("".join(texts))
    parts = list(documents.pieces(Source(str(single))))
    assert all(x.starts for x in parts)  # each a document, since nothing tells more
    assert "".join(x.text for x in parts) == "".join(texts)


def test_json_lines(tmp_path):
    path = tmp_path / "texts.jsonl"
    texts = make_texts(5)
    path.write_text("\n".join(json.dumps({"n": 1, "body": text}) for text in texts))
    assert read(Source(str(path), field="body")) == texts
    with pytest.raises(InputError, match="line 1 has no text in 'text' .*n, body"):
        read(Source(str(path)))


def test_a_dataset_of_hugging_face_is_streamed(monkeypatch):
    texts, asked = make_texts(5), []

    def load_dataset(*arguments, **options):
        asked.append((arguments, options))
        return iter([{"text": text} for text in texts])

    library = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert read(Source("hf:someone/something:en", split="validation")) == texts
    options = {"split": "validation", "streaming": True}
    assert asked == [(("someone/something", "en"), options)]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install datasets"):
        read(Source("hf:someone/something"))


# Mixtures.


def test_a_mixture_takes_each_sequence_from_one_source_by_weight(home, tmp_path):
    texts = write_folder(tmp_path / "other", ["zzzz " * 300 + str(n) for n in range(9)])
    prepare(Settings(Source(texts), heldout_fraction=0.2), tmp_path / "z")
    name = f"{home / 'bytes'}=3,{tmp_path / 'z'}=1"
    corpus = data.load_corpus(name, length=12)
    batches = [data.training_batch(corpus, 0, step, **SHAPE) for step in range(200)]
    from_z = (np.concatenate(batches) == ord("z")).sum(1) > 4
    assert from_z.mean() == pytest.approx(0.25, abs=0.04)
    np.testing.assert_array_equal(
        batches[50], data.training_batch(data.load_corpus(name), 0, 50, **SHAPE)
    )
    heldout = np.concatenate(data.heldout_batches(corpus, 40, **SHAPE))
    assert ((heldout == ord("z")).sum(1) > 4).sum() == 10
    other = data.load_corpus(name.replace("=1", "=2"))
    assert other.sha256 != corpus.sha256


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ("{home}/bytes=1,{home}/bpe=1", "different tokenizers"),
        ("{home}/bytes=1,{home}/texts=1", "no prepared_tokens.json"),
        ("{home}/bytes=1,{home}/bpe", "is not FOLDER=WEIGHT"),
        ("{home}/bytes=0,{home}/bpe=1", "above 0"),
        ("{home}/bytes=nan", "above 0"),
    ],
)
def test_mixtures_that_will_not_do(home, mixture, message):
    with pytest.raises(InputError, match=message):
        data.load_corpus(mixture.format(home=home))


# Kills.


def run_killed(commits, arguments):
    program = ROOT / "tests" / "programs" / "prepare_killed.py"
    command = [sys.executable, str(program), str(commits), *arguments]
    return subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def content(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("name", ["bytes", "bpe"])
def test_a_preparation_that_was_killed_goes_on_and_ends_the_same(home, tmp_path, name):
    output = tmp_path / "tokens"
    arguments = ["--data", str(home / "texts"), "--output", str(output)]
    arguments += ["--heldout-fraction", "0.2"]
    if name == "bpe":
        arguments += ["--tokenizer", "train", "--vocab-size", "300"]
    first = run_killed(1, arguments)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert not output.exists()
    with pytest.raises(InputError, match="not finished"):
        data.load_corpus(str(tmp_path / "tokens.incomplete"))
    # What was written after the commit is cut off.
    with (tmp_path / "tokens.incomplete" / "train-00000.tokens").open("ab") as file:
        file.write(b"half a batch")
    second = run_killed(0, arguments)
    assert second.returncode == 0, second.stderr
    assert "going on after" in second.stdout
    assert content(output) == content(home / name)


def test_a_preparation_starts_again_if_the_text_has_changed(home, tmp_path):
    texts = write_folder(tmp_path / "texts", make_texts(60))
    output = tmp_path / "tokens"
    arguments = ["--data", texts, "--output", str(output), "--heldout-fraction", "0.2"]
    assert run_killed(1, arguments).returncode == -signal.SIGKILL
    (tmp_path / "texts" / "0000.txt").write_text("another text")
    second = run_killed(0, arguments)
    assert "starting again: the source is not what it was" in second.stdout
    prepared = open_prepared(output)
    found = documents_of(prepared, "train") + documents_of(prepared, "heldout")
    assert sorted(found) == sorted(["another text", *make_texts(60)[1:]])


def test_nothing_is_replaced_unasked(home, tmp_path, capsys):
    source = ["--data", str(home / "texts"), "--heldout-fraction", "0.2"]
    command = [*source, "--output", str(tmp_path / "tokens")]
    assert main(command) == 0
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    (tmp_path / "tokens.incomplete").mkdir()
    (tmp_path / "tokens.incomplete" / "mine.txt").write_text("mine")
    assert main([*command, "--overwrite"]) == 2
    assert "holds mine.txt" in capsys.readouterr().err
    assert (tmp_path / "tokens").exists()


def test_two_preparations_do_not_write_the_same_files(home, tmp_path):
    (tmp_path / "tokens.incomplete").mkdir()
    release = lock(tmp_path / "tokens.incomplete")
    settings = Settings(Source(str(home / "texts")), heldout_fraction=0.2)
    with pytest.raises(InputError, match="being written by another process"):
        prepare(settings, tmp_path / "tokens")
    release()
    prepare(settings, tmp_path / "tokens")


# Bad input.


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, {}, "holds no documents"),
        ({"a.txt": b" \n"}, {}, "holds no documents"),
        ({"a.txt": b"one"}, {}, "all 1 documents .*--separator"),
        ({"a.txt": b"fine\xff"}, {}, "a.txt is not UTF-8 text .byte 4"),
        ({"a.txt": b"x" * 70_000 + b"\xff"}, {}, "not UTF-8 text .byte 70,000"),
        ({"a.txt": b"a\0b"}, {}, "byte 1 is NUL"),
        ({"a.jsonl": b"{"}, {}, "line 1 is no JSON"),
        ({"a.jsonl": b'{"text": "\\ud800"}'}, {}, "no Unicode text"),
        ({"a.jsonl": b'{"text": "a\\u0000"}'}, {}, "NUL"),
        ({"a.txt": b"one"}, {"tokenizer": "none.json"}, "none.json cannot be read"),
        ({"a.txt": b"a"}, {"tokenizer": "train", "vocab_size": 99}, "vocab_size=99"),
        ({"a.txt": b"one"}, {"heldout_fraction": 1.0}, "below 1"),
        ({"a.txt": b"one"}, {"shard_tokens": 0}, "shard_tokens=0"),
    ],
)
def test_sources_that_will_not_do(tmp_path, files, options, message):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text)
    with pytest.raises(InputError, match=message):
        prepare(Settings(Source(str(folder)), **options), tmp_path / "tokens")
    assert not (tmp_path / "tokens").exists()


def edit(folder, **changes):
    path = folder / "prepared_tokens.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE = {
    "cut off by a byte": (
        lambda x: (x / "train-00000.tokens").write_bytes(
            (x / "train-00000.tokens").read_bytes()[:-1]
        ),
        "train-00000.tokens is cut off",
    ),
    "cut off by a token": (
        lambda x: (x / "train-00000.tokens").write_bytes(
            (x / "train-00000.tokens").read_bytes()[:-2]
        ),
        "were written",
    ),
    "a file is lost": (
        lambda x: (x / "heldout-00000.tokens").unlink(),
        "heldout-00000.tokens cannot be read",
    ),
    "the ends are lost": (lambda x: (x / "train.ends").write_bytes(b""), "0 documents"),
    "the tokenizer is lost": (
        lambda x: (x / "tokenizer.json").unlink(),
        "tokenizer.json cannot be read",
    ),
    "another tokenizer": (
        lambda x: (x / "tokenizer.json").write_text(
            (x / "tokenizer.json").read_text().replace('"~"', '"?~"')
        ),
        "is another tokenizer",
    ),
    "another vocabulary": (lambda x: edit(x, vocab_size=301), "vocab_size=301"),
    "another dtype": (lambda x: edit(x, dtype="uint8"), "vocab_size=300 in uint8"),
    "a later version": (lambda x: edit(x, version=2), "version 2.*Prepare it again"),
    "a damaged header": (
        lambda x: (x / "prepared_tokens.json").write_text("{"),
        "cannot be read",
    ),
    "a path in the header": (
        lambda x: (x / "prepared_tokens.json").write_text(
            (x / "prepared_tokens.json").read_text().replace("train-0", "../train-0")
        ),
        "file name",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_tokens_are_found_before_training(home, tmp_path, damage):
    make, message = DAMAGE[damage]
    folder = tmp_path / "tokens"
    folder.mkdir()
    for path in (home / "bpe").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert data.load_corpus(str(folder)).tokenizer.vocab_size == 300
    make(folder)
    with pytest.raises(InputError, match=message):
        data.load_corpus(str(folder))


def test_flipped_bits_are_found_by_check_and_unknown_tokens_by_a_batch(
    home, tmp_path, capsys
):
    folder = tmp_path / "tokens"
    folder.mkdir()
    for path in (home / "bpe").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert main(["--check", str(folder)]) == 0
    size = (folder / "train-00000.tokens").stat().st_size
    (folder / "train-00000.tokens").write_bytes(b"\xff" * size)
    assert main(["--check", str(folder)]) == 2
    assert "train-00000.tokens is not as it was written" in capsys.readouterr().err
    with pytest.raises(InputError, match="token 65535 .*prepare --check"):
        data.training_batch(data.load_corpus(str(folder)), 0, 0, **SHAPE)


def test_tokens_are_not_written_into_their_source(tmp_path):
    folder = write_folder(tmp_path / "texts", make_texts(3))
    with pytest.raises(InputError, match="is in the source"):
        prepare(Settings(Source(folder)), tmp_path / "texts" / "tokens")
    assert len(list((tmp_path / "texts").iterdir())) == 3


def test_a_dataset_is_prepared_first():
    with pytest.raises(InputError, match="prepare --data hf:someone/something"):
        data.load_corpus("hf:someone/something")


def test_sequences_that_are_longer_than_the_data(home):
    with pytest.raises(InputError, match="too short: .* tokens .*length=100000"):
        data.load_corpus(str(home / "bpe"), length=100_000)
    with pytest.raises(InputError, match="heldout_fraction=0.3: .*prepared with 0.2"):
        data.load_corpus(str(home / "bpe"), heldout_fraction=0.3)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(tmp_path):
    """Five times the text, cut into pieces and divided by a separator.

    The allocator keeps a few pieces more or less: what counts is that a part of the
    text is held, not the text.
    """

    def peak(data, *options):
        """In MB, of a process of its own."""
        words = [sys.executable, "-m", "examples.transformer.prepare", "--data", data]
        words += ["--output", str(tmp_path / "tokens"), "--overwrite", *options]
        code = (
            "import resource, subprocess, sys\n"
            "subprocess.run(sys.argv[1:], check=True)\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3)"
        )
        command = [sys.executable, "-c", code, *words]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return float(found.stdout.split()[-1])

    texts = make_texts(2_000)
    for name, times in (("small", 60), ("large", 300)):
        with (tmp_path / f"{name}.txt").open("w") as file:
            for n in range(times):
                file.writelines(f"{n} {text}" for text in texts)
    small, large = (tmp_path / f"{x}.txt" for x in ("small", "large"))
    added = (large.stat().st_size - small.stat().st_size) / 1e6
    assert added > 80
    for options in ([], ["--separator", "\\n"]):
        sizes = [peak(str(path), *options) for path in (small, large)]
        assert sizes[1] - sizes[0] < added / 4, sizes


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "bytes"), (999, "bytes"), (10**3, "kB"), (10**6, "MB")]
)
def test_a_small_source_is_not_shown_as_0_mb(size, shown):
    unit, scale = encode._unit(size)
    assert unit == shown and (size == 0 or size / scale >= 1)

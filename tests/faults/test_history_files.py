"""Files of moments that nobody wrote: damaged, forged, or made to do harm."""

import io
import json
import math
import struct
import zipfile

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_warmup as ow


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The parts of a good file: its description and its arrays."""
    optimizer = ow.record_moments(optax.adam(1e-3))
    params = {"w": jnp.ones(3), "b": jnp.ones(())}
    state = optimizer.init(params)
    for _ in range(4):
        _, state = optimizer.update(params, state, params)
    path = ow.read_moments(state).save(tmp_path_factory.mktemp("moments") / "good")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "meta"}
        return json.loads(str(file["meta"])), arrays


def written(tmp_path, meta, arrays):
    path = tmp_path / "forged.npz"
    text = meta if isinstance(meta, str) else json.dumps(meta)
    np.savez_compressed(path, meta=np.array(text), **arrays)
    return path


def test_the_parts_make_a_good_file_again(good, tmp_path):
    history = ow.diagnostics.load_moments(written(tmp_path, *good))
    assert history.steps.tolist() == [0, 1, 2, 3]


MISSING = object()
FORGED = {
    **{f"no {name}": (name, MISSING) for name in ("groups", "b1", "meta", "format")},
    "groups a number": ("groups", 3),
    "groups a text": ("groups", "wb"),
    "groups of numbers": ("groups", [1, 2]),
    "groups of lists": ("groups", [["w"], ["b"]]),
    "a group too many": ("groups", ["w", "b", "c"]),
    "the same group twice": ("groups", ["w", "w"]),
    "dtypes none": ("dtypes", None),
    "a dtype too few": ("dtypes", ["float32"]),
    "b2 NaN": ("b2", math.nan),
    "b2 infinite": ("b2", math.inf),
    "b2 one": ("b2", 1.0),
    "b2 negative": ("b2", -0.5),
    "b2 a text": ("b2", "0.9"),
    "b2 a bool": ("b2", True),
    "b2 a list": ("b2", [0.9]),
    "b2 huge": ("b2", 10**400),
    "b1 none": ("b1", None),
    "eps NaN": ("eps", math.nan),
    "eps negative": ("eps", -1e-8),
    "corrected a text": ("corrected", "yes"),
    "meta a list": ("meta", ["x"]),
    "meta of numbers": ("meta", {"jax": 3}),
    "format a dictionary": ("format", {"a": 1}),
    "kind another": ("kind", "other"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_description_is_refused(good, tmp_path, name):
    key, value = FORGED[name]
    meta = dict(good[0])
    if value is MISSING:
        del meta[key]
    else:
        meta[key] = value
    path = written(tmp_path, meta, good[1])
    with pytest.raises(ValueError, match=r"load_moments: .*forged\.npz"):
        ow.diagnostics.load_moments(path)


@pytest.mark.parametrize(
    "text", ["", "[", "3", "null", "[]", '"text"', "[" * 100_000, "{}" * 2]
)
def test_a_description_that_is_none_is_refused(good, tmp_path, text):
    path = written(tmp_path, text, good[1])
    with pytest.raises(ValueError, match=r"load_moments: .*forged\.npz"):
        ow.diagnostics.load_moments(path)


ARRAYS = {
    "not yes or no": ("learning_rate_exact", lambda x: x.astype(float)),
    "yes or no": ("learning_rate", lambda x: x > 0),
    "a statistic missing": ("overall/update_to_weight", lambda x: MISSING),
    "a statistic of groups missing": ("statistics/snr", lambda x: MISSING),
    "steps not sorted": ("steps", lambda x: x[::-1]),
    "steps twice": ("steps", lambda x: np.array([0, 1, 1, 2])),
    "steps fractional": ("steps", lambda x: x + 0.5),
    "steps negative": ("steps", lambda x: x - 2),
    "steps complex": ("steps", lambda x: x.astype(complex)),
    "steps texts": ("steps", lambda x: x.astype(str)),
    "steps a number": ("steps", lambda x: np.array(3)),
    "steps a table": ("steps", lambda x: x[:, None]),
    "steps unsigned, not sorted": ("steps", lambda x: x[::-1].astype(np.uint64)),
    "a step missing": ("steps", lambda x: x[:-1]),
    "counts of floats": ("counts", lambda x: x.astype(float)),
    "sizes negative": ("sizes", lambda x: -x),
    "sizes too many": ("sizes", lambda x: np.append(x, 1)),
    "histogram flat": ("histogram", lambda x: x.ravel()),
    "edges too few": ("histogram_edges", lambda x: x[1:]),
    "a statistic of texts": ("statistics/update_rms", lambda x: x.astype(str)),
    "a statistic short": ("statistics/update_rms", lambda x: x[:2]),
    "an overall of dates": (
        "overall/update_rms",
        lambda x: np.zeros(len(x), "datetime64[s]"),
    ),
    "sharpness alone": ("sharpness", lambda x: np.ones(3)),
    "no rates": ("learning_rate", lambda x: MISSING),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_forged_arrays_are_refused(good, tmp_path, name):
    key, change = ARRAYS[name]
    arrays = dict(good[1])
    arrays[key] = change(arrays[key])
    if arrays[key] is MISSING:
        del arrays[key]
    path = written(tmp_path, good[0], arrays)
    with pytest.raises(ValueError, match=r"load_moments: .*forged\.npz"):
        ow.diagnostics.load_moments(path)


def test_every_statistic_of_a_record_is_required(good, tmp_path):
    for name in [name for name in good[1] if name.startswith(("stat", "over"))]:
        arrays = {key: x for key, x in good[1].items() if key != name}
        path = written(tmp_path, good[0], arrays)
        with pytest.raises(ValueError, match=f"{name}.* is missing"):
            ow.diagnostics.load_moments(path)


def test_objects_are_not_unpickled(good, tmp_path):
    arrays = good[1] | {"learning_rate": np.array([None] * 4, object)}
    path = written(tmp_path, good[0], arrays)
    with pytest.raises(ValueError, match=r"forged\.npz"):
        ow.diagnostics.load_moments(path)


def header(shape):
    """The first bytes of an .npy file."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def bomb(path, shape, size):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("steps.npy", "w", force_zip64=True) as file,
    ):
        file.write(header(shape))
        for _ in range(max(size >> 24, 1)):
            file.write(bytes(min(size, 1 << 24)))
    return path


@pytest.mark.slow
def test_a_bomb_is_not_unpacked(tmp_path):
    """Three gigabytes of zeros in three megabytes."""
    path = bomb(tmp_path / "bomb.npz", (3 << 27,), 3 << 30)
    assert path.stat().st_size < 4e6
    with pytest.raises(ValueError, match="3,221,225,600 bytes in total"):
        ow.diagnostics.load_moments(path)


def test_a_header_that_claims_more_than_there_is_allocates_nothing(tmp_path):
    path = bomb(tmp_path / "bomb.npz", (1 << 50,), 800)
    with pytest.raises(ValueError, match=r"the header of 'steps\.npy' is wrong"):
        ow.diagnostics.load_moments(path)


def test_many_arrays_are_not_read(good, tmp_path):
    path = written(tmp_path, good[0], {f"x{i}": np.zeros(1) for i in range(1500)})
    with pytest.raises(ValueError, match="1501 arrays"):
        ow.diagnostics.load_moments(path)


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_byte_raises_nothing_but_our_error(good, tmp_path, seed):
    """Or it changes nothing: the archive checks its parts by a sum of their bytes."""
    path = written(tmp_path, *good)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(content)
    try:
        history = ow.diagnostics.load_moments(path)
    except ValueError as error:
        assert "forged.npz" in str(error)
    else:
        wanted = good[1]["statistics/update_rms"]
        np.testing.assert_array_equal(history.statistics["update_rms"], wanted)
        assert history.steps.tolist() == [0, 1, 2, 3]


def test_a_name_does_not_move_the_terminal(good, tmp_path):
    evil = "\x1b[2J\x1b]0;owned\x07w"
    meta = good[0] | {"groups": ["b", evil]}
    meta["meta"] = {"jax": evil, "schedule": evil}
    arrays = good[1] | {f"scalars/{evil}": good[1]["learning_rate"]}
    history = ow.diagnostics.load_moments(written(tmp_path, meta, arrays))
    out = io.StringIO()
    print(history, history.summary(), history.groups, history.meta, file=out)
    print(*map(str, ow.diagnostics.advise(history)), file=out)
    print(*ow.diagnostics.to_scalars(history), file=out)
    assert "\x1b" not in out.getvalue() and "\x07" not in out.getvalue()
    assert r"\x1b[2J" in str(history)


def test_a_parameters_name_does_not_move_the_terminal():
    optimizer = ow.record_moments(optax.adam(1e-3))
    params = {"\x1b[31mw": jnp.ones(3)}
    _, state = optimizer.update(params, optimizer.init(params), params)
    history = ow.read_moments(state)
    assert "\x1b" not in str(history)
    assert history.groups == (r"\x1b[31mw",)

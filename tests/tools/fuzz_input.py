"""Damaged input: configurations, expressions on a command line, and files.

Only what is documented may be raised: TypeError and ValueError that name their function
for configurations and files, ExpressionError for texts.
"""

import copy
import io
import json
import math
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from fuzz_schedules import Outcome, schedule

import optax_warmup as ow
from optax_warmup._inspect import expression
from optax_warmup._vocabulary import vocabulary
from optax_warmup.diagnostics._report_command import report_command
from optax_warmup.finder._find_command import find_command
from optax_warmup.loss_laws._rank_command import load_run
from optax_warmup.sweeps._folder import Folder

GARBAGE: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        2**40,
        10**400,
        1e308,
        math.inf,
        math.nan,
        "",
        "x",
        "constant",
    ),
    *([], {}, [None], [[]], {"type": None}, {"type": "array"}, {"type": "float"}),
    {"type": "array", "values": [[1], [2, 3]]},
    {"type": "function", "name": "eval"},
    {"type": "shapes.cosine", "steps": 3},
)


def places(config: Any) -> list[tuple[Any, Any]]:
    found = []
    items = (
        config.items()
        if isinstance(config, dict)
        else enumerate(config)
        if isinstance(config, list)
        else ()
    )
    for key, value in list(items):
        found += [(config, key), *places(value)]
    return found


def garbage(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(GARBAGE))


def try_config(rng: random.Random, index: int) -> list[Outcome]:
    try:
        config = ow.to_config(eval(schedule(rng, 2), {"m": ow}))
    except (TypeError, ValueError):
        return [("refused", "")]
    config = copy.deepcopy(json.loads(json.dumps(config)))
    for _ in range(rng.choice((1, 1, 2))):
        holder, key = rng.choice(places(config))
        if isinstance(holder, dict) and rng.random() < 0.3:
            if rng.random() < 0.5:
                del holder[key]
            else:
                holder[rng.choice(("steps", "valu", "0", "type"))] = garbage(rng)
        else:
            holder[key] = garbage(rng)
    text = repr(config)
    try:
        built = ow.from_config(config)
    except (TypeError, ValueError) as error:
        named = ": " in str(error)
        return [(("refused" if named else f"unclear error {error}"), text)]
    except Exception as error:  # noqa: BLE001 what else comes is what is looked for
        return [(f"raised {type(error).__name__}: {error}", text)]
    if not isinstance(built, ow.Schedule):
        return [("right", text)]  # an array or a shape, if the whole was replaced
    with jax.disable_jit():
        value = np.asarray(built(5), np.float64)
    return [(("right" if np.isfinite(value).all() else f"value {value}"), text)]


def try_text(rng: random.Random, index: int) -> list[Outcome]:
    text = schedule(rng, 2).replace("m.", rng.choice(("", "ow.")))
    for _ in range(rng.choice((1, 2, 4))):
        place = rng.randrange(len(text) + 1)
        cut = place + rng.choice((0, 1, 3))
        piece = rng.choice(("", *"(),*-=é\n", "9" * 30, "1e9", "**", "m."))
        text = text[:place] + piece + text[cut:]
    try:
        expression.parse(text, vocabulary())
    except expression.ExpressionError:
        return [("refused", text)]
    except Exception as error:  # noqa: BLE001 what else comes is what is looked for
        return [(f"raised {type(error).__name__}: {error}", text)]
    return [("right", text)]


def _record(folder: Path) -> list[Path]:
    """A run folder: a record and its losses."""
    optimizer = ow.record_moments(optax.adam(ow.warmup(0.1, 3)))
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    state = optimizer.init(params)
    for _ in range(4):
        _, state = optimizer.update(params, state, params)
    rows = [{"step": n, "loss": 1.0 / (n + 1), "learning_rate": 0.1} for n in range(4)]
    lines = folder / "metrics.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [ow.read_moments(state).save(folder / "moments"), lines]


def _curve(folder: Path) -> list[Path]:
    curve = ow.finder.RateCurve(np.geomspace(1e-4, 1, 60), np.linspace(2, 1, 60)[None])
    return [curve.save(folder / "curve")]


IDENTITY = {"program": "a", "shared": "b", "jax": jax.__version__}


def _results() -> list[np.ndarray]:
    return [np.zeros((6, 3), np.float32), np.zeros(6, np.int32)]


def _sweep(folder: Path) -> list[Path]:
    with Folder(folder, IDENTITY) as opened:
        for first in (0, 2):
            indices = np.arange(first, first + 2)
            opened.save(indices, [leaf[indices] for leaf in _results()])
    return sorted(folder.glob("*.*"))


def _resumed(folder: Path) -> None:
    with Folder(folder, IDENTITY) as opened:
        list(opened.load(_results()))


# What is written, and what reads it.
FILES: list[tuple[Callable[[Path], list[Path]], Callable[[Path], Any]]] = [
    (_record, lambda folder: report_command([folder], folder / "page.html")),
    (_record, lambda folder: ow.diagnostics.load_moments(folder / "moments.npz")),
    (_record, load_run),
    (_curve, lambda folder: find_command(folder / "curve.csv")),
    (_sweep, _resumed),
]
_written: dict[int, dict[str, bytes]] = {}


def _content(kind: int) -> dict[str, bytes]:
    """The files of a kind, which are made once."""
    if kind not in _written:
        with tempfile.TemporaryDirectory() as folder:
            paths = FILES[kind][0](Path(folder))
            _written[kind] = {path.name: path.read_bytes() for path in paths}
    return _written[kind]


PIECES = (
    b"",
    b"\0",
    b"\xff",
    b"nan",
    b"1e999",
    b"9" * 30,
    b"-1",
    b"\n",
    b",",
    b'"',
    b"[",
)


def _damaged(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(data) + 1)
        cut = place + rng.choice((0, 1, 1, 4, 40, len(data)))
        data = data[:place] + rng.choice(PIECES) + data[cut:]
    return data


def try_file(rng: random.Random, index: int) -> list[Outcome]:
    kind = index % len(FILES)
    content = dict(_content(kind))
    name = rng.choice(sorted(content))
    data = content[name]
    is_archive = name.endswith(".npz")
    content[name] = (
        _forged(data, rng) if is_archive and rng.random() < 0.6 else _damaged(data, rng)
    )
    text = f"{name}: {content[name]!r:.300}"
    with tempfile.TemporaryDirectory() as folder:
        for each, written in content.items():
            (Path(folder) / each).write_bytes(written)
        try:
            FILES[kind][1](Path(folder))
        except (TypeError, ValueError) as error:
            named = ": " in str(error)
            return [("refused" if named else f"unclear error {error}", text)]
        except Exception as error:  # noqa: BLE001 what else comes is what is looked for
            return [(f"raised {type(error).__name__}: {error}", text)]
    return [("right", text)]


def _forged(data: bytes, rng: random.Random) -> bytes:
    """A complete archive in which arrays are missing, others, or have other types."""
    stream = io.BytesIO(data)
    with np.load(stream) as file:
        arrays = {name: file[name] for name in file.files}
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(sorted(arrays))
        array = arrays[name]
        if name == "meta" and array.dtype.kind == "U":
            config = json.loads(str(array))
            if isinstance(config, dict) and (found := places(config)):
                holder, key = rng.choice(found)
                holder[key] = garbage(rng)
                arrays[name] = np.array(json.dumps(config))
            continue
        others = (
            lambda a: a[..., :-1] if a.ndim else np.zeros(3),
            lambda a: np.full_like(a, np.nan if a.dtype.kind == "f" else 1),
            lambda a: a.astype(np.float64) * -1e30,
            lambda a: a.astype(np.complex64),
            lambda a: a.astype(str),
            lambda a: np.zeros((0, *a.shape)),
            lambda a: np.concatenate([a, a]) if a.ndim else a,
            lambda a: a[..., None],
            lambda a: np.array(rng.choice(("x", "[]", "{}", "null"))),
        )
        if rng.random() < 0.1:
            del arrays[name]
        elif array.dtype.kind != "U":
            arrays[name] = rng.choice(others)(array)
        if not arrays:
            break
    written = io.BytesIO()
    np.savez(written, **arrays)
    return written.getvalue()

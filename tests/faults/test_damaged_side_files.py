"""A damaged metrics.jsonl or environment.json is mended, and said; a finished run with
one is refused by name. No row is lost in silence.
"""

import io
import json
import shutil

import numpy as np
import pytest
from fault_runs import copy_of, resumed
from rich.console import Console
from selection import parametrize
from transformer_runs import assert_same_training

from examples.transformer.core.settings import InputError
from examples.transformer.run.records import parse, parse_row, read_rows, to_text
from examples.transformer.run.result import load_result
from examples.transformer.run.run_folder import RunFolder
from optax_warmup.diagnostics import _run_folders

pytestmark = pytest.mark.train

# What may stand in the place of a row.
LINES = {
    "blank": b"",
    "spaces": b"   ",
    "half": b'{"step": 3, "lo',
    "garbled": b"\xff\xfe\x00garbled",
    "a list": b"[3, 5.5]",
    "a number": b"3",
    "null": b"null",
    "no step": b'{"loss": 5.5}',
    "a text for the step": b'{"step": "3", "loss": 5.5}',
    "half a step": b'{"step": 3.5, "loss": 5.5}',
    "a negative step": b'{"step": -3, "loss": 5.5}',
    "true for the step": b'{"step": true, "loss": 5.5}',
    "a list for the loss": b'{"step": 3, "loss": [5.5]}',
    "null for the loss": b'{"step": 3, "loss": null}',
    "a text for the loss": b'{"step": 3, "loss": "high"}',
    "1e999": b'{"step": 3, "loss": 1e999}',
    "-1e999": b'{"step": 3, "loss": -1e999}',
    "400 digits": b'{"step": 3, "loss": ' + b"7" * 400 + b"}",
    "10,000 digits": b'{"step": 3, "loss": ' + b"7" * 10_000 + b"}",
    "deep nesting": b'{"step": 3, "loss": ' + b"[" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000,
    "bare NaN": b'{"step": 3, "loss": NaN}',
    "two rows on a line": b'{"step": 3, "loss": 5.5}{"step": 4, "loss": 5.5}',
    "a carriage return": b'{"step": 3,\r "loss": 5.5',
}
STEP = 8  # that of the newest checkpoint


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_no_such_line_is_a_row(line):
    with pytest.raises(ValueError, match=".+"):
        parse_row(line + b"\n")


@pytest.mark.parametrize(
    "row",
    [
        {"step": 3, "loss": 5.5},
        {"step": 0, "loss": np.nan, "a": np.inf, "b": -np.inf},
        {"step": 10**15, "loss": 1.7e308, "a": 5e-324, "b": -0.0},
    ],
)
def test_a_row_is_read_as_it_was_written(row):
    assert repr(parse_row(to_text(row))) == repr(row)


def mended(folder):
    """Reopens a run; the rows before its newest checkpoint, and what it says."""
    about = folder.with_name("run.incomplete") / f"checkpoints/{STEP}/about/metadata"
    wanted = json.loads(about.read_text())["metrics"]
    with pytest.raises(KeyboardInterrupt), RunFolder(folder, resume=True) as reopened:
        rows = reopened.keep_metrics_before(STEP, wanted)
        raise KeyboardInterrupt  # it is not finished
    return rows, reopened.problems


def change_lines(folder, change):
    path = folder.with_name("run.incomplete") / "metrics.jsonl"
    path.write_bytes(change(path.read_bytes()))
    return path


def losses(rows):
    return [row["step"] for row in rows if "loss" in row]


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_the_other_rows_are_kept_and_the_loss_is_said(line, broken_off, tmp_path):
    folder = copy_of(broken_off, tmp_path / "run")

    def replace_a_row(content):
        lines = content.split(b"\n")
        (index,) = (i for i, x in enumerate(lines) if b'"step": 3,' in x)
        lines[index] = line
        return b"\n".join(lines)

    path = change_lines(folder, replace_a_row)
    damaged = path.read_bytes()
    rows, (problem,) = mended(folder)
    assert losses(rows) == [0, 1, 2, 4, 5, 6, 7]
    assert "metrics.jsonl is damaged: line" in problem and "cannot be read" in problem
    assert f"9 of 10 rows before step {STEP} can be read and are kept" in problem
    assert path.with_name("metrics.jsonl.damaged-1").read_bytes() == damaged
    assert [row for _, row in read_rows(path)[0]] == rows


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda x: b"", 0),  # empty
        (lambda x: b"\n".join(x.split(b"\n")[:4]) + b"\n", 4),  # cut between lines
        (lambda x: x[: len(x) // 2], 6),  # cut in a line
        (lambda x: x.replace(b'"step": 3', b'"step": 4', 1), 10),  # another step
        (lambda x: x.replace(b'"loss": 5', b'"loss": 6', 1), 10),  # another loss
        (lambda x: x + x, 20),  # twice
        (lambda x: bytes(len(x)), 0),  # zeros, as after a power cut
    ],
    ids=["empty", "cut", "half", "step", "loss", "twice", "zeros"],
)
def test_what_cannot_be_seen_in_a_line_is_seen_by_the_checksum(
    change, kept, broken_off, tmp_path
):
    folder = copy_of(broken_off, tmp_path / "run")
    change_lines(folder, change)
    rows, (problem,) = mended(folder)
    assert len(rows) == kept
    assert f"{kept} of 10 rows before step {STEP}" in problem


def test_a_lost_file_is_said(broken_off, tmp_path):
    folder = copy_of(broken_off, tmp_path / "run")
    (tmp_path / "run.incomplete/metrics.jsonl").unlink()
    rows, (problem,) = mended(folder)
    assert rows == [] and "0 of 10 rows" in problem


def test_what_came_after_the_checkpoint_may_be_damaged(broken_off, tmp_path):
    """It is written again: nothing is lost, and nothing is said."""
    folder = copy_of(broken_off, tmp_path / "run")
    change_lines(folder, lambda content: content + b'{"step": 9, "lo')
    rows, problems = mended(folder)
    assert (len(rows), problems) == (10, [])


@parametrize("name", ["garbled", "1e999", "blank"], quick=["garbled"])
def test_a_mended_run_goes_on_to_its_end(name, broken_off, whole, text, tmp_path):
    folder = copy_of(broken_off, tmp_path / "run")
    change_lines(folder, lambda x: x.replace(x.split(b"\n")[3], LINES[name], 1))
    console = Console(file=io.StringIO(), width=500)
    result = resumed(folder, console, data=text)
    assert "metrics.jsonl is damaged: line 4" in console.file.getvalue()
    assert len(result.updates["step"]) == 11
    ours = result.updates["loss"][-5:]
    assert ours.tolist() == whole.updates["loss"][-5:].tolist()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\xff", b'{"resumed": 1e999}', b"[" * 100_000, b"null"],
    ids=["empty", "half", "list", "bytes", "1e999", "deep", "null"],
)
def test_a_broken_environment_is_set_aside_and_said(content, broken_off, tmp_path):
    folder = copy_of(broken_off, tmp_path / "run")
    path = tmp_path / "run.incomplete/environment.json"
    path.write_bytes(content)
    with pytest.raises(KeyboardInterrupt), RunFolder(folder, resume=True) as reopened:
        assert reopened.read("environment.json") == {}
        raise KeyboardInterrupt
    (problem,) = reopened.problems
    assert "environment.json is damaged" in problem
    aside = path.with_name("environment.json.damaged-1")
    assert aside.name in problem and aside.read_bytes() == content


def test_a_broken_environment_does_not_stop_a_run(broken_off, whole, text, tmp_path):
    folder = copy_of(broken_off, tmp_path / "run")
    for name in ("environment.json", "config.json"):  # both are written again
        (tmp_path / "run.incomplete" / name).write_bytes(b'{"resumed": 3')
    result = resumed(folder, data=text)
    assert_same_training(result, whole)
    environment = json.loads((result.folder / "environment.json").read_text())
    assert [each["step"] for each in environment["resumed"]] == [STEP]


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_finished_run_with_such_a_line_is_refused_by_name(line, whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "run")
    path = tmp_path / "run/metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[4] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=r"metrics.jsonl: line 5 cannot be read"):
        load_result(tmp_path / "run")


def test_a_finished_run_with_fewer_rows_is_refused(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "run")
    path = tmp_path / "run/metrics.jsonl"
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[2:]))
    with pytest.raises(InputError, match="has 14 rows, and the run wrote 16"):
        load_result(tmp_path / "run")


@pytest.mark.parametrize("name", ["config.json", "summary.json", "moments.npz"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xff"])
def test_any_other_file_is_refused_by_name(name, content, whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        load_result(tmp_path / "run")


# Rows of other loggers may lack a step or a loss, have null for it, or a bare NaN.
OF_OTHERS = {"no step", "null for the loss", "bare NaN", "a text for the step"}


@pytest.mark.parametrize("name", sorted(LINES.keys() - OF_OTHERS))
def test_a_report_skips_no_line_in_silence(name, tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [to_text({"step": step, "loss": 5.5}) for step in range(3)]
    path.write_bytes(rows[0] + LINES[name] + b"\n" + rows[2])
    with pytest.raises(ValueError, match=r"metrics.jsonl: line 2 cannot be read"):
        _run_folders._logged_losses(path)


def test_a_report_reads_a_run_that_is_going(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 0, "loss": 5.5}\n{"step": 1, "heldout": 1}\n{"step": 2, "l'
    )
    assert _run_folders._logged_losses(path) == {0: 5.5}


def test_the_parser_says_what_is_wrong():
    for text, reason in {
        '{"a": 1e999}': "1e999 is too large",
        '{"a": -Infinity}': "-Infinity is not JSON",
        "[]": "no JSON object",
        "{": "Expecting",
    }.items():
        with pytest.raises(ValueError, match=reason):
            parse(text)

"""The published tables of costs say what they measured, and meet the goals."""

import re
import shutil

import pytest

from benchmarks import tables


@pytest.mark.parametrize("name", tables.TABLES)
def test_a_table_carries_its_commit_and_its_sources(name):
    assert tables.STAMP.search((tables.RESULTS / name).read_text("utf-8"))


def test_a_table_is_stale_once_a_source_changes(tmp_path):
    """Which is listed by `make bench-stale`, and fails no test."""
    for folder in ("optax_warmup", "benchmarks"):
        shutil.copytree(tables.ROOT / folder, tmp_path / folder)
    for name, table in tables.TABLES.items():
        path = tmp_path / "benchmarks/results" / name
        stamp = f"Commit `abc`, sources `{table.fingerprint(tmp_path)}`."
        path.write_text(tables.STAMP.sub(stamp, path.read_text("utf-8")), "utf-8")
    assert tables.stale(tmp_path) == []
    gate = tmp_path / "optax_warmup/_gate.py"
    gate.write_text(gate.read_text("utf-8") + "\n", "utf-8")
    assert tables.stale(tmp_path) == [
        "growth.md",
        "gpu_program.md",
        "automatic_cost.md",
        "diagnostics_cost.md",
    ]
    (tmp_path / "benchmarks/sweep_speed.py").write_text("")
    assert "sweep_speed.md" in tables.stale(tmp_path)


def rows(name):
    """The numbers of a table's rows, by the first cell."""
    found = {}
    for line in (tables.RESULTS / name).read_text("utf-8").splitlines():
        cells = [cell.strip(" `*") for cell in line.strip("|").split("|")]
        if line.startswith("|") and re.match(r"\d", cells[1]):
            found[cells[0]] = cells[1:]
    return found


def test_guards_and_the_record_cost_a_gpu_little():
    """In copies of the parameters: of the update alone, and of a training step."""
    found = rows("gpu_program.md")

    def cost(name):
        alone, _, copies, temporary, _, step_temporary = found[name]
        return float(alone), int(copies), float(temporary), float(step_temporary)

    cheap = "skip_nonfinite(adamw, check_updates=False)"
    for name in (cheap, "optax.apply_if_finite(adamw)"):
        alone, copies, temporary, step_temporary = cost(name)
        assert alone <= 8.01 and copies == 0
        assert temporary <= 0.03 and step_temporary <= 1.03
    alone, copies, temporary, step_temporary = cost("record_moments(adamw)")
    assert alone <= 7.05 and copies == 0
    assert temporary <= 0.03 and step_temporary <= 1.03


def test_schedules_take_at_most_three_times_the_operations_of_optaxs():
    for name, (ours, theirs, *_) in rows("schedule_speed.md").items():
        assert int(ours) <= 3 * int(theirs), name


def test_costs_grow_in_a_straight_line():
    """Twice the depth, arrays or groups are at most about twice the operations."""
    found = rows("growth.md")
    depths = [int(x.replace(",", "")) for x in found["rewarm"]]
    steps = [b - a for a, b in zip(depths, depths[1:], strict=False)]
    assert max(steps) <= 1.5 * min(steps)
    few, many = (found[n] for n in ("20", "40"))
    for before, after in zip(few[::2], many[::2], strict=True):
        assert int(after.replace(",", "")) <= 2.2 * int(before.replace(",", ""))
    segments = [int(x) for x in found["piecewise"]]
    assert max(segments[1:]) == min(segments[1:])
    theirs = found["optax.piecewise_interpolate_schedule"]
    assert segments[-1] <= 3 * int(theirs[-1])

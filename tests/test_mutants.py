"""The mutation score: which mistakes are made, and that missing tests are found."""

import json

import mutate
import pytest
from mutant_tests import Ran, bodies, chosen, judge
from mutants import Mutant, mutants

FILE = '''\
def clamp(x: int = 0, top: float = 0.5) -> int:
    """Bounds x."""
    if not isinstance(x, int):
        raise TypeError(f"{x} is above {top + 1}")
    check(x)
    return min(x, 3) if x < top else -x


def check(x):
    return x and True
'''


def changes(source):
    return {(m.line, m.before, m.after) for m in mutants("file.py", source)}


def test_every_kind_of_mistake_is_made():
    expected = {
        (1, "0", "1"),
        (1, "0", "-1"),
        (1, "0.5", "1.0"),
        (3, "not isinstance(x, int)", "isinstance(x, int)"),
        (4, "raise TypeError(f'{x} is above {top + 1}')", "pass"),
        (4, "top + 1", "top - 1"),
        (4, "1", "2"),
        (4, "1", "0"),
        (5, "check(x)", "pass"),
        (6, "min(x, 3) if x < top else -x", "-x if x < top else -x"),
        (6, "min(x, 3) if x < top else -x", "min(x, 3) if x < top else min(x, 3)"),
        (6, "min(x, 3)", "max(x, 3)"),
        (6, "3", "4"),
        (6, "3", "2"),
        (6, "x < top", "x <= top"),
        (6, "x < top", "x >= top"),
        (6, "-x", "x"),
        (10, "x and True", "x or True"),
        (10, "True", "False"),
    }
    assert changes(FILE) == expected


@pytest.mark.parametrize(
    ("source", "mutated"),
    [
        ("y = 2 * (a - b) / c\n", "y = 2 * (a + b) / c\n"),
        ("y = a**2 if a == b else -1\n", "y = a**2 if (a != b) else -1\n"),
        ("é = a - b  # é\n", "é = (a + b)  # é\n"),
        ('y = f"{a - b:g}"\n', "y = (f'{a + b:g}')\n"),
        ("y -= x % 2\n", "y += x % 2\n"),
    ],
)
def test_a_mutant_is_the_file_with_one_mistake(source, mutated):
    found = [
        mutant.text.replace("((a + b))", "(a + b)") for mutant in mutants("", source)
    ]
    assert mutated in found


def test_a_function_may_return_what_another_branch_does():
    source = "def f(x):\n    if x:\n        return g(x)\n    return x\n"
    assert (3, "return g(x)", "return x") in changes(source)
    assert (4, "return x", "return g(x)") in changes(source)


def test_names_stay_where_other_lines_are_edited():
    one = {m.name for m in mutants("file.py", FILE)}
    other = {m.name for m in mutants("file.py", f"z = w\n\n\n{FILE}")}
    assert one == other
    assert len(one) == len(changes(FILE))
    assert one.isdisjoint(m.name for m in mutants("file2.py", FILE))


def test_tests_of_the_function_are_chosen_and_the_nearest_come_first():
    [mutant] = [m for m in mutants("file.py", FILE) if m.before == "x < top"][:1]
    assert mutant.function == "clamp"
    clamp, check, far = "file.py::clamp", "file.py::check", "other.py::f"
    near = Ran("near", frozenset({clamp}), 10)
    wide = Ran("wide", frozenset({clamp, check, far, "other.py::g"}), 10)
    beside = Ran("beside", frozenset({check}), 10)
    measured = [wide, beside, near]
    assert chosen(mutant, measured, 60) == [near, wide]
    assert chosen(mutant, measured, 10) == [near]
    assert chosen(mutant, [beside, Ran("far", frozenset({far}), 1)], 60) == [beside]
    assert bodies(FILE)["clamp"] == {2, 3, 4, 5, 6}


@pytest.fixture
def repository(tmp_path):
    """A package of one module, with a test that forgets the end of its range."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake/__init__.py").write_text("")
    (tmp_path / "fake/core.py").write_text("def small(x):\n    return x < 10\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_core.py").write_text(
        "from fake.core import small\n\n\n"
        "def test_small():\n    assert small(9) and not small(11)\n"
    )
    (tmp_path / "tests/test_broken.py").write_text(
        "def test_broken():\n    assert False\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\nmarkers = ['slow']\n"
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.train  # it starts Python for each mutant
def test_what_no_test_notices_is_listed_and_kept(repository, capsys, monkeypatch):
    options = mutate.Options(["core"], root=repository, package="fake")
    rows = mutate.run(options)
    assert "test_broken.py is left out" in capsys.readouterr().out
    found = {r["after"]: r["verdict"] for r in rows.values()}
    live, dead = "survived", "killed"
    assert found == {"x <= 10": live, "11": live, "x >= 10": dead, "9": dead}
    killed = [r for r in rows.values() if r["verdict"] == "killed"]
    assert {r["by"].partition("::")[0] for r in killed} == {"tests/test_core.py"}
    source = (repository / "fake/core.py").read_text()
    assert "x < 10" in source

    # A judgement stays, and what is known is not tried again.
    path = repository / mutate.RESULTS
    judged = [json.loads(line) for line in path.read_text().splitlines()]
    for row in judged:
        if row["after"] == "x <= 10":
            row.update(equivalent=True, reason="10 is never asked for")
    path.write_text("".join(json.dumps(row) + "\n" for row in judged))
    monkeypatch.setattr(mutate, "_try_all", None)
    rows = mutate.run(options)
    page = mutate.table(list(rows.values()))
    assert "| core | 4 | 2 | 1 | 67% | " in page
    assert "`x < 10` → `x <= 10` | equivalent: 10 is never asked for |" in page
    assert "`10` → `11` | none yet (survived, 1 files) |" in page


@pytest.mark.slow
@pytest.mark.parametrize("endless", ["time.sleep(600)", "while True: pass"])
def test_a_mutant_without_end_is_stopped(endless, repository, monkeypatch):
    monkeypatch.setattr("mutant_tests.STARTUP", 8.0)
    text = (
        "import pathlib\nimport time\n\n\ndef small(x):\n"
        f"    pathlib.Path('reached').touch()\n    {endless}\n"
    )
    mutant = Mutant("fake/core.py", "small", 5, "", "", text, "name")
    ran = Ran("tests/test_core.py", frozenset({"fake/core.py::small"}), 0)
    before = (repository / "fake/core.py").read_text()
    assert judge(repository, mutant, [ran]).verdict == "timeout"
    assert (repository / "reached").exists()  # it was not the start that took so long
    assert (repository / "fake/core.py").read_text() == before
    assert judge(repository, mutant, []).verdict == "not run"


@pytest.mark.slow
def test_a_busy_machine_does_not_look_like_a_mutant_without_end(
    repository, monkeypatch
):
    monkeypatch.setattr("mutant_tests.STARTUP", 0.1)  # less than Python's start
    monkeypatch.setattr("mutant_tests.WAITING", 0.1)
    mutant = Mutant("fake/core.py", "small", 1, "", "", "def small(x): pass", "name")
    ran = Ran("tests/test_core.py", frozenset({"fake/core.py::small"}), 0)
    found = judge(repository, mutant, [ran])
    assert (found.verdict, found.by) == ("not run", "the machine is too busy")


def test_an_unknown_room_is_named(repository):
    with pytest.raises(
        SystemExit, match="no room 'cellar'; the rooms are __init__.py, core"
    ):
        mutate.run(mutate.Options(["cellar"], root=repository, package="fake"))


def test_a_sample_is_a_prefix_of_a_larger_one(repository):
    def names(number, seed=0):
        options = mutate.Options([], number, seed, root=repository, package="fake")
        return [mutant.name for mutant in mutate.sample(options, "core")]

    assert names(3) == names(8)[:3]
    assert names(8) != names(8, seed=1)


def test_the_interval_of_a_score():
    row = {"verdict": "killed", "equivalent": False}
    live = {"verdict": "survived", "equivalent": False}
    # Newcombe (1998), table I: 81 of 263.
    assert mutate.score([row] * 81 + [live] * 182).endswith("31% | 26% to 37% |")
    assert mutate.score([{**live, "equivalent": True}]) == "1 | 0 | 1 | - | - |"

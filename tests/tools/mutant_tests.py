"""Which test files run which functions, and what they say about a mutant.

Each test file runs once under `coverage`, in a process of its own. A file that fails
there is left out. What was measured is kept until the test file changes. Times are
those of the processor, so that a busy machine does not look like a test without end.
"""

import ast
import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mutants import FUNCTIONS, Mutant

LEFT_OUT = (".git", ".venv*", ".cache", ".*_cache", "__pycache__", "runs", "build")
PYTEST = ("-m", "pytest", "-n", "0", "-x", "-q", "-rfE", "-p", "no:cacheprovider")
STARTUP = 60.0  # seconds that a process may take before its tests
WAITING = 4.0  # seconds that may pass for each that a processor works
# Python that bounds its CPU time and memory, and becomes the command. (A `preexec_fn`
# forks, which JAX warns of where it runs in the same process.)
BOUNDED = """
import os, resource, sys
seconds = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
resource.setrlimit(resource.RLIMIT_DATA, (2**33, 2**33))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
PASSED, NONE_CHOSEN = 0, 5  # pytest's exit codes


@dataclasses.dataclass(frozen=True)
class Ran:
    """What one test file ran: functions by "file::name", in how much CPU time."""

    test: str
    functions: frozenset[str]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the tests say about a mutant: killed, timeout, survived, or not run."""

    verdict: str
    by: str  # the first test that fails
    tests: int  # how many test files were chosen


@contextlib.contextmanager
def copy_of(root: Path) -> Iterator[Path]:
    """A copy of the repository in a temporary folder, without what is generated."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(root, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
        yield tree


def measure(
    tree: Path, package: str, tests: Iterable[str], cache: Path, timeout: float
) -> list[Ran]:
    """What each test file runs, measured where it is not known."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for test in tests:
        digest = hashlib.sha256((tree / test).read_bytes()).hexdigest()[:16]
        path = cache / f"{test.replace('/', '-')}-{digest}.json"
        if not path.exists():
            new = _measured(tree, package, test, timeout)
            if new is None:
                continue  # it is tried again at the next run
            path.write_text(json.dumps(new))
        known = json.loads(path.read_text())
        if known["functions"]:
            functions = frozenset(known["functions"])
            found.append(Ran(test, functions, known["seconds"]))
    return found


def _measured(
    tree: Path, package: str, test: str, timeout: float
) -> dict[str, object] | None:
    import coverage

    data_file = tree.parent / "coverage"
    data_file.unlink(missing_ok=True)
    options = ("run", f"--data-file={data_file}", f"--source={package}")
    began = _cpu_seconds()
    code, output = _run(
        tree, ["-m", "coverage", *options, *PYTEST, "-m", "not slow", test], timeout
    )
    seconds = _cpu_seconds() - began
    functions: list[str] = []
    if code == PASSED:
        data = coverage.CoverageData(str(data_file))
        data.read()
        for file in data.measured_files():
            path = str(Path(file).relative_to(tree))
            ran = set(data.lines(file) or ())
            for name, lines in bodies((tree / path).read_text()).items():
                if ran & lines:
                    functions.append(f"{path}::{name}")
    elif code != NONE_CHOSEN:
        long = code in (None, -signal.SIGXCPU)
        why = "takes too long" if long else f"does not pass: {output[-300:]}"
        print(f"    {test} is left out, it {why}", flush=True)
        return None
    print(
        f"    measured {test}: {len(functions)} functions, {seconds:.0f} s", flush=True
    )
    return {"functions": functions, "seconds": seconds}


def bodies(source: str) -> dict[str, set[int]]:
    """The lines of the body of each function, by its qualified name."""
    found: dict[str, set[int]] = {}

    def walk(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
                inner = f"{name}.{child.name}".removeprefix(".")
            if isinstance(child, FUNCTIONS):
                first, last = child.body[0].lineno, child.body[-1].end_lineno or 0
                found.setdefault(inner, set()).update(range(first, last + 1))
            walk(child, inner)

    walk(ast.parse(source), "")
    return found


def chosen(mutant: Mutant, measured: list[Ran], seconds: float) -> list[Ran]:
    """The test files for a mutant, those first that are most about its file.

    They are the examples in its own file, and those that run its function, or any
    function of its file where it is in none; as many as fit into the seconds.
    """
    inside = f"{mutant.path}::{mutant.function}"
    of_file = f"{mutant.path}::"

    def share(ran: Ran) -> float:
        own = sum(name.startswith(of_file) for name in ran.functions)
        return own / len(ran.functions)

    able = [ran for ran in measured if inside in ran.functions]
    able = able or [ran for ran in measured if share(ran)]
    kept = [Ran(mutant.path, frozenset(), 20.0)] if ">>> " in mutant.text else []
    for ran in sorted(able, key=share, reverse=True):
        if sum(other.seconds for other in kept) + ran.seconds <= seconds:
            kept.append(ran)
    return kept


def judge(tree: Path, mutant: Mutant, tests: list[Ran]) -> Verdict:
    """Runs the tests on the mutant, in the copy, which is as it was afterwards."""
    if not tests:
        return Verdict("not run", "", 0)
    limit = STARTUP + 4 * sum(ran.seconds for ran in tests)
    file = tree / mutant.path
    whole = file.read_text()
    file.write_text(mutant.text)
    try:
        names = [ran.test for ran in tests]
        code, output = _run(tree, [*PYTEST, "-m", "not slow", *names], limit)
    finally:
        file.write_text(whole)
    if code == -signal.SIGXCPU:
        return Verdict("timeout", "", len(tests))
    if code is None:  # it waits for ever, or the machine has had no time for it
        code, _ = _run(tree, [*PYTEST, "-m", "not slow", *names], limit)
        if code == PASSED:
            return Verdict("timeout", "", len(tests))
        return Verdict("not run", "the machine is too busy", len(tests))
    if code == PASSED:
        return Verdict("survived", "", len(tests))
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
    if failed or code < 0 or "ImportError" in output:
        by = failed.group(1) if failed else "import" if code > 0 else "crash"
        return Verdict("killed", by, len(tests))
    return Verdict("not run", f"pytest ended with {code}", len(tests))


def _cpu_seconds() -> float:
    """Of all processes that have been started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(tree: Path, command: list[str], limit: float) -> tuple[int | None, str]:
    """The exit code and output of Python in the tree.

    It is -SIGXCPU where one process has used its limit of CPU time, and None where it
    has not ended after several times as long.
    """
    # No bytecode: a mutant may have the size and the second of the file before it.
    settings = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", BOUNDED, str(math.ceil(limit)), *command],
        cwd=tree,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=WAITING * limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with what the tests have started
        process.communicate()
        return None, ""
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process.returncode, output

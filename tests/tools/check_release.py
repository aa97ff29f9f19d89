"""Builds a release from what is committed, and uses it as somebody else would.

    python tests/tools/check_release.py     # or `make release-check`

It builds both distributions and checks them, installs the wheel alone into an empty
environment and runs the README's Python there, and unpacks the source distribution,
installs its extra `dev`, collects the tests and runs some. Everything is in
build/release/. The placeholders that are left are listed; they are no failure.
"""

import io
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "release"
PLACEHOLDERS = re.compile(
    r"https://example\.com/optax_warmup|REPOSITORY_URL|SECURITY_CONTACT|CONDUCT_CONTACT"
    r"|no release on (?:PyPI|a package index) yet"
)
PLACES = (
    *("README.md", "pyproject.toml", "CITATION.cff", "SECURITY.md"),
    *("CODE_OF_CONDUCT.md", "docs/site/index.md"),
)
QUICK = ("test_release.py", "test_command.py", "test_durations.py", "test_values.py")


def main() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    source = committed(WORK / "source")
    wheel, archive = build(source)
    try_wheel(wheel)
    try_source(archive)
    print(f"== Checked with Python {sys.version.split()[0]}: {WORK / 'dist'}")
    for line in placeholders():
        print(f"placeholder: {line}")


def committed(folder: Path) -> Path:
    """The files of the last commit, without those that are only in this folder."""
    made = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def build(source: Path) -> tuple[Path, Path]:
    tools = environment("tools", "build", "twine")
    run(tools, "-m", "build", "--outdir", WORK / "dist", source)
    dist = sorted((WORK / "dist").iterdir())
    run(tools, "-m", "twine", "check", "--strict", *dist)
    wheel, archive = sorted(dist, key=lambda path: path.suffix != ".whl")
    return wheel, archive


def try_wheel(wheel: Path) -> None:
    """The README by somebody who has nothing but the wheel."""
    python = environment("empty", wheel)
    folder = WORK / "nowhere"
    folder.mkdir()
    run(python, "-m", "optax_warmup", "--version", cwd=folder)
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S
    )
    first, every = folder / "first.py", folder / "every.py"
    first.write_text(blocks[0])
    every.write_text("\n".join(blocks))
    for program in (first, every):
        run(python, "-W", "error", program, cwd=folder)


def try_source(archive: Path) -> None:
    """The tests by somebody who packages it for a distribution."""
    folder = WORK / "unpacked"
    with tarfile.open(archive) as unpacked:
        unpacked.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    python = environment("dev", f"{source}[dev]")
    test = ("-m", "pytest", "-q", "-n", "0", "-m", "not slow")
    run(python, *test, "--collect-only", cwd=source, tail=1)
    run(python, *test, *(f"tests/{name}" for name in QUICK), cwd=source, tail=5)


def environment(name: str, *packages: object) -> Path:
    """A new environment with these packages; returns its Python."""
    print(f"== {name}: installs {' '.join(map(str, packages))}", flush=True)
    venv.create(WORK / name, with_pip=True)
    windows = sys.platform == "win32"
    python = WORK / name / ("Scripts/python.exe" if windows else "bin/python")
    run(python, "-m", "pip", "install", "--quiet", *packages)
    return python


def run(python: Path, *arguments: object, cwd: Path = WORK, tail: int = 0) -> None:
    """Runs a program; `tail` prints its last lines alone."""
    command = [str(python), *map(str, arguments)]
    print(f"== {' '.join(command[1:])}"[:200], flush=True)
    if not tail:
        subprocess.run(command, cwd=cwd, check=True)
        return
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    print("\n".join(lines[-tail:] if done.returncode == 0 else lines[-60:]))
    done.check_returncode()


def placeholders() -> list[str]:
    return [
        f"{name}:{number}: {found[0]}"
        for name in PLACES
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1)
        if (found := PLACEHOLDERS.search(line))
    ]


if __name__ == "__main__":
    main()

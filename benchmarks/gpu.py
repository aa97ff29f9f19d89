"""Runs all measurements that need a GPU, within 10 minutes.

    PYTHONPATH=. python -m benchmarks.gpu [--quick] [--output FILE.md]

Each part is a process of its own with a time limit, so a failure does not stop the
others. The output of a part is kept even if it fails, and the page is written again
after each part. On a CPU it runs with small sizes.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "benchmarks" / "results" / "gpu.md"
TOTAL_SECONDS = 580
DEVICE = """
import jax
print(f"{jax.device_count()} x {jax.devices()[0].device_kind}", jax.default_backend())
"""
PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch")


class Part(NamedTuple):
    """A section of the page: the output of a module."""

    title: str
    arguments: list[str]
    seconds: float


def parts(gpu: bool, quick: bool) -> list[Part]:
    small = ["--quick"] if quick else []
    preset = ["--preset", "gpt2" if gpu else "demo"]
    rounds = ["--rounds", "10" if gpu else "40"]
    return [
        Part(
            "Training speed",
            ["benchmarks.training_speed", *preset, *rounds, *small],
            200,
        ),
        Part(
            "The example's options: accumulation, record, automatic warmup, FSDP",
            ["benchmarks.example_options", *preset, *rounds, *small],
            120,
        ),
        Part(
            "A sweep of 64 configurations in one program",
            ["benchmarks.sweep_speed", "--on-device", "8" if quick else "64"],
            90,
        ),
        Part("Warm start", ["benchmarks.warm_start", *preset, *small], 80),
        Part(
            "What the record costs, by variant",
            ["benchmarks.diagnostics_cost", *rounds, *small],
            120,
        ),
    ]


def run(arguments: list[str], seconds: float) -> tuple[str, str | None]:
    """The output of a Python program, and the reason if it failed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=errors,
            start_new_session=True,  # so that its child processes end with it
        )
        try:
            code = process.wait(max(seconds, 0))
            why = f"it exited with {code}" if code else None
        except subprocess.TimeoutExpired:
            why = f"it was stopped after {max(seconds, 0):.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        text, said = read(out), read(errors).splitlines()
    if why and said:
        why = f"{why}; its last words: {said[-1].strip()}"
    return text, why


def read(file: IO[str]) -> str:
    file.seek(0)
    return file.read().replace("\r", "\n").strip()


def section(part: Part, text: str, why: str | None) -> str:
    """The output of a part under a heading; its own headings move one level down."""
    lines = [f"#{line}" if line.startswith("#") else line for line in text.splitlines()]
    if lines and lines[0].startswith("## "):
        del lines[0]  # repeats the title
    body = "\n".join(lines).strip().replace("\n\n\n", "\n\n")
    note = f"**Not complete: {why}.**" if why else ""
    return "\n\n".join(filter(None, [f"## {part.title}", body, note]))


def head(device: str) -> str:
    packages = ", ".join(f"{name} {installed(name)}" for name in PACKAGES)
    return (
        f"# Measurements on {device}\n\nMade by `python -m benchmarks.gpu` (`make "
        f"bench-gpu`) with Python {platform.python_version()}, {packages}."
    )


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def measure(chosen: list[Part], deadline: float) -> Iterator[tuple[str, bool]]:
    """The section of each part, and whether it is complete."""
    for part in chosen:
        print(f"==> {part.title} (at most {part.seconds:.0f} s)", flush=True)
        left = deadline - time.monotonic()
        text, why = run(["-m", *part.arguments], min(part.seconds, left))
        made = section(part, text, why)
        print(f"{made}\n", flush=True)
        yield made, why is None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny, for a test")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="Markdown file to write"
    )
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + TOTAL_SECONDS
    # In a process of its own, since this one must not hold the GPU's memory.
    found, why = run(["-c", DEVICE], 60)
    if why:
        print(f"error: JAX does not start: {why}", file=sys.stderr)
        return 1
    device, backend = found.splitlines()[-1].rsplit(" ", 1)
    page, failures = [head(device)], 0
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for made, complete in measure(parts(backend == "gpu", options.quick), deadline):
        page.append(made)
        failures += not complete
        options.output.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    print(f"{options.output} is written; {failures} parts are not complete.")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())

"""What prepared tokens cost: memory and time to make them, and memory to read them.

    python -m benchmarks.prepared_tokens [--megabytes 200] [--folder DIR] [--write]

The text is the standard library's source, file by file, with paragraphs in random
order, until it is large enough. Seconds are CPU time, which a busy machine changes
little. Memory of the readers is what Linux says of each process after 500 batches: its
private memory, and its share of the pages that processes have in common.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from examples.transformer.core.text import list_files

RESULT = Path(__file__).parent / "results" / "prepared_tokens.md"
SHAPE = {"batch_size": 32, "length": 1024}
BATCHES = 500
KINDS = {"bytes": [], "8,192 byte pairs": ["--tokenizer", "train"]}


class Cost(NamedTuple):
    peak: float  # MB
    seconds: float  # of CPU
    printed: str


def write_text(folder: Path, megabytes: float) -> Path:
    """A folder of files, the same for the same arguments."""
    rng, size = random.Random(0), 0
    texts = [path.read_text("utf-8") for path in list_files(None)[1]]
    for number in range(10**9):
        if size >= megabytes * 1e6:
            break
        paragraphs = rng.choice(texts).split("\n\n")
        rng.shuffle(paragraphs)
        path = folder / f"{number // 1000}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        size += path.write_bytes("\n\n".join(paragraphs).encode())
    return folder


def prepare(data: Path, output: Path, options: list[str]) -> Cost:
    words = [sys.executable, "-m", "examples.transformer.prepare", "--overwrite"]
    words += ["--data", str(data), "--output", str(output), *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(printed)
    return Cost(usage.ru_maxrss / 1e3, usage.ru_utime + usage.ru_stime, printed)


def read(data: str, seed: int) -> None:
    """A process that reads batches, and prints what memory that took, in MB."""
    from examples.transformer.core.data import load_corpus, training_batch

    before = memory()
    corpus = load_corpus(data, length=SHAPE["length"])
    began = time.process_time()
    for step in range(BATCHES):
        training_batch(corpus, seed, step, **SHAPE)  # type: ignore[arg-type]
    rate = BATCHES / (time.process_time() - began)
    print("ready", flush=True)
    sys.stdin.read()  # until all have read
    print(*(x - y for x, y in zip(memory(), before, strict=True)), rate)


def memory() -> list[float]:
    text = Path("/proc/self/smaps_rollup").read_text()
    names = ("Anonymous:", "Pss:")
    return [int(text.split(name)[1].split()[0]) / 1e3 for name in names]


def readers(data: Path, count: int) -> tuple[float, float, float]:
    """Private MB and shared MB of all readers, and batches a CPU second of each."""
    words = [sys.executable, "-m", "benchmarks.prepared_tokens", "--read", str(data)]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen([*words, str(n)], stdin=pipe, stdout=pipe, text=True)
        for n in range(count)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    rows = []
    for process in started:  # all of them still hold what they read
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        rows.append([float(x) for x in process.stdout.read().split()])
        # The share of those that have ended would fall on the others: so the first
        # counts for all.
    private, shared, rate = rows[0]
    return private * count, max(shared - private, 0) * count, rate


def measure(folder: Path, megabytes: float) -> str:
    lines = [
        "# Prepared tokens",
        "",
        f"Command: `python -m benchmarks.prepared_tokens --megabytes {megabytes:g}`.",
        "",
        "| tokens | text | peak memory | MB a CPU second |",
        "|---|---:|---:|---:|",
    ]
    for size in (megabytes / 4, megabytes):
        text = write_text(folder / f"text-{size:g}", size)
        for name, options in KINDS.items():
            output = folder / name.split()[-1]
            cost = prepare(text, output, options)
            rate = size / cost.seconds
            lines.append(f"| {name} | {size:g} MB | {cost.peak:.0f} MB | {rate:.3g} |")
            print(lines[-1], flush=True)
    lines += [
        "",
        "A tokenizer is trained on 100 MB of the text at most, within these seconds.",
        "",
        "| processes that read | private memory of all | shared memory | batches a CPU "
        "second |",
        "|---|---:|---:|---:|",
    ]
    for name, data in (("text", text), ("prepared", folder / "bytes")):
        for count in (1, 8):
            private, shared, rate = readers(data, count)
            lines.append(
                f"| {count}, {name} | {private:.0f} MB | {shared:.0f} MB | {rate:.0f} |"
            )
            print(lines[-1], flush=True)
    lines += ["", f"A batch is {SHAPE['batch_size']} x {SHAPE['length']} bytes."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=200.0)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read[0], int(options.read[1]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        text = measure(options.folder or Path(temporary), options.megabytes)
    if options.write:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

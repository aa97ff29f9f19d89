"""What the tests of `optax-warmup watch` share: a run, and what is shown as text."""

import json


def lines_of(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def a_run(folder, count=20, **more):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"step": s, "loss": 5 / (s + 1), "learning_rate": s / 1e3} | more
        for s in range(count)
    ]
    (folder / "metrics.jsonl").write_bytes(lines_of(rows))
    return folder


def texts(lines):
    return ["".join(span.text for span in line) for line in lines]

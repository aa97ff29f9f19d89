"""A training that is killed while it writes a checkpoint: run by
tests/test_example_transformer_resume.py.

Arguments: the step of the checkpoint, then those of the trainer. A thread waits for the
checkpoint's unfinished folder to appear, and kills its own process with signal 9.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from examples.transformer.run import train


def kill_when_it_saves(step, run):
    unfinished = f"checkpoints/{step}.orbax-checkpoint-tmp*"
    folder = Path(run + ".incomplete")
    while not list(folder.glob(unfinished)):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    step, *arguments = sys.argv[1:]
    run = arguments[arguments.index("--run-dir") + 1]
    threading.Thread(target=kill_when_it_saves, args=(step, run), daemon=True).start()
    sys.exit(train.main(arguments))

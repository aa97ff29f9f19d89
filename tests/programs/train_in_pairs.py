"""One of two processes that train together: run by
tests/test_example_transformer_devices.py.

Arguments: the batch before which this process kills itself with signal 9, once the
checkpoint of step 4 is complete, or -1; then those of the trainer. At the end each
process prints what it reads of the record.
"""

import hashlib
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import optax_warmup as ow
from examples.transformer.run import train, training


def main(step, *arguments):
    saved = Path(arguments[arguments.index("--run-dir") + 1] + ".incomplete")
    calls = itertools.count()

    def put_until(*arguments):
        if next(calls) == int(step):
            while not (saved / "checkpoints" / "4").is_dir():
                time.sleep(0.01)  # written in the background
            os.kill(os.getpid(), signal.SIGKILL)
        return put_batch(*arguments)

    def tell(folder, plan, state, seconds):
        history = ow.read_moments(state.opt_state)
        values = b"".join(x.tobytes() for x in history.statistics.values())
        print("record", hashlib.sha256(values).hexdigest(), len(history.steps))
        write_summary(folder, plan, state, seconds)

    put_batch, write_summary = training.put_batch, train.write_summary
    training.put_batch, train.write_summary = put_until, tell
    return train.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

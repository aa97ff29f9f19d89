"""A training with slow updates, so that a signal can come in the middle: run by
tests/faults/test_stopped.py.

Arguments: the seconds that each batch takes, then those of the trainer.
"""

import sys
import time

from examples.transformer.run import train, training


def main(seconds, *arguments):
    def put_slowly(*batch):
        time.sleep(float(seconds))
        return put_batch(*batch)

    put_batch = training.put_batch
    training.put_batch = put_slowly
    return train.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

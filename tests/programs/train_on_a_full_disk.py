"""A training on a disk that fills up at a step: run by
tests/test_example_transformer_resume.py.

Arguments: the step, then those of the trainer. From that step on no file may grow
beyond what it has, which to the writing program looks as a full disk does.
"""

import resource
import sys

from examples.transformer.run import train, training

BYTES = 4096  # more than nothing, so that small files still fit


def main(step, *arguments):
    def batches_until_full(make, *rest):
        def make_and_fill(at):
            if at == int(step):
                resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES, BYTES))
            return make(at)

        return batches(make_and_fill, *rest)

    batches = training.batches
    training.batches = batches_until_full
    return train.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

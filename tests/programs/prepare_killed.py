"""A preparation that is killed by signal 9 after its first commits: run by
tests/test_example_transformer_prepare.py.

Arguments: after how many commits, then those of the command. It encodes and commits
little at a time.
"""

import os
import signal
import sys

from examples.transformer.prepare import __main__ as command, encode

if __name__ == "__main__":
    commits, *arguments = sys.argv[1:]
    left, commit = int(commits), encode.Work.commit
    encode.BATCH, encode.COMMIT = 2_000, 5_000

    def commit_and_die(work):
        global left
        commit(work)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    encode.Work.commit = commit_and_die
    sys.exit(command.main(arguments))

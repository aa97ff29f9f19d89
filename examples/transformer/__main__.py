"""Command: `python -m examples.transformer` trains; the same as `.train`."""

import sys

from .run.train import main

if __name__ == "__main__":
    sys.exit(main())

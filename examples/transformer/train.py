"""Command: `python -m examples.transformer.train --help`."""

import sys

from .run.train import main

if __name__ == "__main__":
    sys.exit(main())

"""Command: `python -m examples.transformer.sample --help`."""

import sys

from .run.sample import main

if __name__ == "__main__":
    sys.exit(main())

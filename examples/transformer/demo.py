"""Command: `python -m examples.transformer.demo`."""

import sys

from .run.demo import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m optax_warmup` is the command `optax-warmup`."""

import sys

from optax_warmup._command import main

sys.exit(main())

"""Programs for tests in which more time goes into compiling than into running.

What is compared bit for bit is compiled as users compile it, by `jax.jit` as it is.
"""

import functools

import jax

quickly = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)

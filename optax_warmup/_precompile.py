"""Ahead-of-time compilation: a jitted function is ready before its first call."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# A fixed number: if it depended on the clock, processes that communicate inside the
# function could make different numbers of calls, and wait for each other for ever.
_STEADY_CALLS = 3


@dataclass(frozen=True, eq=False, repr=False)
class Precompiled:
    """A compiled function, and how long its start took.

    Call it like the jitted function, without the static arguments: their values are
    compiled in. Arguments with another structure, shape, dtype or sharding raise a
    TypeError or ValueError that says which differ.

    Attributes:
        name: the name of the function.
        compiled: the `jax.stages.Compiled` behind it.
        trace_seconds: the time to trace and lower the function, which no cache saves.
        compile_seconds: the time to compile it, or to load it from the persistent
            cache.
        first_call_seconds: the time of the first call, on zeros.
        steady_seconds: the median time of the next calls.
        flops: the floating-point operations of one call as XLA counts them (the body of
            a loop once, custom kernels not at all), or None if XLA does not say.
        bytes_accessed: the bytes of operands and results of one call, counted likewise.

    Example:
        >>> import jax, jax.numpy as jnp, optax_warmup as ow
        >>> warm = ow.precompile(jax.jit(lambda x: 2 * x), jnp.zeros(3))
        >>> warm(jnp.array([1.0, 2.0, 3.0]))
        Array([2., 4., 6.], dtype=float32)
        >>> warm.flops
        3.0
    """

    name: str
    compiled: jax.stages.Compiled
    trace_seconds: float
    compile_seconds: float
    first_call_seconds: float
    steady_seconds: float
    flops: float | None
    bytes_accessed: float | None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled(*args, **kwargs)

    def __repr__(self) -> str:
        counts = [
            _in_units(count, unit)
            for count, unit in ((self.flops, "FLOP"), (self.bytes_accessed, "B"))
            if count is not None
        ]
        return (
            f"{self.name}: traced in {_in_units(self.trace_seconds, 's')}, "
            f"compiled in {_in_units(self.compile_seconds, 's')}; "
            f"first call {_in_units(self.first_call_seconds, 's')}, "
            f"then {_in_units(self.steady_seconds, 's')}"
            + (f" ({', '.join(counts)})" if counts else "")
        )


def precompile(
    function: jax.stages.Wrapped, /, *args: Any, **kwargs: Any
) -> Precompiled:
    """Compiles a jitted function ahead of time, and runs it on zeros.

    Everything that happens only once is then done before the first real call: tracing,
    compilation (or loading from JAX's persistent cache, if `jax_compilation_cache_dir`
    is set), and the first-time work of the device. Call what `precompile` returns: JAX
    does not guarantee that `function` itself finds the compiled program again.

    The zeros have the shapes and shardings of the arguments and take memory during the
    calls. The arguments themselves are not touched, even if the function donates them.
    Callbacks inside the function are called. If `function` needs a mesh
    (`jax.set_mesh`), call `precompile` under it, and on all processes.

    Args:
        function: a function from `jax.jit`; it may have static or donated arguments.
        *args: its arguments; a `jax.ShapeDtypeStruct`, with a `sharding` if that
            matters, may stand for an array (`jax.eval_shape` makes a tree of them).
            Static arguments with the values that they will have.
        **kwargs: its keyword arguments, likewise.

    Returns:
        A `Precompiled`, which is called like `function` without static arguments.

    Raises:
        TypeError: `function` is not jitted, or an argument is neither an array nor a
            `ShapeDtypeStruct` nor static.

    Example:
        >>> import jax, jax.numpy as jnp, optax_warmup as ow
        >>> step = jax.jit(lambda w, x: w - 0.1 * x, donate_argnums=0)
        >>> shape = jax.ShapeDtypeStruct((3,), jnp.float32)
        >>> warm = ow.precompile(step, shape, shape)
        >>> warm  # doctest: +ELLIPSIS
        <lambda>: traced in ...s, compiled in ...s; first call ...s, then ...s (...)
        >>> warm(jnp.ones(3), jnp.ones(3))
        Array([0.9, 0.9, 0.9], dtype=float32)

    Source: JAX, "Ahead-of-time lowering and compilation",
    https://docs.jax.dev/en/latest/aot.html
    """
    _require(isinstance(function, jax.stages.Wrapped), function)
    began = time.perf_counter()
    lowered = function.lower(*args, **kwargs)
    _require(isinstance(lowered, jax.stages.Lowered), function)
    traced = time.perf_counter()
    compiled = lowered.compile()
    ended = time.perf_counter()
    first, *others = _calls(compiled)
    costs = compiled.cost_analysis() or {}
    return Precompiled(
        name=getattr(function, "__name__", repr(function)),
        compiled=compiled,
        trace_seconds=traced - began,
        compile_seconds=ended - traced,
        first_call_seconds=first,
        steady_seconds=float(np.median(others)),
        flops=_count(costs.get("flops")),
        bytes_accessed=_count(costs.get("bytes accessed")),
    )


def _require(jitted: bool, function: Any) -> None:
    if not jitted:
        raise TypeError(
            f"precompile: function must be jitted by jax.jit, got {function!r}; "
            "pass jax.jit(function), with its static and donated arguments."
        )


def _calls(compiled: jax.stages.Compiled) -> list[float]:
    """Returns the seconds of each of the first calls, on zeros."""
    zeros = jax.jit(
        lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), compiled.args_info),
        out_shardings=compiled.input_shardings,
    )
    seconds = []
    # Zeros may well produce NaN, which these calls must not report.
    with jax.debug_nans(False), jax.debug_infs(False):
        for _ in range(1 + _STEADY_CALLS):
            # New zeros each time, since the function may donate its arguments.
            args, kwargs = _ready(zeros())
            began = time.perf_counter()
            _ready(compiled(*args, **kwargs))
            seconds.append(time.perf_counter() - began)
    return seconds


def _ready(arrays: Any) -> Any:
    """Waits for the arrays of a tree."""
    return jax.block_until_ready(arrays)


def _count(x: float | None) -> float | None:
    """Returns a count of XLA's, which is -1 if it does not know."""
    return None if x is None or x < 0 else float(x)


def _in_units(x: float, unit: str) -> str:
    """Formats with three digits and a prefix: 0.0213 s is 21.3 ms."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= factor and unit != "s":
            return f"{x / factor:.3g} {prefix}{unit}"
    if unit != "s" or x >= 1:
        return f"{x:.3g} {unit}"
    return f"{x * 1e3:.3g} ms" if x >= 1e-3 else f"{x * 1e6:.3g} us"

"""How much memory a compiled program needs, and how much is free."""

import math
import os
from collections.abc import Sequence
from typing import Any

import jax


def needed(compiled: Any) -> int:
    """Returns the bytes that a program needs on each device, arguments included."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0  # the backend does not say
    return int(
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        - analysis.alias_size_in_bytes
    )


def free(devices: Sequence[jax.Device]) -> float:
    """Returns the bytes that are free on each device; infinity if unknown."""
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in each for each in stats):
        left = [each["bytes_limit"] - each.get("bytes_in_use", 0) for each in stats]
        return float(min(left))
    return _free_on_host() / len(devices)  # CPU devices share the host's memory


def _free_on_host() -> float:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass  # not Linux
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf


def readable(size: float) -> str:
    """Formats a number of bytes."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"

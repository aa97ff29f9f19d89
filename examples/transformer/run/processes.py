"""How several processes find each other; how they agree is in core/processes.py."""

import jax

from ..core.processes import (
    agree as agree,
    first_says as first_says,
    gather as gather,
    is_first as is_first,
    together as together,
    wait_for_all as wait_for_all,
)
from ..core.settings import InputError


def start(
    distributed: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> None:
    """Connects to the other processes. Must come before any other use of JAX."""
    given = (coordinator, processes, process)
    by_hand = any(x is not None for x in given)
    if by_hand and None in given:
        raise InputError(
            "--coordinator, --processes and --process belong together: give all three, "
            "or only --distributed where the cluster provides them."
        )
    if not (by_hand or distributed):
        return
    try:
        jax.distributed.initialize(*given)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the processes cannot connect: {error} Give all of --coordinator "
            f"HOST:PORT, --processes and --process."
        ) from None
    if jax.default_backend() == "cpu":
        # Programs that exchange numbers between processes are not found again in JAX's
        # compilation cache on CPUs (jaxlib 0.10): a second run would end in a time-out.
        jax.config.update("jax_enable_compilation_cache", False)

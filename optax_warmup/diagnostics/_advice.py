"""One thing that a record shows, in words."""

from dataclasses import dataclass

from optax_warmup.diagnostics._explanations import EXPLANATIONS


@dataclass(frozen=True)
class Advice:
    """One finding about a record, with what to change.

    Attributes:
        code: its short name, such as "warmup-short".
        severity: "note" (nothing is wrong), "warning" or "problem".
        finding: what was found, a sentence with its numbers.
        change: what to change; empty where there is nothing to change.
        groups: the parameter groups concerned; empty if it is about all of them.
        steps: the recorded steps concerned.

    Example:
        >>> import jax.numpy as jnp, optax, optax_warmup as ow
        >>> optimizer = ow.record_moments(optax.adam(1e-3))
        >>> history = ow.read_moments(optimizer.init(jnp.ones(3)))
        >>> for advice in ow.diagnostics.advise(history):
        ...     print(f"{advice.severity} {advice.code}: {advice.finding}")
        ...     print(advice.explanation[:24])
        note empty-record: No update is recorded yet.
        No update is recorded: n
    """

    code: str
    severity: str
    finding: str
    change: str = ""
    groups: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()

    @property
    def explanation(self) -> str:
        """What this kind of advice rests on: its criterion, thresholds and sources."""
        return EXPLANATIONS.get(self.code, "")

    def __str__(self) -> str:
        text = f"{self.severity}: {self.finding} {self.change}".rstrip()
        return f"{text} [{self.code}]"

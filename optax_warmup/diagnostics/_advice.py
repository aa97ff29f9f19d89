"""One thing that a record shows, in words."""

from dataclasses import dataclass
from html import escape

from optax_warmup._drawing.notebook import never_raises, output
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

    @never_raises
    def _repr_html_(self) -> str:
        return output(_card(self))


class AdviceList(tuple[Advice, ...]):
    """What `advise` returns: a tuple that a notebook shows as cards."""

    @never_raises
    def _repr_html_(self) -> str:
        return output(*map(_card, self)) if self else output("<p>No issues found.</p>")


def _card(advice: Advice) -> str:
    change = f"<br><b>{escape(advice.change)}</b>" if advice.change else ""
    return (
        f'<div class="card {escape(advice.severity)}"><b>{escape(advice.severity)}</b> '
        f"<code>{escape(advice.code)}</code><br>{escape(advice.finding)}{change}"
        f"<details><summary>Why this is reported</summary>{escape(advice.explanation)}"
        "</details></div>"
    )

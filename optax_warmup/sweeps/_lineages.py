"""Which trials of a study count, from what the study holds.

A trial whose worker was lost fails, and a new one with the same values takes its place.
A trial and those in its place are a lineage, which counts once.
"""

from typing import Any

# Attributes of a trial.
BY = "search"  # {"program": what it trains, "worker": who trains it}
ROOT = "search_root"  # the number of the trial in whose place this one is
VOID = "search_void"  # given back, or one too many: its failure is nobody's fault

Lineage = list[Any]


def lineages(trials: list[Any], total: int | None = None) -> list[Lineage]:
    """The trials by lineage, in the order of their roots; the first `total` count."""
    found: dict[int, Lineage] = {}
    for each in trials:
        surplus = each.user_attrs.get(VOID) == "surplus"
        if ROOT in each.user_attrs or not surplus:
            root = each.user_attrs.get(ROOT, each.number)
            found.setdefault(root, []).append(each)
    return [found[root] for root in sorted(found)][:total]


def is_alive(lineage: Lineage) -> bool:
    """Whether one of its trials waits, is trained, or has ended."""
    return any(each.state.name != "FAIL" for each in lineage)


def allowed(trials: list[Any], total: int) -> set[int]:
    """The numbers of the trials that count: of each lineage the first not failed.

    Two workers may put a trial in the place of the same one. All see the same trials,
    and so agree on the one of the two that counts.
    """
    return {
        next(each.number for each in lineage if each.state.name != "FAIL")
        for lineage in lineages(trials, total)
        if is_alive(lineage)
    }


def times_lost(lineage: Lineage) -> int:
    """How often a worker was lost with it."""
    failed = [each for each in lineage if each.state.name == "FAIL"]
    return sum(VOID not in each.user_attrs for each in failed)


def is_settled(lineage: Lineage, max_retry: int) -> bool:
    """Whether it needs no more training."""
    if not is_alive(lineage):
        return times_lost(lineage) > max_retry
    return any(each.state.name in ("COMPLETE", "PRUNED") for each in lineage)


def replacement(lineage: Lineage) -> Any:
    """A waiting trial in the place of the last one, which failed."""
    import optuna

    failed = lineage[-1]
    # A pruner's notes are those of the training that was lost.
    notes = {
        name: value
        for name, value in failed.system_attrs.items()
        if not name.startswith("completed_rung_")
    }
    kept = {k: v for k, v in failed.user_attrs.items() if k not in (BY, VOID)}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.WAITING,
        params=failed.params,
        distributions=failed.distributions,
        user_attrs=kept | {ROOT: lineage[0].number},
        system_attrs=notes,
    )

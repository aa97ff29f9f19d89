"""What a sweep recommends, and how certain that is."""

from collections.abc import Sequence

import optax_warmup as ow


def recommend(ranked: Sequence[ow.sweeps.Ranked], total_steps: int) -> list[str]:
    """Lines to print, from the configurations ranked best first."""
    best = ranked[0]
    if best.diverged:
        return ["Every configuration diverged with some seed: try lower peak rates."]
    lines = [f"Best      {describe(best)}"]
    tied = [each for each in ranked[1:] if each.tied]
    if best.runs == 1:
        lines.append(
            "One seed cannot tell the best from the luckiest: use --seeds 3 or more."
        )
    elif tied:
        peaks, steps = (
            span({each.configuration[name] for each in [best, *tied]})
            for name in ("peak_value", "warmup_steps")
        )
        lines.append(
            f"As good   {len(tied)} of {len(ranked) - 1} others, within two standard "
            f"errors: peak {peaks}, warmup {steps}"
        )
    lines += edges(ranked, total_steps)
    lines.append(
        f"The best of {len(ranked)} configurations is partly luck: train it with other "
        "seeds before you report its loss."
    )
    return lines


def describe(each: ow.sweeps.Ranked) -> str:
    point = each.configuration
    return (
        f"peak_value={point['peak_value']:.3g}, warmup_steps={point['warmup_steps']}: "
        f"{each.mean:.4f} ± {each.standard_error:.4f} ({each.runs} seeds)"
    )


def span(values: set[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def edges(ranked: Sequence[ow.sweeps.Ranked], total_steps: int) -> list[str]:
    """Says if the best configuration is at the end of the range that was tried."""
    lines = []
    for name in ("peak_value", "warmup_steps"):
        tried = {each.configuration[name] for each in ranked}
        found = ranked[0].configuration[name]
        if len(tried) < 3:
            continue
        if found == max(tried) and not (
            name == "warmup_steps" and found >= total_steps
        ):
            lines.append(f"Try more  the best {name} is the largest that was tried")
        if found == min(tried) and found > 0:
            lines.append(f"Try more  the best {name} is the smallest that was tried")
    return lines

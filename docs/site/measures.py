"""Writes the page on reading the statistics, each with a healthy and an ill run.

What a statistic means comes from the table in docs/diagnostics.md.
"""

import re
from pathlib import Path

import trainings
from curves import draw_panel
from illnesses import curve

TABLE = Path(__file__).parents[1] / "diagnostics.md"
# The code of the run in which each statistic is off, and what to do about it.
ILL = {
    "effective_sample_size": (
        "warmup-short",
        "Here the peak rate came at the first update, when nu averaged one gradient. "
        "The curve itself depends on b2 alone: let the peak come where it is above 20.",
    ),
    "nu_hat_rms": (
        "huge-gradient",
        "A jump means a gradient far larger than those before. It stays in nu for "
        "1 / (1 - b2) updates, in which the others learn little. Clip gradients, or "
        "use `clip_outliers`.",
    ),
    "nu_hat_max": (
        "huge-gradient",
        "The same run: one coordinate is enough. `history.groups` says whose it is.",
    ),
    "update_rms": (
        "warmup-short",
        "Near 1 all gradients agree, or nu has seen few of them. Where it is high when "
        "the learning rate is high, lower the rate there: a longer warmup.",
    ),
    "snr": (
        "eps-dominates",
        "Near 1 the gradients agree. A low value is usual later in training: larger "
        "batches raise it.",
    ),
    "denominator": (
        "eps-dominates",
        "Where it stays at eps, Adam is SGD with momentum. Lower eps, or scale the "
        "loss up.",
    ),
    "signal_share": (
        "batch-small",
        "Small: most of a gradient is noise. Larger batches raise it.",
    ),
    "noise_scale": (
        "batch-small",
        "Far above 1 a larger batch makes each update better; far below 1 a smaller "
        "one learns as much from fewer examples.",
    ),
    "noise_scale_bound": (
        "batch-small",
        "Where `noise_scale` is not known, this may still bound it from above.",
    ),
    "drift": (
        "update-spikes",
        "Above 0 gradients grow faster than they are forgotten: look at the loss and "
        "the data of that step.",
    ),
    "eps_dominated": (
        "eps-dominates",
        "Lower eps: it should be below the size of the gradients.",
    ),
    "nonfinite": (
        "not-finite",
        "From there on every update is NaN. Wrap the optimizer in `skip_nonfinite`, "
        "and find the batch.",
    ),
    "gradient_rms": (
        "gradients-explode",
        "Steady growth: lower the peak rate, clip, or look for a loss without a "
        "lowest value.",
    ),
    "gradient_norm": (
        "gradients-explode",
        "As `gradient_rms`, summed instead of averaged.",
    ),
    "normalized_gradient_rms": (
        "update-spikes",
        "A spike means gradients that nu does not know yet, so updates that are too "
        "large. Use `clip_update_rms` or a lower b2.",
    ),
    "gradient_to_nu_ratio": (
        "update-spikes",
        "The same in one number for all coordinates.",
    ),
    "alignment": (
        "beyond-stability",
        "Below 0 each update undoes a part of the one before: the rate is at the edge "
        "of stability. Lower the peak.",
    ),
    "applied_rate": (
        "schedule-ahead",
        "Compare it with the schedule that you meant. Here it stood outside of "
        "`optax.MultiSteps` and counted microbatches.",
    ),
    "applied_decay": (
        "rate-estimated",
        "0 without weight decay, else the decay that you set. Here it is not the decay "
        "of any parameter: their rates differ, and one rate was fitted to all.",
    ),
    "update_explained": (
        "rate-estimated",
        "Well below 1, one rate and one decay are not all: parameters have rates of "
        "their own, as here, or a trust ratio, noise or a clip comes after Adam.",
    ),
    "parameter_rms": (
        "gradients-explode",
        "Parameters that only grow call for weight decay or a lower rate.",
    ),
    "update_to_weight": (
        "updates-large",
        "Above 1e-2 the weights are rewritten within 100 updates. Lower the peak, "
        "or reach it later.",
    ),
    "angular_update": (
        "updates-large",
        "As `update_to_weight`, but without the change of length.",
    ),
}
LINEAR = (
    "alignment",
    "eps_dominated",
    "nonfinite",
    "drift",
    "update_explained",
    "applied_decay",
    "signal_share",
)
INTRO = """# Reading the diagnostics

Look at four things first, in this order:

1. Is the **effective sample size** above 20 or so when the learning rate reaches its
   peak? If not, Adam's second moment was a guess at that time.
2. Is **update_to_weight** between 1e-4 and 1e-2?
3. Does **normalized_gradient_rms** stay near 1, without spikes?
4. Is **alignment** at or above 0?

`print(history)` shows them in a table, `ow.diagnostics.plot_moments(history)` draws
them, and [`advise`](advice.md) checks them for you. Below is every statistic with a
healthy training (blue) and one that is ill (red), each a real run of the tests. The x
axis is the number of completed updates. [The guide](diagnostics.md) says how to record
them and what that costs.
"""


def write(folder: Path) -> None:
    """Writes `reading.md` with a picture for each statistic."""
    meanings = _meanings(TABLE.read_text())
    recorded = _meanings(
        TABLE.read_text().partition("| statistic |")[2].partition("\n\n")[0]
    )
    if missing := (set(recorded) - set(ILL)) | (set(ILL) - set(meanings)):
        raise ValueError(f"measures.ILL and {TABLE.name} differ: {sorted(missing)}")
    parts = [INTRO]
    healthy = trainings.healthy("adam 0.999")
    for name, (code, advice) in ILL.items():
        ill = trainings.ILL[code]()
        shown = (name, "learning_rate") if name == "effective_sample_size" else (name,)
        pictures = []
        for each in shown:
            curves = {"healthy": curve(*healthy, each), "ill": curve(*ill, each)}
            picture = f"pictures/statistic-{name}-{each}.svg"
            draw_panel(folder / picture, each, curves, each not in LINEAR)
            alt = f"{each} of a healthy run and an ill one"
            pictures.append(f"![{alt}]({picture}){{.panel}}")
        meaning, expected = meanings[name]
        parts.append(f"## {name}\n\n{_sentence(meaning)}.\n")
        if expected:
            parts.append(f"**Expect:** {expected}.\n")
        parts.append("\n".join(pictures) + "\n")
        parts.append(
            f"**If it is off** (red: the run of [{code}](advice.md#{code})). {advice}\n"
        )
    (folder / "reading.md").write_text("\n".join(parts))


def _meanings(page: str) -> dict[str, tuple[str, str]]:
    """(meaning, what to expect) of each name in the tables of a page."""
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \| ?(.*?) ?\|$", page, re.M)
    return {
        name: (meaning.replace("](#", f"]({TABLE.name}#"), expected)
        for names, meaning, expected in rows
        for name in re.findall(r"`(\w+)`", names)
    }


def _sentence(text: str) -> str:
    """The text with a capital letter, unless it begins with a formula or a name."""
    code = re.search(r"[(_`\[]", text.split()[0])
    return text if code else text[0].upper() + text[1:]

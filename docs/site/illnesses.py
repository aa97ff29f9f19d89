"""Writes the pictures of healthy and ill trainings, and the page of advice.

The trainings are those on which the tests check each piece of advice.
"""

import re
from pathlib import Path

import numpy as np
import trainings
from curves import draw_panel

import optax_warmup as ow
from optax_warmup.diagnostics._explanations import EXPLANATIONS

TITLES = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "warmup_factor": "warmup factor",
    "effective_sample_size": "effective sample size",
    "update_rms": "update_rms",
    "update_to_weight": "update_to_weight",
    "normalized_gradient_rms": "normalized_gradient_rms",
    "gradient_norm": "gradient_norm",
    "alignment": "alignment",
    "eps_dominated": "eps_dominated",
    "nu_hat_rms": "nu_hat_rms",
    "nonfinite": "nonfinite",
    "applied_rate": "applied_rate",
    "noise_scale": "noise_scale",
}
LINEAR = ("alignment", "eps_dominated", "nonfinite")
# What to look at for each code. The first one is where the illness shows best.
LOOK_AT = {
    "first-update-zero": ("learning_rate", "update_to_weight"),
    "rate-unknown": ("update_rms", "loss"),
    "rate-estimated": ("applied_rate", "learning_rate"),
    "updates-climb": ("alignment", "update_to_weight"),
    "schedule-ahead": ("learning_rate", "applied_rate"),
    "warmup-short": ("effective_sample_size", "learning_rate", "loss"),
    "warmup-long": ("learning_rate", "effective_sample_size", "loss"),
    "updates-large": ("update_to_weight", "loss"),
    "beyond-stability": ("normalized_gradient_rms", "alignment", "loss"),
    "suggested-warmup": ("learning_rate", "update_to_weight"),
    "update-spikes": ("normalized_gradient_rms", "loss"),
    "gradients-vanish": ("gradient_norm", "loss"),
    "gradients-explode": ("gradient_norm", "normalized_gradient_rms"),
    "eps-dominates": ("eps_dominated", "update_rms", "loss"),
    "batch-large": ("noise_scale", "update_rms"),
    "batch-small": ("noise_scale", "update_rms"),
    "moments-frozen": ("nu_hat_rms", "gradient_norm"),
    "huge-gradient": ("nu_hat_rms", "update_rms", "loss"),
    "not-finite": ("nonfinite", "nu_hat_rms"),
    "spikes-skipped": ("gradient_norm", "loss"),
    "rmsprop-start": ("update_rms", "update_to_weight"),
    "constants-differ": ("update_rms", "effective_sample_size"),
    "automatic-no-start": ("update_rms",),
    "automatic-limits": ("learning_rate", "update_to_weight"),
    "automatic-no-decay": ("learning_rate", "warmup_factor"),
    "empty-record": (),
}
INTRO = """# Advice, each with the run that has the illness

`ow.diagnostics.advise(history)` returns pieces of advice, each with a code. Every
section below shows the code on a small real training that has the illness (red), beside
a healthy one (blue). The x axis is the number of completed updates, from 1, on a
logarithmic scale. The trainings are those of the tests (tests/support/trainings.py).
"What it rests on" explains the condition and its threshold.
"""


def write(folder: Path) -> None:
    """Runs the trainings and writes the page `advice.md` with its pictures."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [INTRO]
    for code, training in trainings.ILL.items():
        parts.append(_section(code, *training(), pictures))
    (folder / "advice.md").write_text("\n".join(parts))


def _section(
    code: str, history: ow.diagnostics.MomentHistory, losses: object, pictures: Path
) -> str:
    found = ow.diagnostics.advise(history, losses=losses)
    (advice,) = [each for each in found if each.code == code]
    parts = [f"## {code}\n", f"*{advice.severity}*: {advice.finding}\n"]
    if advice.change:
        parts.append(f"**What to do.** {advice.change}\n")
    healthy = trainings.healthy("adam 0.999")
    shown = []
    for name in LOOK_AT[code]:
        curves = {
            "healthy": curve(*healthy, name),
            "this run": curve(history, losses, name),
        }
        picture = f"{code}-{name}.svg"
        draw_panel(pictures / picture, TITLES[name], curves, name not in LINEAR)
        alt = f"{TITLES[name]}, healthy and ill"
        shown.append(f"![{alt}](pictures/{picture}){{.panel}}")
    parts.append("\n".join(shown) + "\n")
    parts.append(f"**What it rests on.** {_safe(EXPLANATIONS[code])}\n")
    return "\n".join(parts)


def curve(
    history: ow.diagnostics.MomentHistory, losses: object, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """(completed updates, values) of a statistic, an attribute, or the loss."""
    if name == "loss":
        values = np.asarray([] if losses is None else losses, float)
        return _spaced(np.arange(1, len(values) + 1), values)
    known = history.overall
    values = known[name] if name in known else getattr(history, name)
    return np.asarray(history.steps) + 1, np.asarray(values, float)


def _spaced(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 200 of the points, evenly spaced on a logarithmic axis."""
    if not len(x):
        return x, y
    kept = np.unique(np.geomspace(1, len(x), 200).astype(int)) - 1
    return x[kept], y[kept]


def _safe(text: str) -> str:
    """Signs of arithmetic stay as they are; names in backticks are code already."""
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [re.sub(r"([*|_])", r"\\\1", piece) for piece in pieces[::2]]
    return "".join(pieces)

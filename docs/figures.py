"""Draws the pictures of the guides into docs/images: python docs/figures.py"""

from pathlib import Path

from matplotlib.figure import Figure

import optax_warmup as ow

IMAGES = Path(__file__).parent / "images"
STEPS = 1001
OLD = ow.warmup_cosine(1.0, 100, 800)
PANELS = {
    "warmup_cosine(1.0, 100, 1000)": {"": ow.warmup_cosine(1.0, 100, 1000)},
    "wsd(1.0, 100, 1000, 250)": {"": ow.wsd(1.0, 100, 1000, 250)},
    "warmup_inverse_sqrt(1.0, 100)": {"": ow.warmup_inverse_sqrt(1.0, 100)},
    "cooldown(schedule, begin, 150)": {
        str(begin): ow.cooldown(ow.warmup_inverse_sqrt(1.0, 100), begin, 150)
        for begin in (850, 550, 250)
    },
    "retime(old, 800, 1000, begin=400)": {
        "planned": OLD,
        "retimed": ow.retime(OLD, 800, 1000, begin=400),
    },
    "rewarm(schedule, 500, 100)": {
        "": ow.rewarm(ow.warmup_linear(1.0, 100, 1000), 500, 100)
    },
}


def schedules() -> Figure:
    """Six schedules in small panels, each named by the call that makes it."""
    figure = Figure(figsize=(10, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for ax, (call, curves) in zip(axes.flat, PANELS.items(), strict=True):
        for curve, schedule in curves.items():
            values = ow.simulate(schedule, STEPS)
            first = curve == next(iter(curves))
            color = "#1f6f8b" if first or len(curves) > 2 else "#c8442f"
            ax.plot(values, color=color, linewidth=1.8, zorder=3 if first else 2)
        ax.set_title(call, fontsize=10, family="monospace", loc="left")
        ax.set(xlim=(0, STEPS - 1), ylim=(0, 1.08), yticks=[0, 0.5, 1])
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color("#8a8a8a")
        ax.tick_params(colors="#8a8a8a", labelcolor="#333333")
        ax.grid(axis="y", color="#ececec", linewidth=0.8)
        ax.set_axisbelow(True)
    for ax in axes[1]:
        ax.set_xlabel("step", color="#333333")
    retimed = axes[1, 1]
    retimed.annotate("planned", (500, 0.25), color="#1f6f8b", ha="right")
    retimed.annotate("retimed", (610, 0.34), color="#c8442f")
    return figure


def main() -> None:
    """Writes every picture."""
    IMAGES.mkdir(exist_ok=True)
    schedules().savefig(IMAGES / "schedules.png")


if __name__ == "__main__":
    main()

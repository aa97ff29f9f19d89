"""The short runs with the fitted law, and the long ones with its prediction."""

from pathlib import Path

import numpy as np

import optax_warmup as ow

from ..drawing import COLORS, picture

Schedules = dict[float, ow.Schedule]
Curves = dict[str, np.ndarray]


def draw(
    path: Path,
    law: ow.loss_laws.LossLaw,
    short: Schedules,
    curves: Curves,
    long: Schedules,
    truth: Curves,
    chosen: str,
) -> None:
    with picture(path, (10, 3.6)) as figure:
        left, middle, right = figure.subplots(1, 3, width_ratios=(4, 4, 3))
        for ax, schedules, known in ((left, short, curves), (middle, long, truth)):
            for (share, schedule), steps, losses, color in zip(
                schedules.items(), known["step"], known["loss"], COLORS, strict=False
            ):
                ax.plot(steps, losses, color=color, lw=1.2, label=f"{share:.0%}")
                ax.plot(
                    steps, law(schedule, steps), color=color, lw=1.6, ls=(0, (3, 2))
                )
            late = known["loss"][:, len(known["step"][0]) // 8 :]
            ax.set_ylim(late.min() - 0.05, np.quantile(late, 0.99))
            ax.set_xlabel("updates")
            ax.legend(title="cooldown", frameon=False)
        left.set_ylabel("held-out loss, nats per byte")
        left.set_title("Short runs, fitted (dashed)")
        middle.set_title("Long runs, predicted (dashed)")
        names = list(long)
        steps = int(truth["step"][0, -1])
        predicted = np.array(
            [float(law(schedule, steps)) for schedule in long.values()]
        )
        final = truth["loss"][:, -1]
        right.plot(names, final - final.min(), "o-", color=COLORS[2], label="trained")
        right.plot(
            names,
            predicted - predicted.min(),
            "o--",
            color=COLORS[0],
            label="predicted",
        )
        right.axvline(
            float(chosen.rstrip("%")) / 100,
            color=COLORS[5],
            lw=0.8,
            ls=":",
            label="chosen",
        )
        right.set_title("Behind the best")
        right.set_xlabel("cooldown, share of the run")
        right.set_ylabel("nats")
        right.legend(frameon=False)

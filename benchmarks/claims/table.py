"""The ten claims: source, experiment, rule, and the function that judges."""

from collections.abc import Callable
from dataclasses import dataclass

from .judge import (
    Finding,
    batches,
    both,
    gi_adam,
    larger_peaks,
    lengths,
    plain_sgd,
    sensitivity,
    shapes,
    untuned,
    variance,
)
from .trials import Trials


@dataclass(frozen=True)
class Claim:
    """`rule`: what a task must show to agree; written before the runs were made."""

    letter: str
    text: str
    source: str
    experiment: str
    rule: str
    judge: Callable[[Trials], Finding]
    shown: tuple[int, ...]  # columns of the finding that stand in the summary


CLAIMS = (
    Claim(
        "a",
        "Warmup makes little sense with plain SGD.",
        "A common answer: warmup is there for Adam's statistics. Against it: P. Goyal "
        "et al. 2017, arXiv:1706.02677; J. Gilmer et al. 2021, arXiv:2110.04369",
        "SGD without momentum, on six problems; no warmup against linear warmup of the "
        "best length, each at its own best peak. Three grids of peaks were raised by a "
        "decade after a first look: their best peak was the highest.",
        "The gain from warmup is not clear.",
        plain_sgd,
        (0, 1),
    ),
    Claim(
        "b",
        "Warmup mainly allows larger peak rates.",
        "D. S. Kalra and M. Barkeshli 2024, arXiv:2406.09405",
        "No warmup against linear warmup of the best length, at two peaks: the one "
        "that is best without warmup, and ten times that (or the highest of the grid). "
        "All tasks on which a higher peak than the best was run.",
        "The gain at the higher peak is clear, and more than twice the gain at the "
        "lower one.",
        larger_peaks,
        (0, 1, 2),
    ),
    Claim(
        "c",
        "Linear warmup over 2 / (1 - b2) updates is about RAdam.",
        "J. Ma and D. Yarats 2021, arXiv:1910.04209",
        "Adam with b2 0.99 and a warmup of 200 updates, against optax.radam, over "
        "usable peaks. The tasks are those on which Adam needs a warmup.",
        "The difference is within 1 % of progress, or within two standard errors.",
        untuned,
        (3,),
    ),
    Claim(
        "d",
        "Without warmup Adam's first steps are bad because its second moments, from "
        "few gradients, have a large variance.",
        "L. Liu et al. 2020, arXiv:1908.03265 (RAdam)",
        "Their Adam-2k: 200 more updates at the start, 2 / (1 - b2), collect moments "
        "and move nothing; then no warmup. Tasks on which no warmup is clearly worse.",
        "That removes at least half of the damage, over usable peaks.",
        variance,
        (2,),
    ),
    Claim(
        "e",
        "Linear, exponential, cosine and constant warmups differ little at equal area.",
        "Ma and Yarats 2021, arXiv:1910.04209, for the first two. Against the last: "
        "Goyal et al. 2017, arXiv:1706.02677",
        "Four shapes that hold back as many updates as a linear warmup over 30 % of "
        "the run: 15 % of it. The constant one has a tenth of the rate and then jumps.",
        "From the best to the worst shape it is at most 1 % of progress, or a quarter "
        "of what the average shape gains over no warmup; over usable peaks.",
        shapes,
        (0, 5),
    ),
    Claim(
        "f",
        "A warmup that is too short hurts, and one that is too long wastes time.",
        "Common advice",
        "Linear warmup of six lengths at the peak that is best with a warmup of 10 %. "
        "Losses are behind that of the best length, which is chosen on the other "
        "seeds.",
        "1 % of the run and 200 % (it never ends) are both clearly behind.",
        lengths,
        (0, 5),
    ),
    Claim(
        "g",
        "Large batches need warmup more.",
        "Goyal et al. 2017, arXiv:1706.02677",
        "How far no warmup is behind linear warmup of the best length, over usable "
        "peaks: at the task's batch and at an eighth of it, with as many updates.",
        "It is clearly farther behind at the larger batch.",
        batches,
        (2,),
    ),
    Claim(
        "h",
        "A longer warmup makes the loss less sensitive to the peak rate.",
        "M. Wortsman et al. 2023, arXiv:2309.14322",
        "Sensitivity is the mean loss over the task's five peaks (two decades) minus "
        "the loss at the best of them, for linear warmup of six lengths.",
        "It is clearly lower with 30 % of the run than with 1 %.",
        sensitivity,
        (0, 3),
    ),
    Claim(
        "i",
        "GI-Adam, whose second moment starts at the first squared gradient, removes "
        "the need for a warmup.",
        'Kalra and Barkeshli 2024, arXiv:2406.09405: "benefits similar to warmup"',
        "`init_second_moment_from_gradient` and no warmup, against linear warmup of "
        "the best length, over usable peaks. The tasks are those of (c).",
        "It is not clearly behind.",
        gi_adam,
        (0, 1),
    ),
    Claim(
        "j",
        "Warmup improves both the time to convergence and the final validation loss.",
        "Liu et al. 2020, arXiv:1908.03265, figure 1; Kalra and Barkeshli 2024",
        "No warmup and linear warmup of the best length, each at its best peak. The "
        "level to reach is the training loss at the end of the worse of the two.",
        "The held-out loss is clearly better, and the level is reached clearly "
        "earlier, by at least 2 % of the run.",
        both,
        (0, 1),
    ),
)

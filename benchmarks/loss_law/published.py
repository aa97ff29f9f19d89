"""The published runs of three models: their law reproduced, and fitted again."""

from pathlib import Path

import numpy as np

import optax_warmup as ow
from optax_warmup.loss_laws import LossLaw, fit_loss_law, rank

PUBLISHED = {  # K. Luo et al. 2025: constants, and errors on the six test curves
    25: LossLaw(
        3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013,
        0.64142257,
    ),
    100: LossLaw(
        2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199,
        0.65523644,
    ),
    400: LossLaw(
        2.37474466, 0.65421216, 0.42878731, 523.42464371, 2.02462735, 0.59350493,
        0.63472457,
    ),
}  # fmt: skip
ERRORS = {
    25: (0.00376, 0.9988, 0.00409),
    100: (0.00435, 0.9983, 0.00583),
    400: (0.00484, 0.9978, 0.00995),
}
TEST = (
    "constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000",
    "wsdcon_3", "wsdcon_18",
)  # fmt: skip
TRAINING = ("constant_24000", "cosine_24000", "wsdcon_9")
SAME_LENGTH = ("constant_24000", "cosine_24000", "wsd_20000_24000", "wsdld_20000_24000")
PEAK, WARMUP = 3e-4, 2160

Losses = tuple[np.ndarray, np.ndarray]


def published_schedules() -> dict[str, ow.Schedule]:
    """The nine schedules, by the names of their files."""
    constant = ow.warmup_constant(PEAK, WARMUP)
    stable = [(WARMUP, PEAK), (20_000 - WARMUP, PEAK)]
    geometric = (4000, PEAK / 10, ow.shapes.exponential(0.1))
    found: dict[str, ow.Schedule] = {
        "constant_24000": constant,
        "constant_72000": constant,
        "cosine_24000": ow.warmup_cosine(PEAK, WARMUP, 24_000, end_value=PEAK / 10),
        "cosine_72000": ow.warmup_cosine(PEAK, WARMUP, 72_000, end_value=PEAK / 10),
        "wsd_20000_24000": ow.piecewise(0.0, [*stable, geometric]),
        "wsdld_20000_24000": ow.piecewise(0.0, [*stable, (4000, PEAK / 10)]),
    }
    for low in (3, 9, 18):
        dropped = ow.join([(8000, constant)], last=ow.constant(low * 1e-5))
        found[f"wsdcon_{low}"] = dropped
    return found


def reproduce(folder: Path) -> list[list[str]]:
    """Errors of the published constants, with their published values."""
    rows, schedules = [], published_schedules()
    for size, law in PUBLISHED.items():
        errors = []
        for name in TEST:
            steps, losses = published_run(folder, size, name)
            miss = law(schedules[name], steps) - losses
            errors.append(
                (
                    np.abs(miss).mean(),
                    1 - (miss**2).sum() / ((losses - losses.mean()) ** 2).sum(),
                    np.abs(miss / losses).max(),
                )
            )
        got = np.mean(errors, axis=0)
        pairs = zip(got, ERRORS[size], (5, 4, 5), strict=True)
        cells = (f"{x:.{d}f} ({known:.{d}f})" for x, known, d in pairs)
        rows.append([f"{size} M", *cells])
    return rows


def published_run(folder: Path, size: int, name: str) -> Losses:
    """The losses of a published run, by the number of updates."""
    path = folder / "multipower" / f"csv_{size}" / f"{name}.csv"
    steps, rates, losses = np.loadtxt(path, delimiter=",", skiprows=1).T
    logged = published_schedules()[name](steps.astype(int))
    np.testing.assert_allclose(logged, rates, rtol=1e-6)
    return steps.astype(int) + 1, losses  # a row is the loss after that update


def refit(folder: Path) -> list[list[str]]:
    """Errors of laws that are fitted here to the three published training curves."""
    rows, schedules = [], published_schedules()
    for size in PUBLISHED:
        known = {
            name: published_run(folder, size, name)
            for name in {*TEST, *SAME_LENGTH, *TRAINING}
        }
        law = fit_loss_law([(schedules[name], *known[name]) for name in TRAINING])
        errors = [
            law(schedules[name], known[name][0]) - known[name][1] for name in TEST
        ]
        end = min(int(known[name][0][-1]) for name in SAME_LENGTH)
        candidates = {name: schedules[name] for name in SAME_LENGTH}
        predicted = [each.name for each in rank(law, candidates, end)]
        true = sorted(SAME_LENGTH, key=lambda name: float(np.interp(end, *known[name])))
        rows.append(
            [
                f"{size} M",
                f"{np.mean([np.abs(error).mean() for error in errors]):.5f}",
                f"{ERRORS[size][0]:.5f}",
                f"{max(abs(error[-1]) for error in errors):.3f}",
                ", ".join(predicted),
                "yes" if predicted == true else ", ".join(true),
            ]
        )
    return rows

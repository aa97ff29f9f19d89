"""Curves beyond the 97: (name, our expression, values, tolerance).

Those with the tolerance 6e-4 are rows of printed tables with three decimals, made by
running the systems; the others are their formulas, written here once more in float64.
"""

import numpy as np

_PRINTED = 6e-4
_EXACT = 1e-6


def _table(text: str) -> list[float]:
    return [float(x) for x in text.split()]


_k = np.arange(13)

MORE = (
    # A warmup of 4 and a total of 10.
    (
        "torchtitan linear",
        "warmup_linear(1, 4, 10, offset=1)",
        _table("0.250 0.500 0.750 1.000 1.000 0.833 0.667 0.500 0.333 0.167 0.000"),
        _PRINTED,
    ),
    (
        "fairseq fixed",
        "warmup(1, 4, offset=1)",
        _table("0.250 0.500 0.750 1.000 1.000 1.000"),
        _PRINTED,
    ),
    (
        "DeepSpeed WarmupDecayLR log",
        "delay(warmup(delay(transition(1, 0, 6), 1), 3, "
        "shape=shapes.logarithmic(4)), 1)",
        _table("0 0 .500 .792 1 1 .833 .667 .500 .333 .167 0 0"),
        _PRINTED,
    ),
    (
        "pytorch_warmup LinearWarmup(4) on LinearLR(1, 0, 10)",
        "multiply(warmup(1, 4, offset=1), transition(1, 0, 10))",
        _table(".250 .450 .600 .700 .600 .500 .400 .300 .200 .100 0"),
        _PRINTED,
    ),
    (
        "pytorch_warmup LinearWarmup(4) on CosineAnnealingLR(10)",
        "multiply(warmup(1, 4, offset=1), transition(1, 0, 10, shapes.cosine))",
        _table(".250 .488 .678 .794 .655 .500 .345 .206 .095 .024 .000"),
        _PRINTED,
    ),
    (
        "HF cosine_with_restarts, 2 cycles",
        'compat.transformers.get_scheduler("cosine_with_restarts", 1, 4, 10, '
        '{"num_cycles": 2})',
        _table("0 .250 .500 .750 1 .750 .250 1 .750 .250 0 0 0"),
        _PRINTED,
    ),
    (
        "fairseq cosine, its default shrinking to a tenth",
        "warmup(cycle(transition(1, 0, 6, shapes.cosine), 6, scale=0.1), 4)",
        _table("0 .250 .500 .750 1 .933 .750 .500 .250 .067 .100 .093 .075"),
        _PRINTED,
    ),
    (
        "T5X cosine_decay",
        "warmup(cycle(transition(1, 0, 6, shapes.cosine), 6), 4)",
        _table("0 .250 .500 .750 1 .933 .750 .500 .250 .067 1 .933 .750"),
        _PRINTED,
    ),
    (
        "torch OneCycleLR, cosine, pct_start=0.4, total_steps=10",
        "one_cycle(1, 3, 9, init_value=0, end_value=0)",
        _table("0 .250 .750 1 .933 .750 .500 .250 .067 0"),
        _PRINTED,
    ),
    (
        "timm cosine without warmup_prefix",
        "join([(4, transition(0, 1, 4))], "
        "last=advance(transition(1, 0, 10, shapes.cosine), 4))",
        _table("0 .250 .500 .750 .655 .500 .345 .206 .095 .024 0 0 0"),
        _PRINTED,
    ),
    # A warmup of 3, a cooldown of 4, a total of 12.
    (
        "HF wsd 1-sqrt/linear",
        'compat.transformers.get_scheduler("warmup_stable_decay", 1, 3, 12, '
        '{"num_decay_steps": 4, "warmup_type": "1-sqrt"})',
        _table("0 .184 .423 1 1 1 1 1 1 .750 .500 .250 0 0"),
        _PRINTED,
    ),
    (
        "MaxText WSD linear",
        "wsd(1, 3, 11, 3)",
        _table("0 .333 .667 1 1 1 1 1 1 .667 .333 0 0"),
        _PRINTED,
    ),
    (
        "timm wsd rsqrt/linear",
        "multiply(warmup_inverse_sqrt(1, 3), delay(transition(1, 0, 4), 8))",
        _table("0 .333 .667 1 .866 .775 .707 .655 .612 .433 .274 .131 0 0"),
        _PRINTED,
    ),
    (
        "epfml wsd exp",
        "wsd(1, 3, 12, 4, init_value=0.01, end_value=0.1, "
        "decay_shape=shapes.exponential(0.1))",
        _table(".010 .340 .670 1 1 1 1 1 1 .562 .316 .178 .100 .100"),
        _PRINTED,
    ),
    (
        "epfml wsd mirror cosine",
        "wsd(1, 3, 12, 4, init_value=0.01, end_value=0.1, "
        "decay_shape=shapes.mirror_cosine)",
        _table(".010 .340 .670 1 1 1 1 1 1 .682 .550 .418 .100 .100"),
        _PRINTED,
    ),
    (
        "epfml wsd square",
        "wsd(1, 3, 12, 4, init_value=0.01, end_value=0.1, decay_shape=shapes.power(2))",
        _table(".010 .340 .670 1 1 1 1 1 1 .944 .775 .494 .100 .100"),
        _PRINTED,
    ),
    # Formulas.
    (
        "NeMo, newer nanoGPT: open at both ends, (k + 1) / (w + 1)",
        "advance(warmup(1, 5), 1)",
        np.minimum(1, (_k + 1) / 5),
        _EXACT,
    ),
    (
        "gpt-neox: max(1, k) / w",
        "clip(warmup(1, 5), minimum=0.2)",
        np.minimum(1, np.maximum(1, _k) / 5),
        _EXACT,
    ),
    (
        "Annotated Transformer: noam with max(1, k)",
        "delay(noam(64, 5), 1)",
        64**-0.5
        * np.minimum(np.maximum(_k, 1.0) ** -0.5, np.maximum(_k, 1.0) * 5**-1.5),
        _EXACT,
    ),
    (
        "init2winit square-root family, sqrt(1 - p**2)**1.5",
        "transition(1, 0, 12, shapes.warp(shapes.polynomial(0.75), shapes.power(2)))",
        np.sqrt(1 - (_k / 12) ** 2) ** 1.5,
        _EXACT,
    ),
    (
        "init2winit exponential warmup, which jumps at its end",
        "join([(6, exponential_decay(0, steps=6, rate=0.1, limit=1))], last=1)",
        np.where(_k < 6, 1 - 0.1 ** (_k / 6), 1),
        _EXACT,
    ),
    (
        "Levanter inv, min_lr_ratio=0.2, 10 steps",
        "inverse_power(1, timescale=10 / 4, power=1)",
        1 / (4 * _k / 10 + 1),
        _EXACT,
    ),
    (
        "timm cosine with cycle_decay=0.5, cycle_mul=2, lr_min=0.1",
        "add(cycle(transition(1, 0, 4, shapes.cosine), 4, period_multiplier=2, "
        "scale=0.5), cycle(transition(0, 0.1, 4, shapes.cosine), 4, "
        "period_multiplier=2))",
        [
            0.1 + (peak - 0.1) * (1 + np.cos(np.pi * t / length)) / 2
            for peak, length in ((1.0, 4), (0.5, 8))
            for t in range(length)
        ],
        _EXACT,
    ),
    (
        "ESPnet: knots at 3 and 6, then the inverse square root",
        "advance(join([(6, piecewise(0, [(3, 0.2), (3, 1)]))], "
        "last=inverse_power(1, timescale=6)), 1)",
        np.interp(_k + 1, [0, 3, 6], [0, 0.2, 1])
        * np.minimum(1, np.sqrt(6 / (_k + 1))),
        _EXACT,
    ),
)

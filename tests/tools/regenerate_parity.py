"""Makes the numbers of parity.json anew, from the packages that are installed.

Run `python tests/tools/regenerate_parity.py` to compare, and with --write to store what
the packages say. The curves of packages that are missing here stay as they are. Needed
for all of them: optax, torch, transformers, pytorch_warmup and keras.
"""

import importlib
import json
import sys

import numpy as np
from parity_table import NUMBERS, numbers

PEAK, WARMUP, TOTAL, DECAY = 1.0, 5, 20, 6


def _optax(steps):
    import optax

    once = optax.exponential_decay(1, 5, 0.5, 3, staircase=True, end_value=0.2)
    made = {
        "optax.linear_schedule(.1,1,5,transition_begin=3)": optax.linear_schedule(
            0.1, 1, 5, 3
        ),
        "optax.polynomial_schedule(1,.1,power2,10)": optax.polynomial_schedule(
            1, 0.1, 2, 10
        ),
        "optax.exponential_decay(1,5,.5)": optax.exponential_decay(1, 5, 0.5),
        "optax.exponential_decay staircase end .2 begin 3": once,
        "optax.cosine_decay_schedule(1,15,.1,exponent=2)": optax.cosine_decay_schedule(
            1, 15, 0.1, 2
        ),
        "optax.warmup_cosine(.1,1,5,20,end=.2)": optax.warmup_cosine_decay_schedule(
            0.1, 1, 5, 20, 0.2
        ),
        "optax.cosine_onecycle T=20": optax.cosine_onecycle_schedule(
            20, 1, final_div_factor=100
        ),
    }
    return {k: [float(f(step)) for step in range(steps)] for k, f in made.items()}


def _walk(scheduler, optimizer, steps):
    """The rate of each update, as a training loop sees it."""
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def _optimizer(rate=PEAK, b2=0.999):
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    return torch.optim.AdamW([weight], lr=rate, betas=(0.9, b2))


def _torch(steps):
    from torch.optim import lr_scheduler as lrs

    cyclic = {"base_lr": 0.1, "max_lr": 1, "step_size_up": 4, "step_size_down": 6}
    cyclic["cycle_momentum"] = False
    one = {"max_lr": 1, "total_steps": 20, "anneal_strategy": "linear"}
    one |= {"final_div_factor": 100, "cycle_momentum": False}
    one_cycle = "torch.OneCycleLR(total=20,pct=.3,linear,three={})"
    made = {
        "torch.StepLR(5,.5)": lambda o: lrs.StepLR(o, 5, 0.5),
        "torch.MultiStepLR([5,10],.1)": lambda o: lrs.MultiStepLR(o, [5, 10], 0.1),
        "torch.PolynomialLR(10,2)": lambda o: lrs.PolynomialLR(o, 10, 2),
        "torch.CosineAnnealingLR(10,.1)": lambda o: lrs.CosineAnnealingLR(o, 10, 0.1),
        "torch.CosineAnnealingWarmRestarts(4,2,.1)": (
            lambda o: lrs.CosineAnnealingWarmRestarts(o, 4, 2, 0.1)
        ),
        **{
            f"torch.CyclicLR(.1,1,4,6,{mode})": (
                lambda o, mode=mode: lrs.CyclicLR(o, **cyclic, mode=mode, gamma=0.9)
            )
            for mode in ("triangular", "triangular2", "exp_range")
        },
    }
    rates = {}
    for key, build in made.items():
        optimizer = _optimizer()
        rates[key] = _walk(build(optimizer), optimizer, steps)
    for three in (False, True):
        optimizer = _optimizer()
        scheduler = lrs.OneCycleLR(optimizer, **one, three_phase=three)
        # It raises past its end.
        rates[one_cycle.format(three)] = _walk(scheduler, optimizer, TOTAL)[:TOTAL]
    return rates


def _transformers(steps):
    from transformers import optimization as hf

    lengths = {"num_warmup_steps": WARMUP, "num_training_steps": TOTAL}
    wsd = {**lengths, "num_decay_steps": DECAY, "min_lr_ratio": 0.1}
    rate = hf.get_cosine_with_min_lr_schedule_with_warmup_lr_rate
    made = {
        "HF constant_with_warmup": lambda o: hf.get_constant_schedule_with_warmup(
            o, WARMUP
        ),
        "HF linear": lambda o: hf.get_linear_schedule_with_warmup(o, **lengths),
        "HF cosine num_cycles=0.5": lambda o: hf.get_cosine_schedule_with_warmup(
            o, **lengths
        ),
        "HF polynomial lr_end=.1 p=2": (
            lambda o: hf.get_polynomial_decay_schedule_with_warmup(
                o, **lengths, lr_end=0.1, power=2
            )
        ),
        "HF inverse_sqrt ts=None": lambda o: hf.get_inverse_sqrt_schedule(o, WARMUP),
        "HF inverse_sqrt ts=8": lambda o: hf.get_inverse_sqrt_schedule(
            o, WARMUP, timescale=8
        ),
        "HF cosine_with_min_lr .1": (
            lambda o: hf.get_cosine_with_min_lr_schedule_with_warmup(
                o, **lengths, min_lr=0.1
            )
        ),
        **{
            f"HF cosine_warmup_with_min_lr .1 warmup_lr_rate={start}": (
                lambda o, start=start: rate(
                    o, **lengths, min_lr=0.1, warmup_lr_rate=start
                )
            )
            for start in (None, 0.1)
        },
        **{
            f"HF wsd {up}/{down} min .1": (
                lambda o, up=up, down=down: hf.get_wsd_schedule(
                    o, **wsd, warmup_type=up, decay_type=down
                )
            )
            for up, down in (
                ("linear", "linear"),
                ("linear", "cosine"),
                ("cosine", "linear"),
                ("1-sqrt", "linear"),
            )
        },
    }
    rates = {}
    for key, build in made.items():
        optimizer = _optimizer()
        rates[key] = _walk(build(optimizer), optimizer, steps)
    return rates


def _pytorch_warmup(steps):
    import pytorch_warmup as pw

    made = {
        "Linear(5)": (0.999, lambda o: pw.LinearWarmup(o, 5), steps),
        "Exponential(5)": (0.999, lambda o: pw.ExponentialWarmup(o, 5), steps),
        "UntunedExponential b2=0.9": (0.9, pw.UntunedExponentialWarmup, 60),
        "UntunedExponential b2=0.95": (0.95, pw.UntunedExponentialWarmup, 60),
        "UntunedLinear b2=0.99": (0.99, pw.UntunedLinearWarmup, 60),
        "UntunedLinear b2=0.999": (0.999, pw.UntunedLinearWarmup, 60),
        **{
            f"RAdam b2={b2} (offset 5)": (b2, pw.RAdamWarmup, 60)
            for b2 in (0.9, 0.99, 0.999)
        },
    }
    rates = {}
    for key, (b2, build, count) in made.items():
        optimizer = _optimizer(b2=b2)
        warmup, used = build(optimizer), []
        for _ in range(count):
            used.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            with warmup.dampening():
                pass
        rates[f"pytorch_warmup {key}"] = used
    return rates


def _keras(steps):
    from keras.optimizers import schedules as ks

    made = {
        "ExponentialDecay": ks.ExponentialDecay(1.0, 5, 0.5),
        "InverseTimeDecay": ks.InverseTimeDecay(1.0, 5, 0.5),
        "InverseTimeDecay staircase": ks.InverseTimeDecay(1.0, 5, 0.5, staircase=True),
        "CosineDecay warmup": ks.CosineDecay(
            0.1, 15, alpha=0.2, warmup_target=1.0, warmup_steps=5
        ),
        "CosineDecayRestarts 4 2 .5 .1": ks.CosineDecayRestarts(1.0, 4, 2.0, 0.5, 0.1),
    }
    return {
        f"Keras {key}": [float(f(step)) for step in range(steps)]
        for key, f in made.items()
    }


PACKAGES = {
    "optax": _optax,
    "torch": _torch,
    "transformers": _transformers,
    "pytorch_warmup": _pytorch_warmup,
    "keras": _keras,
}


def main() -> None:
    stored = numbers()
    for package, make in PACKAGES.items():
        try:
            importlib.import_module(package)
        except ImportError as error:
            print(f"{package}: left as it is ({error})")
            continue
        made = make(26)
        worst = max(
            float(np.max(np.abs(np.subtract(made[key], stored[key])))) for key in made
        )
        print(f"{package}: {len(made)} curves, largest difference {worst:.1e}")
        stored |= made
    if "--write" in sys.argv:
        lines = (f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in stored.items())
        NUMBERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()

"""The schedules of other systems, each as one expression of this library.

Data: `test_parity.py` compares the numbers, `docs/migration.md` is generated from it.
Unless a call says otherwise the peak is 1, the warmup 5, the total 20, the cooldown 6.

Each row: the key of its numbers in parity.json (the value used by update 0, 1, 2, ...),
the call in that system, ours, and a note. `until` is the number of updates compared,
given where the peer leaves its documented range, for the reason in the note.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

NUMBERS = Path(__file__).parent / "parity.json"


class Row(NamedTuple):
    key: str
    call: str
    ours: str
    note: str = ""
    until: int | None = None

    @property
    def system(self) -> str:
        name = self.key.replace(".", " ").split()[0]
        return {
            "HF": "Hugging Face",
            "i2w": "init2winit",
            "REX": "pytorch_optimizer",
        }.get(name, name)


def as_code(note: str) -> str:
    """A note for Markdown, with its calls as code."""
    done, at = "", 0
    for call in re.finditer(r"[\w.]+\(", note):
        if call.start() < at:
            continue  # within the call before
        end, depth = call.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(note[end], 0)
            end += 1
        done += f"{note[at : call.start()]}`{note[call.start() : end]}`"
        at = end
    return done + note[at:]


def numbers() -> dict[str, list[float]]:
    return json.loads(NUMBERS.read_text())


ROWS = (
    Row(
        "optax.linear_schedule(.1,1,5,transition_begin=3)",
        "linear_schedule(0.1, 1, 5, transition_begin=3)",
        "delay(transition(0.1, 1, 5), 3)",
    ),
    Row(
        "optax.polynomial_schedule(1,.1,power2,10)",
        "polynomial_schedule(1, 0.1, power=2, transition_steps=10)",
        "transition(1, 0.1, 10, shapes.polynomial(2))",
    ),
    Row(
        "optax.exponential_decay(1,5,.5)",
        "exponential_decay(1, 5, 0.5)",
        "exponential_decay(1, steps=5, rate=0.5)",
    ),
    Row(
        "optax.exponential_decay staircase end .2 begin 3",
        "exponential_decay(1, 5, 0.5, transition_begin=3, staircase=True, "
        "end_value=0.2)",
        "clip(delay(step_decay(1, steps=5, rate=0.5), 3), minimum=0.2)",
    ),
    Row(
        "optax.cosine_decay_schedule(1,15,.1,exponent=2)",
        "cosine_decay_schedule(1, 15, alpha=0.1, exponent=2)",
        "transition(1, 0.1, 15, shapes.warp(shapes.polynomial(2), shapes.cosine))",
        "alpha is relative to the initial value, end_value is not",
    ),
    Row(
        "optax.warmup_cosine(.1,1,5,20,end=.2)",
        "compat.optax.warmup_cosine_decay_schedule(0.1, 1, 5, 20, end_value=0.2)",
        "compat.optax.warmup_cosine_decay_schedule(0.1, 1, 5, 20, end_value=0.2)",
        "or warmup_cosine(1, 5, 20, init_value=0.1, end_value=0.2)",
    ),
    Row(
        "optax.cosine_onecycle T=20",
        "cosine_onecycle_schedule(20, 1, final_div_factor=100)",
        "one_cycle(1, 6, 20, end_value=0.0004)",
        "warmup_steps = int(pct_start * 20)",
    ),
    Row(
        "torch.StepLR(5,.5)",
        "StepLR(optimizer, step_size=5, gamma=0.5)",
        "step_decay(1, steps=5, rate=0.5)",
    ),
    Row(
        "torch.MultiStepLR([5,10],.1)",
        "MultiStepLR(optimizer, [5, 10], gamma=0.1)",
        "multistep(1, [(5, 0.1), (10, 0.01)])",
        "factors are of the initial value, not of the last one",
    ),
    Row(
        "torch.PolynomialLR(10,2)",
        "PolynomialLR(optimizer, total_iters=10, power=2)",
        "transition(1, 0, 10, shapes.polynomial(2))",
    ),
    Row(
        "torch.CosineAnnealingLR(10,.1)",
        "CosineAnnealingLR(optimizer, T_max=10, eta_min=0.1)",
        "cycle(piecewise(1, [(10, 0.1, shapes.cosine), (10, 1, shapes.cosine)]), 20)",
        "up to T_max it is transition(1, 0.1, 10, shapes.cosine); torch goes up again",
    ),
    Row(
        "torch.CosineAnnealingWarmRestarts(4,2,.1)",
        "CosineAnnealingWarmRestarts(optimizer, T_0=4, T_mult=2, eta_min=0.1)",
        "cycle(transition(1, 0.1, 4, shapes.cosine), 4, period_multiplier=2)",
    ),
    Row(
        "torch.CyclicLR(.1,1,4,6,triangular)",
        "CyclicLR(optimizer, 0.1, 1, 4, 6)",
        "triangular(0.1, 1, 4, 6)",
    ),
    Row(
        "torch.CyclicLR(.1,1,4,6,triangular2)",
        'CyclicLR(optimizer, 0.1, 1, 4, 6, mode="triangular2")',
        "triangular(0.1, 1, 4, 6, scale=0.5)",
    ),
    Row(
        "torch.CyclicLR(.1,1,4,6,exp_range)",
        'CyclicLR(optimizer, 0.1, 1, 4, 6, mode="exp_range", gamma=0.9)',
        "triangular(0.1, 1, 4, 6, rate=0.9)",
    ),
    Row(
        "torch.OneCycleLR(total=20,pct=.3,linear,three=False)",
        "OneCycleLR(optimizer, 1, total_steps=20, final_div_factor=100, "
        'anneal_strategy="linear")',
        "one_cycle(1, 5, 19, end_value=0.0004, shape=shapes.linear)",
        "warmup_steps = 0.3 * 20 - 1, total_steps = 20 - 1; past its end torch raises",
    ),
    Row(
        "torch.OneCycleLR(total=20,pct=.3,linear,three=True)",
        "the same with three_phase=True",
        "one_cycle(1, 5, 19, end_value=0.0004, return_steps=5, shape=shapes.linear)",
        "torch raises past its end",
    ),
    Row(
        "HF constant_with_warmup",
        "get_constant_schedule_with_warmup(optimizer, 5)",
        'compat.transformers.get_scheduler("constant_with_warmup", 1, 5)',
        "or warmup_constant(1, 5)",
    ),
    Row(
        "HF linear",
        "get_linear_schedule_with_warmup(optimizer, 5, 20)",
        'compat.transformers.get_scheduler("linear", 1, 5, 20)',
        "or warmup_linear(1, 5, 20)",
    ),
    Row(
        "HF cosine num_cycles=0.5",
        "get_cosine_schedule_with_warmup(optimizer, 5, 20)",
        'compat.transformers.get_scheduler("cosine", 1, 5, 20)',
        "or warmup_cosine(1, 5, 20); theirs rises again past update 20",
        until=21,
    ),
    Row(
        "HF polynomial lr_end=.1 p=2",
        "get_polynomial_decay_schedule_with_warmup(optimizer, 5, 20, lr_end=0.1, "
        "power=2)",
        'compat.transformers.get_scheduler("polynomial", 1, 5, 20, '
        '{"lr_end": 0.1, "power": 2})',
        "or warmup(transition(1, 0.1, 15, shapes.polynomial(2)), 5)",
    ),
    Row(
        "HF inverse_sqrt ts=None",
        "get_inverse_sqrt_schedule(optimizer, 5)",
        'compat.transformers.get_scheduler("inverse_sqrt", 1, 5)',
        "or warmup_inverse_sqrt(1, 5)",
    ),
    Row(
        "HF inverse_sqrt ts=8",
        "get_inverse_sqrt_schedule(optimizer, 5, timescale=8)",
        'compat.transformers.get_scheduler("inverse_sqrt", 1, 5, None, '
        '{"timescale": 8})',
        "or warmup_inverse_sqrt(1, 5, timescale=8)",
    ),
    Row(
        "HF cosine_with_min_lr .1",
        "get_cosine_with_min_lr_schedule_with_warmup(optimizer, 5, 20, min_lr=0.1)",
        'compat.transformers.get_scheduler("cosine_with_min_lr", 1, 5, 20, '
        '{"min_lr": 0.1})',
        "or warmup_cosine(1, 5, 20, end_value=0.1); theirs rises again past update 20",
        until=21,
    ),
    Row(
        "HF cosine_warmup_with_min_lr .1 warmup_lr_rate=None",
        "get_cosine_with_min_lr_schedule_with_warmup_lr_rate(optimizer, 5, 20, "
        "min_lr=0.1)",
        'compat.transformers.get_scheduler("cosine_warmup_with_min_lr", 1, 5, '
        '20, {"min_lr": 0.1})',
        "or advance(warmup_cosine(1, 5, 20, end_value=0.1), 1); theirs rises again "
        "past update 19",
        until=20,
    ),
    Row(
        "HF cosine_warmup_with_min_lr .1 warmup_lr_rate=0.1",
        "the same with warmup_lr_rate=0.1",
        'compat.transformers.get_scheduler("cosine_warmup_with_min_lr", 1, 5, 20, '
        '{"min_lr": 0.1, "warmup_lr_rate": 0.1})',
        "or warmup_cosine(1, 4, 19, init_value=0.1, end_value=0.1); theirs rises again",
        until=20,
    ),
    Row(
        "HF wsd linear/linear min .1",
        "get_wsd_schedule(optimizer, 5, 6, num_training_steps=20, min_lr_ratio=0.1)",
        'compat.transformers.get_scheduler("warmup_stable_decay", 1, 5, 20, '
        '{"num_decay_steps": 6, "min_lr_ratio": 0.1})',
        "or wsd(1, 5, 20, 6, init_value=0.1, end_value=0.1): it starts at its floor",
    ),
    Row(
        "HF wsd linear/cosine min .1",
        'the same with decay_type="cosine"',
        "wsd(1, 5, 20, 6, init_value=0.1, end_value=0.1, decay_shape=shapes.cosine)",
    ),
    Row(
        "HF wsd cosine/linear min .1",
        'the same with warmup_type="cosine"',
        'compat.transformers.get_scheduler("warmup_stable_decay", 1, 5, 20, '
        '{"num_decay_steps": 6, "min_lr_ratio": 0.1, "warmup_type": "cosine"})',
    ),
    Row(
        "HF wsd 1-sqrt/linear min .1",
        'the same with warmup_type="1-sqrt"',
        "cooldown(warmup(1, 5, init_value=0.1, shape=shapes.polynomial(0.5)), 14, 6, "
        "end_value=0.1)",
    ),
    Row(
        "pytorch_warmup Linear(5)",
        "LinearWarmup(optimizer, warmup_period=5)",
        "warmup(1, 5, offset=1)",
        "a factor: multiply the schedule by it",
    ),
    Row(
        "pytorch_warmup Exponential(5)",
        "ExponentialWarmup(optimizer, warmup_period=5)",
        "factors.exponential(5)",
        "a factor, as all of pytorch_warmup's",
    ),
    Row(
        "pytorch_warmup UntunedExponential b2=0.9",
        "UntunedExponentialWarmup(optimizer), b2 = 0.9",
        "factors.untuned_exponential(0.9)",
    ),
    Row(
        "pytorch_warmup RAdam b2=0.9 (offset 5)",
        "RAdamWarmup(optimizer), b2 = 0.9",
        "factors.radam(0.9)",
    ),
    Row(
        "pytorch_warmup UntunedExponential b2=0.95",
        "UntunedExponentialWarmup(optimizer), b2 = 0.95",
        "factors.exponential(19)",
        "theirs truncates 1 / (1 - b2) to 19; factors.untuned_exponential(0.95) has 20",
    ),
    Row(
        "pytorch_warmup UntunedLinear b2=0.99",
        "UntunedLinearWarmup(optimizer), b2 = 0.99",
        "warmup(1, 199, offset=1)",
        "theirs truncates 2 / (1 - b2) to 199; factors.untuned_linear(0.99) has 200",
    ),
    Row(
        "pytorch_warmup RAdam b2=0.99 (offset 5)",
        "RAdamWarmup(optimizer), b2 = 0.99",
        "factors.radam(0.99)",
    ),
    Row(
        "pytorch_warmup UntunedLinear b2=0.999",
        "UntunedLinearWarmup(optimizer), b2 = 0.999",
        "warmup(1, 1999, offset=1)",
        "theirs truncates 2 / (1 - b2) to 1999; factors.untuned_linear(0.999) has 2000",
    ),
    Row(
        "pytorch_warmup RAdam b2=0.999 (offset 5)",
        "RAdamWarmup(optimizer), b2 = 0.999",
        "factors.radam(0.999)",
    ),
    Row(
        "DeepSpeed WarmupDecayLR linear",
        'WarmupDecayLR(optimizer, 20, 0.1, 1, 5, warmup_type="linear")',
        "delay(warmup_linear(1, 5, 20, init_value=0.1, end_value=0.1), 1)",
        "its warmup schedules start one update late",
    ),
    Row(
        "DeepSpeed WarmupCosineLR linear",
        "WarmupCosineLR(optimizer, 20, warmup_min_ratio=0.1, warmup_num_steps=5, "
        'cos_min_ratio=0.2, warmup_type="linear")',
        "join([(1, 0), (5, transition(0.1, 1, 5))], "
        "last=advance(transition(1, 0.2, 15, shapes.cosine), 1))",
        "its first update has rate 0, and none has the peak",
    ),
    Row(
        "DeepSpeed WarmupLR log",
        "WarmupLR(optimizer, 0.1, 1, 5)",
        "delay(warmup(1, 4, init_value=0.1, shape=shapes.logarithmic(5)), 1)",
    ),
    Row(
        "DeepSpeed WarmupCosineLR log",
        "WarmupCosineLR(optimizer, 20, warmup_min_ratio=0.1, warmup_num_steps=5, "
        "cos_min_ratio=0.2)",
        "join([(1, 0)], last=warmup(transition(1, 0.2, 15, shapes.cosine), 4, "
        "init_value=0.1, shape=shapes.logarithmic(5)))",
        "its first update has rate 0",
    ),
    Row(
        "DeepSpeed OneCycle",
        "OneCycle(optimizer, 0.1, 1, decay_lr_rate=0.5, cycle_first_step_size=4, "
        "cycle_second_step_size=6, decay_step_size=3)",
        "join([(4, transition(0.1, 1, 4)), (6, transition(1, 0.1, 6))], "
        "last=inverse_power(0.1, timescale=6, power=1))",
        "its tail is inverse time, with timescale decay_step_size / decay_lr_rate",
    ),
    Row(
        "DeepSpeed LRRangeTest",
        "LRRangeTest(optimizer, 0.1, lr_range_test_step_size=5, "
        "lr_range_test_step_rate=2)",
        "transition(0.1, 4.1, 100)",
        "a line without end; ours ends somewhere. Staircase: staircase(..., 5)",
    ),
    Row(
        "Megatron cosine",
        "--lr-decay-style cosine, --lr-warmup-init 0.05, --min-lr 0.1",
        "warmup_cosine(1, 5, 20, init_value=0.05, end_value=0.1)",
    ),
    Row(
        "Megatron inverse-square-root",
        "--lr-decay-style inverse-square-root",
        "join([(21, warmup_inverse_sqrt(1, 5, init_value=0.05))], last=0.1)",
        "falls to min_lr after lr_decay_iters; before it, it is the warmup alone",
    ),
    Row(
        "Megatron WSD cosine",
        "--lr-decay-style WSD --lr-wsd-decay-style cosine",
        "wsd(1, 5, 20, 6, init_value=0.05, end_value=0.1, decay_shape=shapes.cosine)",
    ),
    Row(
        "Megatron WSD exponential",
        "--lr-decay-style WSD --lr-wsd-decay-style exponential",
        "wsd(1, 5, 20, 6, init_value=0.05, end_value=0.1, "
        "decay_shape=shapes.exponential(0.5))",
    ),
    Row(
        "Megatron WSD minus_sqrt",
        "--lr-decay-style WSD --lr-wsd-decay-style minus_sqrt",
        "wsd(1, 5, 20, 6, init_value=0.05, end_value=0.1, "
        "decay_shape=shapes.power(0.5))",
    ),
    Row(
        "Megatron weight decay linear",
        "--weight-decay-incr-style linear, from 0.1 to 0.5 over 10",
        "transition(0.1, 0.5, 10)",
    ),
    Row(
        "Megatron weight decay cosine",
        "--weight-decay-incr-style cosine, from 0.1 to 0.5 over 10",
        "transition(0.1, 0.5, 10, shapes.cosine)",
    ),
    Row(
        "fairseq inverse_sqrt",
        "inverse_sqrt, warmup_init_lr=0.1",
        "warmup_inverse_sqrt(1, 5, init_value=0.1)",
    ),
    Row(
        "fairseq polynomial_decay",
        "polynomial_decay, power=2, end_learning_rate=0.1",
        "warmup(transition(1, 0.1, 15, shapes.polynomial(2)), 5)",
    ),
    Row(
        "fairseq cosine t_mult=2 shrink=.5",
        "cosine, lr_period_updates=5, t_mult=2, lr_shrink=0.5, warmup_init_lr=0.1, "
        "min_lr=0.1",
        "warmup(cycle(transition(1, 0.1, 5, shapes.cosine), 5, period_multiplier=2, "
        "scale=0.5), 5, init_value=0.1)",
        "its shrinking takes the floor along; with floor=0.1 ours leaves it",
    ),
    Row(
        "fairseq tri_stage",
        "tri_stage, warmup 5, hold 4, decay 8, init_lr_scale=0.01, final_lr_scale=0.05",
        "tri_stage(1, 5, 4, 8, init_value=0.01, end_value=0.05)",
    ),
    Row(
        "fairseq step",
        "step, lr_deacy_period=6, lr_decay=0.5, warmup_init_lr=0.1",
        "warmup(step_decay(1, steps=6, rate=0.5), 5, init_value=0.1)",
    ),
    Row(
        "T5X default",
        '"constant * linear_warmup * rsqrt_decay"',
        "clip(warmup_inverse_sqrt(5 ** -0.5, 5), minimum=1e-8)",
        "its peak is base_learning_rate / sqrt(warmup_steps), its minimum 1e-8",
    ),
    Row(
        "T5X rsqrt_normalized",
        '"constant * linear_warmup * rsqrt_normalized_decay"',
        "clip(warmup_inverse_sqrt(1, 5), minimum=1e-8)",
    ),
    Row(
        "T5X linear_decay .05",
        '"constant * linear_warmup * linear_decay", decay_factor=0.05',
        "clip(warmup_linear(1, 5, 25), minimum=1e-8)",
        "a slope instead of an end: total_steps = 5 + 1 / 0.05",
    ),
    Row(
        "Composer Constant t_max alpha .5 10ba",
        'ConstantScheduler(alpha=0.5, t_max="10ba")',
        "join([(10, 0.5)], last=1)",
    ),
    Row(
        "Composer Linear",
        'LinearScheduler(alpha_f=0.1, t_max="10ba")',
        "transition(1, 0.1, 10)",
    ),
    Row(
        "Composer Polynomial 2",
        'PolynomialScheduler(power=2, alpha_f=0.1, t_max="10ba")',
        "transition(1, 0.1, 10, shapes.polynomial(2))",
    ),
    Row(
        "Composer PolynomialWithWarmup",
        'PolynomialWithWarmupScheduler("5ba", power=2, alpha_f=0.1)',
        "warmup(transition(1, 0.1, 15, shapes.polynomial(2)), 5)",
    ),
    Row(
        "Composer MultiStepWithWarmup [8,12] .1",
        'MultiStepWithWarmupScheduler("5ba", ["8ba", "12ba"], gamma=0.1)',
        "multiply(warmup(1, 5), multistep(1, [(8, 0.1), (12, 0.01)]))",
        "its milestones count from the first update, the warmup included",
    ),
    Row(
        "MaxText cosine",
        "warmup_steps_fraction=0.25, learning_rate_final_fraction=0.1, "
        "learning_rate_schedule_steps=20, steps=26",
        "join([(20, warmup_cosine(1, 5, 19, end_value=0.1))], last=0)",
        "it ends an update early, and is 0 from learning_rate_schedule_steps on",
    ),
    Row(
        "Levanter cosine min .1 warmup .25",
        'lr_schedule="cosine", warmup=0.25, min_lr_ratio=0.1',
        "warmup_cosine(1, 5, 20, end_value=0.1)",
    ),
    Row(
        "Levanter inv_sqrt",
        "InvSqrtLrSchedule(timescale=10_000), warmup=5",
        "power_law(1, 5, hold_until=10_005)",
        "it holds the peak for its timescale",
    ),
    Row(
        "Levanter cycles=2 rewarmup=3 linear",
        'lr_schedule="linear", cycles=2, warmup=2, rewarmup=3, min_lr_ratio=0.1',
        "piecewise(0, [(2, 1), (8, 0.1), (3, 1), (7, 0.1)])",
    ),
    Row(
        "torchtitan sqrt",
        'warmup_steps=5, decay_ratio=0.3, decay_type="sqrt", min_lr_factor=0.1',
        "advance(wsd(1, 5, 21, 6, end_value=0.1, decay_shape=shapes.power(0.5)), 1)",
        "its warmup is one update ahead; past update 20 it falls on, below 0",
        until=21,
    ),
    Row(
        "torchtitan cosine",
        'warmup_steps=5, decay_ratio=0.3, decay_type="cosine", min_lr_factor=0.1',
        "wsd(1, 5, 20, 6, end_value=0.1, decay_shape=shapes.cosine, offset=1)",
        "past update 20 it rises again",
        until=21,
    ),
    Row(
        "Keras ExponentialDecay",
        "ExponentialDecay(1, decay_steps=5, decay_rate=0.5)",
        "exponential_decay(1, steps=5, rate=0.5)",
    ),
    Row(
        "Keras InverseTimeDecay",
        "InverseTimeDecay(1, decay_steps=5, decay_rate=0.5)",
        "inverse_power(1, timescale=10, power=1)",
        "timescale = decay_steps / decay_rate",
    ),
    Row(
        "Keras InverseTimeDecay staircase",
        "InverseTimeDecay(1, decay_steps=5, decay_rate=0.5, staircase=True)",
        "staircase(inverse_power(1, timescale=10, power=1), 5)",
    ),
    Row(
        "Keras CosineDecay warmup",
        "CosineDecay(0.1, 15, alpha=0.2, warmup_target=1, warmup_steps=5)",
        "warmup_cosine(1, 5, 20, init_value=0.1, end_value=0.2)",
    ),
    Row(
        "Keras CosineDecayRestarts 4 2 .5 .1",
        "CosineDecayRestarts(1, 4, t_mul=2, m_mul=0.5, alpha=0.1)",
        "cycle(transition(1, 0.1, 4, shapes.cosine), 4, period_multiplier=2, "
        "scale=0.5, floor=0.1)",
    ),
    Row(
        "timm cosine prefix k_decay",
        "CosineLRScheduler(optimizer, t_initial=15, lr_min=0.2, k_decay=1.5, "
        "warmup_t=5, warmup_lr_init=0.1, warmup_prefix=True)",
        "warmup(transition(1, 0.2, 15, shapes.warp(shapes.cosine, shapes.power(1.5))), "
        "5, init_value=0.1)",
    ),
    Row(
        "timm tanh prefix",
        "TanhLRScheduler(optimizer, t_initial=15, lb=-7, ub=3, lr_min=0.05, "
        "warmup_t=5, warmup_lr_init=0.1, warmup_prefix=True)",
        "join([(20, warmup(transition(0.9999992100483738, 0.05234899199880303, 15, "
        "shapes.tanh(-7, 3)), 5, init_value=0.1))], last=0.05)",
        "it starts at 0.05 + 0.95 * (1 + tanh(7)) / 2, ends at 0.05 + 0.95 * "
        "(1 - tanh(3)) / 2, and then jumps to lr_min",
    ),
    Row(
        "timm poly .5",
        "PolyLRScheduler(optimizer, t_initial=20, power=0.5, lr_min=0.05, warmup_t=5, "
        "warmup_lr_init=0.1)",
        "join([(5, transition(0.1, 1, 5))], "
        "last=advance(transition(1, 0.05, 20, shapes.polynomial(0.5)), 5))",
        "without warmup_prefix the ramp aims at the peak, and the curve is elsewhere",
    ),
    Row(
        "timm step",
        "StepLRScheduler(optimizer, decay_t=6, decay_rate=0.5, warmup_t=5, "
        "warmup_lr_init=0.1)",
        "warmup(step_decay(1, steps=6, rate=0.5), 5, init_value=0.1)",
    ),
    Row(
        "timm multistep [8,12] no warmup",
        "MultiStepLRScheduler(optimizer, [8, 12], decay_rate=0.5)",
        "multistep(1, [(7, 0.5), (11, 0.25)])",
        "its milestones act one update early",
    ),
    Row(
        "timm wsd constant/linear",
        'WSDLRScheduler(..., decay_fn="linear", lr_min=0.05)',
        "wsd(1, 5, 20, 6, end_value=0.05)",
    ),
    Row(
        "timm wsd constant/1-sqrt",
        'WSDLRScheduler(..., decay_fn="1-sqrt", lr_min=0.05)',
        "wsd(1, 5, 20, 6, end_value=0.05, decay_shape=shapes.power(0.5))",
    ),
    Row(
        "timm wsd constant/cosine",
        'WSDLRScheduler(..., decay_fn="cosine", lr_min=0.05)',
        "wsd(1, 5, 20, 6, end_value=0.05, decay_shape=shapes.cosine)",
    ),
    Row(
        "timm wsd constant/exp",
        'WSDLRScheduler(..., decay_fn="exp", lr_min=0.05)',
        "wsd(1, 5, 20, 6, end_value=0.05, decay_shape=shapes.exponential(0.1))",
    ),
    Row(
        "timm wsd rsqrt/1-sqrt",
        'WSDLRScheduler(..., stable_fn="rsqrt", decay_fn="1-sqrt", lr_min=0.05)',
        "add(multiply(warmup_inverse_sqrt(1, 5), "
        "delay(transition(1, 0, 6, shapes.power(0.5)), 14)), "
        "delay(transition(0, 0.05, 6, shapes.power(0.5)), 14))",
        "its stable stage falls on below the cooldown",
    ),
    Row(
        "timm wsd rsqrt/power",
        'WSDLRScheduler(..., stable_fn="rsqrt", decay_fn="power", lr_min=0.05)',
        "add(multiply(warmup_inverse_sqrt(1, 5), "
        "delay(transition(1, 0, 6, shapes.power(2)), 14)), "
        "delay(transition(0, 0.05, 6, shapes.power(2)), 14))",
        "its stable stage falls on below the cooldown; its decay power is 2",
    ),
    Row(
        "timm wsd power/linear",
        'WSDLRScheduler(..., stable_fn="power", decay_fn="linear", lr_min=0.05)',
        "add(multiply(warmup(inverse_power(1, timescale=5, power=0.7), 5), "
        "delay(transition(1, 0, 6), 14)), "
        "delay(transition(0, 0.05, 6), 14))",
        "with its stable power at 0.7",
    ),
    Row(
        "timm wsd power/1-sqrt",
        'WSDLRScheduler(..., stable_fn="power", decay_fn="1-sqrt", lr_min=0.05)',
        "add(multiply(warmup(inverse_power(1, timescale=5, power=0.7), 5), "
        "delay(transition(1, 0, 6, shapes.power(0.5)), 14)), "
        "delay(transition(0, 0.05, 6, shapes.power(0.5)), 14))",
        "with its stable power at 0.7",
    ),
    Row(
        "timm wsd power/power",
        'WSDLRScheduler(..., stable_fn="power", decay_fn="power", lr_min=0.05)',
        "add(multiply(warmup(inverse_power(1, timescale=5, power=0.7), 5), "
        "delay(transition(1, 0, 6, shapes.power(2)), 14)), "
        "delay(transition(0, 0.05, 6, shapes.power(2)), 14))",
        "with its stable power at 0.7; its decay power is 2",
    ),
    Row(
        "big_vision rsqrt ts=8 shift=3 cooldown 4",
        'decay_type="rsqrt", timescale=8, shift=3, warmup_steps=5, cooldown_steps=4',
        "multiply(warmup(advance(inverse_power(1, timescale=8), 3), 5), "
        "delay(transition(1, 0, 4), 16))",
        "its cooldown multiplies what goes on falling; past update 20 it is negative",
        until=21,
    ),
    Row(
        "big_vision linear p=2 end .1",
        'decay_type="linear", power=2, end=0.1, warmup_steps=5',
        "warmup(transition(1, 0.1, 15, shapes.polynomial(2)), 5)",
    ),
    Row(
        "i2w transformer_schedule d=1",
        "transformer_schedule, model dimension 1",
        "noam(1, 5)",
    ),
    Row(
        "i2w rsqrt_normalized_decay_warmup sq=8",
        "rsqrt_normalized_decay_warmup, squash_steps=8",
        "warmup_inverse_sqrt(1, 5, timescale=8)",
    ),
    Row(
        "i2w piecewise_constant",
        "piecewise_constant, 0.5 after 8, 0.1 after 12",
        "multistep(1, [(9, 0.5), (13, 0.1)])",
        "its milestones act one update late, as Keras' do",
    ),
    Row(
        "epfml cos_inf",
        "cos_inf",
        "infinite(1, 5, 9, 0.01, init_value=0.1)",
    ),
    Row(
        "REX (pytorch_optimizer)",
        "REXScheduler(total_steps=20)",
        "transition(1, 0, 20, shapes.rex())",
    ),
)

"""What other libraries call things, and what they are called here."""

import difflib
import sys
from collections.abc import Iterable, Sequence

_PEAK = ("peak_value", "schedule", "learning_rate", "value")
_FIRST = ("init_value",)
_LAST = ("end_value",)
_WARMUP = ("warmup_steps", "steps")
_TOTAL = ("total_steps", "steps")

# Arguments; of the names here the first that a function has is meant.
ARGUMENTS = {
    **dict.fromkeys(("peak", "peak_lr", "max_lr", "lr", "learning_rate"), _PEAK),
    **dict.fromkeys(("peak_learning_rate", "max_learning_rate", "optimizer"), _PEAK),
    **dict.fromkeys(("base_lr", "init_lr", "initial_lr", "start_lr"), _FIRST),
    **dict.fromkeys(("warmup_init_lr", "warmup_start_lr", "start_value"), _FIRST),
    **dict.fromkeys(("min_lr", "eta_min", "final_value", "final_lr"), _LAST),
    **dict.fromkeys(("end_lr", "lr_end", "min_value"), _LAST),
    **dict.fromkeys(
        ("warmup", "num_warmup_steps", "warmup_iters", "n_warmup"), _WARMUP
    ),
    **dict.fromkeys(("num_training_steps", "num_steps", "max_steps"), _TOTAL),
    **dict.fromkeys(("decay_steps", "T_max", "total_iters", "max_iters"), _TOTAL),
    "transition_steps": ("steps",),
}
SHARES = ("warmup_ratio", "warmup_fraction", "warmup_proportion", "pct_start")
ARGUMENTS |= dict.fromkeys(SHARES, _WARMUP)

# Functions and classes; what is written here in their place.
_HUGGING_FACE = "compat.transformers.get_scheduler"
FUNCTIONS = {
    "get_scheduler": f"{_HUGGING_FACE}(name, peak_value, ...)",
    "get_constant_schedule": "constant(value)",
    "get_constant_schedule_with_warmup": "warmup_constant(peak_value, warmup_steps)",
    "get_linear_schedule_with_warmup": (
        "warmup_linear(peak_value, warmup_steps, total_steps)"
    ),
    "get_cosine_schedule_with_warmup": (
        "warmup_cosine(peak_value, warmup_steps, total_steps)"
    ),
    "get_cosine_with_hard_restarts_schedule_with_warmup": (
        f'{_HUGGING_FACE}("cosine_with_restarts", peak_value, ...)'
    ),
    "get_cosine_with_min_lr_schedule_with_warmup": (
        "warmup_cosine(peak_value, warmup_steps, total_steps, end_value=...)"
    ),
    "get_polynomial_decay_schedule_with_warmup": (
        f'{_HUGGING_FACE}("polynomial", peak_value, ...)'
    ),
    "get_inverse_sqrt_schedule": "warmup_inverse_sqrt(peak_value, warmup_steps)",
    "get_wsd_schedule": "wsd(peak_value, warmup_steps, total_steps, decay_steps)",
    "OneCycleLR": "one_cycle(peak_value, total_steps)",
    "LinearLR": "transition(init_value, end_value, steps)",
    "CosineAnnealingLR": "transition(init_value, end_value, steps, shapes.cosine)",
    "CosineAnnealingWarmRestarts": "cycle(schedule, period)",
    "SequentialLR": "join(phases, last)",
    "StepLR": "step_decay(init_value, ...)",
    "MultiStepLR": "multistep(init_value, ...)",
    "ExponentialLR": "exponential_decay(init_value, ...)",
    "ReduceLROnPlateau": "reduce_on_plateau(...)",
    "warmup_cosine_decay_schedule": (
        "warmup_cosine(peak_value, warmup_steps, total_steps), or "
        "compat.optax.warmup_cosine_decay_schedule with the arguments of optax"
    ),
    "linear_schedule": "transition(init_value, end_value, steps)",
    "cosine_decay_schedule": "transition(init_value, end_value, steps, shapes.cosine)",
    "join_schedules": "join(phases, last)",
}


def argument(name: str, known: Sequence[str]) -> str | None:
    """Returns which of the known arguments is meant by a name from elsewhere."""
    return next((here for here in ARGUMENTS.get(name, ()) if here in known), None)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelled one is nearest to, if one is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def missing(module: str, name: str) -> AttributeError:
    """Returns the error about a name that a module does not have."""
    here = FUNCTIONS.get(name) or _public_place(name)
    close = nearest(name, [x for x in vars(sys.modules[module]) if x[0] != "_"])
    hint = ""
    if here:
        hint = f"; here it is optax_warmup.{here}"
    elif close:
        hint = f". Did you mean {close!r}?"
    message = f"module {module!r} has no attribute {name!r}{hint}"
    return AttributeError(message, name=name)


def _public_place(name: str) -> str | None:
    """Where a name stands that is in a namespace: "diagnostics.advise"."""
    package = __name__.split(".")[0]
    for path, module in list(sys.modules.items()):
        start, *spaces = path.split(".")
        if start != package or not spaces or any(x[0] == "_" for x in spaces):
            continue
        found = vars(module).get(name)
        if (getattr(found, "__module__", None) or "").startswith(package):
            return ".".join([*spaces, name])
    return None

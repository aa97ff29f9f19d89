"""Random optimizers, of optax's transforms and of ours, and their twins.

A twin has 1 in place of every rate and factor.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

import optax_warmup as ow


class Both(NamedTuple):
    """An optimizer, its twin, what it is made of, and the schedule it hides."""

    ours: Any
    twin: Any
    text: str
    given: Any = None  # of optax's own, which hold no rate
    label: Callable[[str], str] | None = None  # of the partition that it is


def chained(*parts: Both) -> Both:
    given = [part.given for part in parts if part.given is not None]
    return Both(
        optax.chain(*(part.ours for part in parts)),
        optax.chain(*(part.twin for part in parts)),
        f"chain({', '.join(part.text for part in parts)})",
        given[0] if len(given) == 1 else None,  # of two it is not said which is which
        parts[0].label,
    )


def same(make: Callable[[], Any], text: str) -> Both:
    return Both(make(), make(), text)


def some(rng: random.Random) -> tuple[Any, str]:
    """A rate or a factor: a number or a schedule."""
    value = round(10 ** rng.uniform(-3, 0), 5)
    n = rng.choice((0, 1, 2, 3, 10))
    text = rng.choice(
        (
            f"{value}",
            f"ow.constant({value})",
            f"ow.warmup({value}, {n})",
            f"ow.warmup({value}, {n}, offset=1)",
            f"ow.warmup_cosine({value}, {n}, 20, end_value={value / 10:.6f})",
            f"ow.step_decay({value}, steps=2, rate=0.5)",
            f"ow.noam(64, {n + 1})",
        )
    )
    return eval(text, {"ow": ow}), text


DIRECTIONS = {
    "optax.scale_by_adam()": optax.scale_by_adam,
    "optax.scale_by_adam(b2=0.95)": lambda: optax.scale_by_adam(b2=0.95),
    "optax.identity()": optax.identity,
    "optax.trace(0.9)": lambda: optax.trace(0.9),
    "optax.scale_by_rms()": optax.scale_by_rms,
    "optax.scale_by_lion()": optax.scale_by_lion,
    "optax.scale_by_amsgrad()": optax.scale_by_amsgrad,
    "optax.scale_by_yogi()": optax.scale_by_yogi,
    "optax.scale_by_radam()": optax.scale_by_radam,
    "ow.clip_outliers(adam)": lambda: ow.clip_outliers(optax.scale_by_adam()),
    "ow.clip_update_rms(adam)": lambda: ow.clip_update_rms(optax.scale_by_adam()),
    "ow.init_second_moment_from_gradient(adam)": (
        lambda: ow.init_second_moment_from_gradient(optax.scale_by_adam())
    ),
    "MultiSteps(adam, 2)": lambda: multi(optax.scale_by_adam(), 2),
}
IN_FRONT = {
    "optax.clip(1.0)": lambda: optax.clip(1.0),
    "optax.clip_by_global_norm(1.0)": lambda: optax.clip_by_global_norm(1.0),
    "optax.zero_nans()": optax.zero_nans,
    "optax.add_decayed_weights(0.1)": lambda: optax.add_decayed_weights(0.1),
}
BEHIND = {
    "optax.add_decayed_weights(0.1)": lambda: optax.add_decayed_weights(0.1),
    "optax.clip(5.0)": lambda: optax.clip(5.0),
    "optax.scale_by_trust_ratio()": optax.scale_by_trust_ratio,
}
OWN = ("adam", "adamw", "sgd", "rmsprop", "lion", "lamb", "amsgrad", "radam")


def multi(optimizer: Any, k: int) -> Any:
    steps = optax.MultiSteps(optimizer, k)
    return optax.GradientTransformationExtraArgs(steps.init, steps.update)


def path_of(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def by_path(choose: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda tree: jax.tree_util.tree_map_with_path(
        lambda path, _: choose(path_of(path)), tree
    )


def direction(rng: random.Random) -> Both:
    parts = [same(*pick(DIRECTIONS, rng))]
    if rng.random() < 0.3:
        parts.insert(0, same(*pick(IN_FRONT, rng)))
    if rng.random() < 0.3:
        parts.append(same(*pick(BEHIND, rng)))
    return parts[0] if len(parts) == 1 else chained(*parts)


def pick(table: dict[str, Any], rng: random.Random) -> tuple[Any, str]:
    text = rng.choice(list(table))
    return table[text], text


def rate(rng: random.Random) -> Both:
    given, text = some(rng)
    if rng.random() < 0.8:
        return Both(
            ow.scale_by_learning_rate(given),
            ow.scale_by_learning_rate(1.0),
            f"ow.scale_by_learning_rate({text})",
        )
    counted = as_schedule(given)
    return Both(
        optax.scale_by_learning_rate(counted),
        optax.scale_by_learning_rate(1.0),
        f"optax.scale_by_learning_rate({text})",
        counted,
    )


def as_schedule(given: Any) -> Any:
    """A schedule, which leaves a count in optax's states; a number leaves nothing."""
    return given if callable(given) else ow.constant(given)


def factor(rng: random.Random) -> Both:
    given, text = some(rng)
    one = optax.identity()
    warmup = Both(ow.scale_by_warmup(given), one, f"ow.scale_by_warmup({text})")
    kind = rng.random()
    if kind < 0.5:
        return warmup
    if kind < 0.6:
        plateau = ow.reduce_on_plateau(0.5, 1, rtol=0.0)
        return Both(plateau, one, "ow.reduce_on_plateau(0.5, 1, rtol=0.0)")
    if kind < 0.7:
        plateau = optax.contrib.reduce_on_plateau(0.5, 1)
        return Both(plateau, one, "optax.contrib.reduce_on_plateau(0.5, 1)")
    if kind < 0.8:
        return masked(warmup, rng)
    if kind < 0.9:
        return partition([warmup, same(optax.identity, "identity")], rng)
    return rules(rng, None)


def rules(rng: random.Random, given: Any, text: str = "") -> Both:
    """Multipliers by path, and a rate of their own where one is given."""
    pattern = rng.choice(("layers", "w", "head|embed", "b"))
    share = round(rng.uniform(0.1, 1), 3)
    made = rng.choice(
        (
            f"[ow.groups.Rule({pattern!r}, multiplier={share}), ow.groups.Rule('.*')]",
            f"ow.groups.layerwise_decay({share}, embed='embed', head='head')",
        )
    )
    more = () if given is None else (given,)
    return Both(
        ow.groups.scale_by_rules(eval(made, {"ow": ow}), *more),
        optax.identity() if given is None else optax.scale(-1.0),
        f"ow.groups.scale_by_rules({made}{', ' + text if text else ''})",
    )


def masked(inner: Both, rng: random.Random, others: Both | None = None) -> Both:
    """What a mask lets through, and what is done with the others."""
    word = rng.choice(("w", "layers_0", "head", "layers"))
    within = by_path(lambda path: word in path)
    beyond = by_path(lambda path: word not in path)
    masks = [
        both._replace(
            ours=optax.masked(both.ours, mask),
            twin=optax.masked(both.twin, mask),
            text=f"masked({both.text}, {word!r}{' not' * n} in path)",
        )
        for n, (both, mask) in enumerate([(inner, within), (others, beyond)])
        if both is not None
    ]
    return masks[0] if others is None else chained(*masks)


def partition(parts: list[Both], rng: random.Random) -> Both:
    # Partitions with the same labels would be taken to be the same.
    named = {
        f"{k}{rng.randrange(1000)}": part for k, part in zip("xyz", parts, strict=False)
    }
    names, words = list(named), ["head", "layers", "b", "w"]
    rng.shuffle(words)
    chosen = dict(zip(words, names[1:], strict=False))

    def label(path: str) -> str:
        return next((name for word, name in chosen.items() if word in path), names[0])

    given = {k: part.given for k, part in named.items() if part.given is not None}
    inside = ", ".join(f"{k}: {part.text}" for k, part in named.items())
    return Both(
        optax.partition({k: part.ours for k, part in named.items()}, by_path(label)),
        optax.partition({k: part.twin for k, part in named.items()}, by_path(label)),
        f"partition({{{inside}}}, {chosen} else {names[0]})",
        given or None,
        label,
    )


def own(rng: random.Random) -> Both:
    """An optimizer of optax's, with its rate inside or injected."""
    name, (given, text) = rng.choice(OWN), some(rng)
    make = getattr(optax, name)
    if rng.random() < 0.5:
        given = as_schedule(given)
        return Both(make(given), make(1.0), f"optax.{name}({text})", given)
    inject = optax.inject_hyperparams(make)
    return Both(inject(given), inject(1.0), f"inject_hyperparams({name})({text})")


def plain(rng: random.Random) -> Both:
    """A direction and a rate, perhaps with factors."""
    if rng.random() < 0.25:
        start = [own(rng)]
    elif rng.random() < 0.15:
        given, text = some(rng)
        start = [direction(rng), rules(rng, given, text)]
    else:
        start = [direction(rng), rate(rng)]
    parts = start + [factor(rng) for _ in range(rng.choice((0, 0, 1, 2)))]
    if rng.random() < 0.1 and len(parts) > 2:
        parts[1], parts[2] = parts[2], parts[1]  # factors may stand in front
    return parts[0] if len(parts) == 1 else chained(*parts)


def third(state: Any, **extra: Any) -> Any:
    counts = optax.tree_utils.tree_get_all_with_path(state, "count")
    return counts[0][1] == 3 if counts else False


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "ow.record_moments": ow.record_moments,
    "ow.skip_nonfinite": ow.skip_nonfinite,
    "ow.guards.skip_spikes": ow.guards.skip_spikes,
    "ow.restart_on_spike": ow.restart_on_spike,
    "optax.apply_if_finite": lambda inner: optax.apply_if_finite(inner, 3),
    "MultiSteps(1)": lambda inner: multi(inner, 1),
    "MultiSteps(2)": lambda inner: multi(inner, 2),
    "ow.restart_if": lambda inner: ow.restart_if(inner, third),
    "ow.guards.protect": ow.guards.protect,
    "ow.averages.average_params": lambda inner: ow.averages.average_params(inner, 0.1),
    "optax.named_chain": lambda inner: optax.named_chain(("only", inner)),
    "optax.chain": lambda inner: optax.chain(optax.identity(), inner),
    "ow.automatic_warmup": ow.automatic_warmup,
}
NO_TWIN = ("ow.automatic_warmup", "ow.record_moments")  # it scales, or does nothing


def wrapped(inner: Both, rng: random.Random) -> Both:
    name = rng.choice(list(WRAPPERS))
    twin = inner.twin if name in NO_TWIN else WRAPPERS[name](inner.twin)
    text = f"{name}({inner.text})"
    return inner._replace(ours=WRAPPERS[name](inner.ours), twin=twin, text=text)


def optimizer(rng: random.Random) -> Both:
    kind = rng.random()
    if kind < 0.5:
        made = plain(rng)
    elif kind < 0.8:
        parts = [plain(rng), plain(rng)]
        if rng.random() < 0.3:
            parts.append(same(optax.set_to_zero, "set_to_zero"))
        made = partition(parts, rng)
    elif kind < 0.9:
        made = chained(masked(plain(rng), rng, plain(rng)), factor(rng))
    else:
        made = chained(wrapped(plain(rng), rng), factor(rng))
    for _ in range(rng.choice((0, 1, 1, 2))):
        made = wrapped(made, rng)
    if rng.random() < 0.2:
        made = chained(made, factor(rng))
    return made

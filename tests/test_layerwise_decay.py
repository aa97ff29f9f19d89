"""Layer-wise decay: which layer an array is in, and what it is multiplied by."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import optax_warmup as ow
from optax_warmup.groups import layerwise_decay, scale_by_rules, table

X = jnp.ones(2)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.LayerNorm()(x))


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(2, name="embed")(x)
        for _ in range(11):
            x = Block()(x)
        return nn.Dense(2, name="head")(nn.LayerNorm(name="head_norm")(x))


class Wrapped(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Linen()(x)


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(2, name="embed")(x)
        layers = nn.scan(
            lambda module, x, _: (module(x), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
        )
        return nn.Dense(2, name="head")(layers(Block(name="layers"), x, None)[0])


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embed = nnx.Linear(2, 2, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(2, 2, rngs=rngs) for _ in range(3)])
        self.head = nnx.Linear(2, 2, rngs=rngs)


def linen(module):
    return module.init(jax.random.key(0), jnp.ones((1, 2)))["params"]


def named(*paths):
    return dict.fromkeys(paths, X)


def torch_like(count):
    layers = [f"encoder.layer.{k}.attention.self.query.weight" for k in range(count)]
    return named("embeddings.word.weight", *layers, "head.weight")


# Trees, how their ends are said, and how many layers they have.
ENDS = {"embed": "^embed", "head": "^head"}
TREES = {
    "linen": (lambda: linen(Linen()), ENDS, 11),
    "linen in a module that is numbered too": (
        lambda: linen(Wrapped()),
        {"embed": "/embed/", "head": "/head"},
        11,
    ),
    "linen, scanned": (lambda: linen(Scanned()), ENDS | {"stacked": "^layers"}, 3),
    "nnx": (lambda: nnx.state(Nnx(), nnx.Param), ENDS, 3),
    "haiku": (
        lambda: (
            {
                f"net/~/layer{suffix}/linear{inner}": {"w": X}
                for suffix in ("", "_1", "_2")
                for inner in ("", "_1")
            }
            | {"net/~/embed": {"w": X}, "net/~/head": {"w": X}}
        ),
        {"embed": "/embed/", "head": "/head/"},
        3,
    ),
    "torch": (lambda: torch_like(12), ENDS, 12),
    "lists": (
        lambda: {"embed": X, "layers": [X] * 4, "head": X},
        ENDS,
        4,
    ),
    "underscores": (
        lambda: named("embed", *(f"h_{k}/w" for k in range(4)), "head"),
        ENDS,
        4,
    ),
    "no underscores": (
        lambda: named("embed", *(f"block{k}/fc{k % 2}" for k in range(4)), "head"),
        ENDS,
        4,
    ),
    "numbers with gaps": (
        lambda: named("embed", "net/0/w", "net/2/w", "net/10/w", "head"),
        ENDS,
        3,
    ),
    "from 1": (lambda: named("embed", "layer_1", "layer_2", "head"), ENDS, 2),
    "one layer": (lambda: named("embed", "layer_0/Dense_0/w", "head"), ENDS, 1),
    "stages and blocks": (
        lambda: named(
            "embed",
            *(f"stage_{s}/block_{b}/w" for s in (1, 2) for b in (0, 1, 2)),
            "head",
        ),
        ENDS | {"layers": r"stage_(\d+)/block_(\d+)"},
        6,
    ),
    "numbered by a function": (
        lambda: named("embed", "a", "b", "head"),
        ENDS | {"layers": lambda path: {"a": 0, "b": 1}[path]},
        2,
    ),
    "encoder and decoder side by side": (
        lambda: named(
            "embed",
            *(f"{x}/layer_{k}/w" for x in ("enc", "dec") for k in (0, 1)),
            "head",
        ),
        ENDS | {"layers": r"layer_(\d+)"},
        2,
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_every_way_to_number_layers_is_found(name):
    make, arguments, count = TREES[name]
    rows = table(layerwise_decay(0.5, **arguments), make()).rows
    seen = set()
    for row in rows:
        for k, multiplier in enumerate(row.multiplier):
            rule = f"layer_{k}" if len(row.multiplier) > 1 else row.rule
            seen.add((rule, multiplier))
    wanted = {(f"layer_{k}", 0.5 ** (count - k)) for k in range(count)}
    assert seen == wanted | {("embed", 0.5 ** (count + 1)), ("head", 1.0)}


def test_the_last_layer_is_found_by_number_and_not_by_the_alphabet():
    rows = table(layerwise_decay(0.5, **ENDS), torch_like(12)).rows
    rules = {row.path.split(".")[2]: row.rule for row in rows if ".layer." in row.path}
    assert rules == {str(k): f"layer_{k}" for k in range(12)}


# The published conventions, from the formulas of their code, in float64


def electra(decay, layers):
    """google-research/electra, model/optimization.py."""
    depths = [0, *range(1, layers + 1), layers + 2]
    return [decay ** (layers + 2 - depth) for depth in depths]


def beit(decay, layers):
    """microsoft/unilm, beit/optim_factory.py; facebookresearch/mae has the same."""
    return [decay ** (layers + 1 - k) for k in range(layers + 2)]


def head_like_last(decay, layers):
    return [*(decay ** (layers - k) for k in range(layers + 1)), 1.0]


@pytest.mark.parametrize(
    ("published", "gap"), [(beit, 1), (electra, 2), (head_like_last, 0)]
)
def test_published_conventions_differ_by_a_layer(published, gap):
    for decay, layers in ((0.75, 12), (0.8, 24), (1.0, 3)):
        rules = layerwise_decay(decay, **ENDS, head_gap=gap)
        rows = {r.rule: r for r in table(rules, torch_like(layers)).rows}
        names = ["embed", *(f"layer_{k}" for k in range(layers)), "head"]
        got = [rows[name].multiplier[0] for name in names]
        wanted = published(np.float64(decay), layers)
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
        transform = scale_by_rules(rules, 1.0, flip_sign=False)
        params = torch_like(layers)
        updates, _ = transform.update(params, transform.init(params))
        scales = [updates[path][0] for path in params]
        np.testing.assert_allclose(scales, wanted, rtol=1e-6)


def test_a_traced_decay_is_swept():
    def head_and_first(decay):
        rules = layerwise_decay(decay, **ENDS)
        transform = scale_by_rules(rules, 1.0, flip_sign=False)
        params = torch_like(2)
        updates, state = transform.update(params, transform.init(params))
        return updates["encoder.layer.0.attention.self.query.weight"][0], state

    decays = jnp.array([0.5, 0.9])
    got, state = jax.vmap(head_and_first)(decays)
    np.testing.assert_allclose(got, decays**2, rtol=1e-6)
    np.testing.assert_allclose(ow.learning_rates(state)["embed"], decays**3, rtol=1e-6)


AMBIGUOUS = named(
    "embed", *(f"{x}/layer_{k}/w" for x in ("enc", "dec") for k in (0, 1)), "head"
)


def test_several_lists_of_layers_are_not_guessed():
    with pytest.raises(ValueError, match=r"several lists.*dec/layer\*, enc/layer\*"):
        table(layerwise_decay(0.5, **ENDS), AMBIGUOUS)
    with pytest.raises(ValueError, match=r"no layer is found for dec/layer_0/w"):
        table(layerwise_decay(0.5, **ENDS, layers=r"enc/layer_(\d+)"), AMBIGUOUS)
    with pytest.raises(ValueError, match=r"no layer is found for norm"):
        table(layerwise_decay(0.5, **ENDS), torch_like(2) | named("norm"))

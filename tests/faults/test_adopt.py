"""The state of a running optimizer, carried into another one: every pair of many.

The moments are compared with those of the old state by the names of their fields, to
the last bit, and the updates with those of the optimizer that never changed.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from selection import parametrize

import optax_warmup as ow

PARAMS = {"w": jnp.linspace(0.5, 2.0, 6).reshape(2, 3), "b": jnp.ones(3)}
GRADS = jax.tree.map(lambda x: 0.3 * x - 0.2, PARAMS)
SCHEDULE = ow.warmup_cosine(0.1, 2, 20)
LABELS = {"w": "body", "b": "head"}


def core():
    return optax.adamw(SCHEDULE)


def ours():
    return optax.chain(
        optax.scale_by_adam(),
        optax.add_decayed_weights(1e-4),
        ow.scale_by_learning_rate(SCHEDULE),
    )


def never(state, **extra):
    return False


# All of them take the same steps as adamw(SCHEDULE), but for the last three.
SAME = {
    "adamw": core,
    "adamw, ours": ours,
    "clip": lambda: optax.chain(optax.clip_by_global_norm(1e9), core()),
    "clip, ours": lambda: optax.chain(optax.clip(1e9), ours()),
    "masked": lambda: optax.masked(core(), {"w": True, "b": True}),
    "partition": lambda: optax.partition({"body": core(), "head": core()}, LABELS),
    "partition, ours": lambda: optax.partition(
        {0: ours(), 1: ours()}, {"w": 1, "b": 0}
    ),
    "inject": lambda: optax.inject_hyperparams(optax.adamw)(learning_rate=SCHEDULE),
    "named": lambda: optax.named_chain(("a", optax.identity()), ("b", ours())),
    "MultiSteps": lambda: optax.MultiSteps(core(), 1),
    "apply_if_finite": lambda: optax.apply_if_finite(core(), 3),
    "record": lambda: ow.record_moments(core()),
    "record, other settings": lambda: ow.record_moments(core(), also=[7], samples=2),
    "skip": lambda: ow.skip_nonfinite(ours()),
    "clip_outliers": lambda: ow.clip_outliers(core()),
    "restart_if": lambda: ow.restart_if(core(), never),
    "nested": lambda: ow.skip_nonfinite(
        ow.record_moments(ow.restart_if(ours(), never))
    ),
    "around MultiSteps": lambda: ow.skip_nonfinite(
        optax.MultiSteps(ow.record_moments(ours()), 1)
    ),
    "warmup over": lambda: optax.chain(core(), ow.scale_by_warmup(ow.warmup(1.0, 2))),
}
OTHER = {
    "automatic": lambda: ow.automatic_warmup(core()),
    "clip_update_rms": lambda: ow.clip_update_rms(core()),
    "GI-Adam": lambda: ow.init_second_moment_from_gradient(ours()),
}
ALL = SAME | OTHER
OLD = {}


def steps(optimizer, params, state, times):
    for _ in range(times):
        updates, state = optimizer.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def trained(name):
    """An optimizer's parameters and state after four updates, computed once."""
    if name not in OLD:
        optimizer = ALL[name]()
        OLD[name] = steps(optimizer, PARAMS, optimizer.init(PARAMS), 4)
    return OLD[name]


def moments(state):
    """mu and nu of every parameter and the counts, wherever they are."""
    found, counts = {}, set()
    adams = [
        x
        for x in jax.tree.leaves(
            state, is_leaf=lambda x: isinstance(x, optax.ScaleByAdamState)
        )
        if isinstance(x, optax.ScaleByAdamState)
    ]
    for adam in adams:
        counts.add(int(adam.count))
        for name in ("mu", "nu"):
            for path, leaf in jax.tree.leaves_with_path(getattr(adam, name)):
                key = name + jax.tree_util.keystr(path, simple=True)
                assert key not in found
                found[key] = np.asarray(leaf)
    assert set(found) == {"muw", "mub", "nuw", "nub"}
    return found, counts


PAIRS = list(itertools.product(ALL, ALL))


@pytest.mark.filterwarnings("ignore:adopt. the record:UserWarning")
@pytest.mark.filterwarnings("ignore:adopt. AutomaticWarmupState is gone:UserWarning")
@parametrize(("old", "new"), PAIRS, quick=19)
def test_every_pair(old, new):
    params, state = trained(old)
    optimizer = ALL[new]()
    adopted = ow.adopt(optimizer, state, params)
    like = jax.eval_shape(optimizer.init, params)
    assert jax.tree.structure(adopted) == jax.tree.structure(like)
    kept, counts = moments(adopted)
    wanted, _ = moments(state)
    assert counts == {4}
    for name, moment in wanted.items():
        np.testing.assert_array_equal(kept[name], moment)
    assert ow.runs.step_count(adopted) == 4
    if new in SAME:
        expected, _ = steps(core(), params, ow.adopt(core(), state, params), 2)
        got, after = steps(optimizer, params, adopted, 2)
        for leaf, other in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            np.testing.assert_allclose(leaf, other, rtol=1e-5)
        assert ow.runs.step_count(after) == 6
        if "ours" in new or new in ("skip", "nested", "inject", "named"):
            for rate in ow.learning_rates(after).values():
                np.testing.assert_allclose(rate, SCHEDULE(5), rtol=1e-6)


@pytest.mark.parametrize("name", list(SAME))
def test_there_and_back_is_the_same_run(name):
    """adamw, four updates, a wrapper on, two updates, off again, two more."""
    params, state = steps(core(), PARAMS, core().init(PARAMS), 8)
    halfway, middle = trained("adamw")
    wrapped = SAME[name]()
    halfway, middle = steps(wrapped, halfway, ow.adopt(wrapped, middle, halfway), 2)
    last, final = steps(core(), halfway, ow.adopt(core(), middle, halfway), 2)
    for leaf, other in zip(*map(jax.tree.leaves, (last, params)), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-5)
    assert moments(final)[1] == moments(state)[1] == {8}

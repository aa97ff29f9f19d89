"""Accumulation, averages, decay kinds, evaluation sets, best checkpoint, traces."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import quickly
from transformer_runs import (
    OPTIONS,
    TEXT,
    TINY,
    TRAIN,
    finish,
    kept_programs,
    run,
    start,
    written_text,
)

import optax_warmup as ow
from examples.transformer.core.data import load_corpus
from examples.transformer.core.optimizer import make_optimizer, make_schedule, matrices
from examples.transformer.core.settings import InputError
from examples.transformer.core.train_step import abstract_model, loss_of
from examples.transformer.core.update import TrainState, make_update
from examples.transformer.run import contents, sample, train
from examples.transformer.run.config import Config
from examples.transformer.run.identity import differences, identity
from examples.transformer.run.plan import make_plan
from examples.transformer.run.result import load_result
from examples.transformer.run.training import make_evaluation

pytestmark = pytest.mark.train


programs = kept_programs(quickly, autouse=True)
text = written_text()


# Gradient accumulation.


def quadratic(params, batch):
    x, y = batch
    return jnp.mean((x @ params["kernel"] - y) ** 2)


def example_batches(count):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 12, 3)).astype(np.float32)
    return list(zip(x, x @ np.float32([[1.0], [2.0], [3.0]]), strict=True))


ALL = {"ema_decay": 0.9, "weight_decay_kind": "adamc"}


@pytest.mark.slow
@pytest.mark.parametrize("options", [ALL, {"automatic_warmup": True}], ids=str)
def test_microbatches_are_one_update_of_the_whole_batch(options):
    """The same state up to rounding: counts, schedule, moments, record and average."""
    config = Config(total_steps=8, warmup_steps=3, decay_fraction=0.5, **options)
    optimizer = make_optimizer(config)
    params = {"kernel": jnp.ones((3, 1))}
    start = TrainState(params, optimizer.init(params))
    ends, seen = [], []
    for parts in (1, 3):
        update = jax.jit(make_update(quadratic, optimizer, microbatches=parts))
        state, metrics = start, []
        for batch in example_batches(5):
            state, found = update(state, batch)
            metrics.append(found)
        ends.append(state)
        seen.append(metrics)
    assert ow.runs.step_count(ends[1].opt_state) == 5
    if not config.automatic_warmup:
        rates = [each["learning_rate"].item() for each in seen[1]]
        schedule = make_schedule(config)
        assert rates == pytest.approx([schedule(step).item() for step in range(5)])
    whole, parts = ((end, found) for end, found in zip(ends, seen, strict=True))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-5),
        whole,
        parts,
    )


def test_microbatches_are_what_multi_steps_does():
    config = Config(total_steps=8, warmup_steps=3)
    inner = make_optimizer(config)
    multi = optax.MultiSteps(inner, 3)
    params = {"kernel": jnp.ones((3, 1))}
    state = TrainState(params, inner.init(params))
    update = jax.jit(make_update(quadratic, inner, microbatches=3))
    accumulate, gradient = jax.jit(multi.update), jax.jit(jax.grad(quadratic))
    sums = multi.init(params)
    for x, y in example_batches(3):
        state, metrics = update(state, (x, y))
        norms = []
        for part in range(3):  # a part takes every third row
            grads = gradient(params, (x[part::3], y[part::3]))
            norms.append(grads)
            updates, sums = accumulate(grads, sums, params)
            params = optax.apply_updates(params, updates)
        mean = jax.tree.map(lambda *g: sum(g) / 3, *norms)
        norm = optax.tree.norm(mean).item()  # before clipping, which is at 1
        assert metrics["gradient_norm"].item() == pytest.approx(norm, rel=1e-5)
        assert metrics["gradient_norm"] > 1
    np.testing.assert_allclose(state.params["kernel"], params["kernel"], rtol=1e-5)
    ours, theirs = map(ow.read_moments, (state.opt_state, sums.inner_opt_state))
    np.testing.assert_allclose(ours.learning_rate, theirs.learning_rate)


def test_a_batch_must_divide_over_devices_and_microbatches(text, tmp_path):
    with pytest.raises(
        InputError, match="batch_size=4 .* 1 device x microbatches=3.*3"
    ):
        run(TINY, tmp_path / "run", data=text, microbatches=3)


@pytest.mark.slow
def test_accumulation_with_fsdp_and_remat_is_the_run_of_one_device(text, tmp_path):
    """On four devices; held-out loss, rates, norms and the record, too."""
    base = [*TRAIN, *OPTIONS, "--data", text, "--batch-size", "16", "--run-dir"]
    more = ["--microbatches", "4", "--fsdp", "2", "--remat", "--scan-layers"]
    results = []
    for name, options, devices in (("one", ["--scan-layers"], 1), ("four", more, 4)):
        folder = tmp_path / name
        code, _, errors = finish(start([*base, str(folder), *options], devices=devices))
        assert code == 0, errors
        results.append(load_result(folder))
    one, four = results
    for kind in ("updates", "evaluations"):
        for column in (
            "step",
            "loss",
            "learning_rate",
            "gradient_norm",
            "heldout_loss",
        ):
            if column in getattr(one, kind):
                np.testing.assert_allclose(
                    getattr(four, kind)[column], getattr(one, kind)[column], rtol=1e-4
                )
    np.testing.assert_allclose(
        four.history.learning_rate, one.history.learning_rate, rtol=1e-6
    )


# Weight decay.


def decayed(kind, rate, decay):
    """What an update takes from a weight of 1, whose gradient is 0."""
    return {
        "adamw": rate * decay,
        "adamc": rate * decay * rate / 0.5,
        "independent": decay,
    }[kind]


@pytest.mark.parametrize("kind", ["adamw", "adamc", "independent"])
def test_kinds_of_weight_decay(kind):
    config = Config(
        total_steps=4, warmup_steps=2, decay_fraction=0.5, peak_value=0.5,
        weight_decay=0.125, weight_decay_kind=kind,
    )  # fmt: skip
    optimizer = make_optimizer(config, record=False)
    update = jax.jit(optimizer.update)
    params = {"kernel": jnp.ones((1, 1)), "scale": jnp.ones(1)}
    state = optimizer.init(params)
    zero = jax.tree.map(jnp.zeros_like, params)
    for step in range(4):
        updates, state = update(zero, state, params)
        rate = make_schedule(config)(step).item()
        assert -updates["kernel"].item() == pytest.approx(decayed(kind, rate, 0.125))
        assert updates["scale"].item() == 0
    assert matrices(params) == {"kernel": True, "scale": False}


def test_an_independent_decay_is_a_share():
    with pytest.raises(InputError, match="weight_decay=2.0 of the kind independent"):
        Config(weight_decay=2.0, weight_decay_kind="independent")


# Averages, evaluation sets, the best checkpoint and a trace, in one run.


@pytest.fixture(scope="module")
def equipped(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("equipped")
    (folder / "other.txt").write_text(TEXT[::-1])
    config = TINY.replace(
        data=text, ema_decay=0.5, eval_data=(f"other={folder}/other.txt",),
        keep_best=True, keep_checkpoints=1, eval_every=3, checkpoint_every=100,
        profile_steps=(4, 5), microbatches=2, log_every=4, peak_value=0.5,
        on_divergence="continue",
    )  # fmt: skip
    return run(config, folder / "run")


@pytest.mark.slow
def test_each_set_is_evaluated_with_weights_and_average(equipped):
    found = equipped.evaluations
    names = {name for name in found if "heldout" in name}
    assert names == {
        "heldout_loss",
        "heldout_loss/other",
        "average/heldout_loss",
        "average/heldout_loss/other",
    }
    for name in ("heldout_loss", "heldout_loss/other"):
        assert found[name][0] == found[f"average/{name}"][0]  # no update yet
        assert found[name][1] != found[f"average/{name}"][1]
    assert not np.array_equal(found["heldout_loss"], found["heldout_loss/other"])
    assert equipped.summary["average/heldout_loss/other"] == pytest.approx(
        found["average/heldout_loss/other"][-1]
    )


def test_the_best_checkpoint_is_kept(equipped):
    losses = equipped.evaluations["average/heldout_loss"]
    steps = equipped.evaluations["step"]
    best = int(steps[1:][np.argmin(losses[1:])])
    assert best < 12, "a rate at which the loss ends higher than it was"
    kept = {int(x.name) for x in (equipped.folder / "checkpoints").iterdir()}
    assert kept == {best, 12}
    assert equipped.summary["best_heldout_loss"] == pytest.approx(losses.min())


@pytest.mark.slow
def test_text_from_the_best_checkpoint_and_from_the_average(equipped, tmp_path):
    def params(**options):
        return jax.tree.leaves(sample.load_sampler(equipped.folder, **options).params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample.ow, "precompile", lambda *_: None)
        kinds = [params(best=b, average=a) for b in (0, 1) for a in (0, 1)]
        for i, one in enumerate(kinds):
            for other in kinds[:i]:
                assert any(np.any(x != y) for x, y in zip(one, other, strict=True))
        # The average after 12 updates is what the last evaluation looked at.
        graphdef, _ = abstract_model(equipped.config)
        average = sample.load_sampler(equipped.folder, average=True).params
        plan = make_plan(equipped.config)
        evaluate = make_evaluation(plan, jax.jit(loss_of(graphdef)))
        again = evaluate(TrainState(average, plain_average(average)))
    wanted = equipped.evaluations["average/heldout_loss"][-1]
    assert again["heldout_loss"] == pytest.approx(wanted, rel=1e-4)


def plain_average(params):
    """A state whose average is these parameters."""
    return ow.averages.average_params(optax.identity(), 0.5).init(params)


def test_what_a_run_did_not_keep_cannot_be_sampled(text, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(vars(TINY)))
    for options, message in (
        ({"best": True}, "keep_best=False"),
        ({"average": True}, "ema_decay=0"),
    ):
        with pytest.raises(InputError, match=message):
            sample.load_sampler(tmp_path, **options)


def test_chosen_updates_are_traced(equipped):
    traces = list(equipped.folder.glob("profile/plugins/profile/*/*.xplane.pb"))
    assert len(traces) == 1


@pytest.mark.slow
def test_overwrite_deletes_the_trace(equipped, tmp_path):
    mine = tmp_path / "profile/plugins/profile/mine"
    mine.mkdir(parents=True)
    with pytest.raises(InputError, match="is not a run"):
        contents.check(tmp_path, may_be_used=True)  # no run's, so not deleted
    copy = equipped.folder.with_name("again")
    short = ["--total-steps", "1", "--warmup-steps", "0", "--run-dir", str(copy)]
    arguments = ["--config", str(equipped.folder), *short, "--overwrite"]
    assert train.main([*arguments, "--profile-steps", "0", "0"]) == 0
    assert (copy / "profile").is_dir()
    assert train.main([*arguments, "--profile-steps"]) == 0
    assert not (copy / "profile").exists()


def test_norms_are_those_before_clipping(equipped):
    assert equipped.updates["step"].tolist() == [0, 4, 8, 11]
    assert max(equipped.updates["gradient_norm"]) > TINY.clip_norm


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eval_data": ("x",)}, "eval_data='x' is invalid: it must be NAME=PATH"),
        ({"eval_data": ("a b=x",)}, "eval_data='a b=x' is invalid"),
        ({"eval_data": ("=x",)}, "eval_data='=x' is invalid"),
        ({"eval_data": ("a=x", "a=y")}, "names 'a' twice"),
        ({"eval_data": "a=x"}, "must be a list"),
        ({"profile_steps": (3,)}, "profile_steps=.*first and the last"),
        ({"profile_steps": (5, 4)}, "profile_steps=.*first and the last"),
        ({"profile_steps": (0, 1200)}, "two numbers from 0 to 1199"),
        ({"ema_decay": 1.0}, "ema_decay=1.0 .*below 1"),
        ({"microbatches": 0}, "microbatches=0 .*1 or more"),
    ],
)
def test_settings_that_will_not_do(changes, message):
    with pytest.raises(InputError, match=message):
        Config(**changes)


def test_an_evaluation_set_must_be_there_and_long_enough(text, tmp_path):
    (tmp_path / "short").write_text("too short")
    for path, message in (
        (tmp_path / "short", "eval_data: .*short is too short: length=16"),
        (tmp_path / "nope", "nope' does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            run(TINY, tmp_path / "run", data=text, eval_data=(f"more={path}",))


def test_a_setting_newer_than_a_run_is_no_change_of_it():
    """A checkpoint of before it had a name goes on; other values are named."""
    corpus = load_corpus()
    new = identity(Config(), corpus)
    old = {k: x for k, x in new.items() if k not in ("ema_decay", "weight_decay_kind")}
    assert differences(old, new, 3) == []
    other = identity(Config(weight_decay_kind="adamc"), corpus)
    assert differences(old, other, 3) == [
        "weight_decay_kind was 'adamw' and is 'adamc'"
    ]

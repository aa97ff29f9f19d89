"""The images example: its model, its augmentation, its table, and the command."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from examples import evaluation
from examples.images import __main__ as command, data, model, recipes, training
from examples.images.recipes import Setting
from examples.images.training import Size

pytestmark = pytest.mark.train

TINY = Size(width=8, layers=1, heads=2, batch_size=16, total_steps=8, eval_every=4)


def test_the_data_is_split_and_scaled():
    digits = data.load()
    assert digits.train_NxSxS.shape == (1437, 8, 8)
    assert digits.validation_NxSxS.shape == (360, 8, 8)
    assert (digits.train_NxSxS.min(), digits.train_NxSxS.max()) == (-1, 1)
    both = np.concatenate([digits.train_N, digits.validation_N])
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(both).tolist() == counts


def test_a_shift_moves_an_image_by_at_most_one_pixel():
    images = np.random.default_rng(0).random((64, 8, 8), np.float32)
    moved = np.asarray(data.shifted(jax.random.key(0), jnp.asarray(images)))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    found = set()
    for before, after in zip(padded, moved, strict=True):
        offsets = [
            (row, column)
            for row in range(3)
            for column in range(3)
            if np.array_equal(after, before[row : row + 8, column : column + 8])
        ]
        assert len(offsets) == 1
        found |= set(offsets)
    assert len(found) == 9


def test_patches_keep_neighbours_together():
    image = jnp.arange(64.0).reshape(1, 8, 8)
    assert model.patches(image)[0, 0].tolist() == [0, 1, 8, 9]
    assert model.patches(image)[0, 5].tolist() == [18, 19, 26, 27]


def test_the_recipe_is_linear_scaling_behind_a_gradual_warmup():
    setting = Setting()
    schedule = recipes.make_schedule(16e-3, 14, 1e-3, 56)
    assert setting.scale == 16
    assert schedule(0).item() == pytest.approx(1e-3)
    assert schedule(7).item() == pytest.approx(8.5e-3)
    assert schedule(14).item() == pytest.approx(16e-3)
    assert setting.of_batch(512).total_steps * 16 == setting.of_batch(32).total_steps


def train_quickly(digits, optimizer, size, *, seed):
    """In the place of `train`, which takes long to compile."""
    noise = 0.1 * jax.random.uniform(jax.random.key(seed), (3,))
    loss = jnp.full(size.total_steps, 2.0)
    return training.Curves(loss, jnp.array([1, 2, 3]), noise, 0.9 - noise)


def test_the_command_prints_its_table_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "use_all_cores", lambda: None)
    monkeypatch.setattr(recipes, "train", train_quickly)
    times = dict.fromkeys(("small", "large", "constant"), 0.01) | {"recorded": 0.011}
    monkeypatch.setattr(command, "step_times", lambda *_: times)
    monkeypatch.setenv("COLUMNS", "120")
    picture = tmp_path / "images.png"
    assert command.main(["--seeds=2", f"--output={picture}"]) == 0
    printed = capsys.readouterr().out
    assert "batch 512, rate x16, warmup" in printed
    assert "None diverged" in printed
    assert "Sensitivity to the peak rate, with warmup" in printed
    assert "of record_moments: +10.0% per update" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_training_learns_and_evaluates_as_it_goes():
    digits = data.load()
    optimizer = recipes.make_optimizer(3e-3)
    curves = jax.jit(
        lambda digits: training.train(digits, optimizer, TINY, seed=0),
        compiler_options={"xla_backend_optimization_level": 0},  # compiled sooner
    )(digits)
    assert curves.steps.tolist() == [4, 8]
    assert curves.loss.shape == (8,)
    assert curves.validation_loss[0] == pytest.approx(np.log(10), abs=1)
    assert curves.validation_loss[1] < curves.validation_loss[0]
    # What is timed is as many updates as the time is divided by; it compiles slowly.
    timed = recipes.timed_step(digits, TINY, optimizer)
    _, losses = jax.eval_shape(timed.call)
    assert losses.shape == (timed.updates,)


@pytest.mark.parametrize("option", ["--seeds=0", "--chunk=0", "--base-rate=nan"])
def test_a_bad_option_is_said(option, capsys):
    with pytest.raises(SystemExit):
        command.main([option])
    name, _, value = option.partition("=")
    assert f"{name}: {value} must be above 0" in capsys.readouterr().err


# The evaluation that the examples share.


def runs():
    steps = np.array([0, 10, 20])
    good = np.array([[0.1, 0.8, 0.9], [0.1, 0.6, 0.8], [0.1, 0.9, 0.85]])
    lost = np.array([[0.1, 0.5, np.nan]] * 3)
    losses = np.ones((3, 20))
    return (
        evaluation.Run("good", losses, steps, good, seconds_per_step=0.5),
        evaluation.Run(
            "lost", np.where(np.arange(20) > 14, np.nan, losses), steps, lost
        ),
    )


def test_a_run_is_read_as_the_field_reads_it():
    good, lost = runs()
    assert good.final().tolist() == [0.9, 0.8, 0.85]
    assert good.best(largest=True).tolist() == [0.9, 0.8, 0.9]
    assert good.steps_to(0.8, largest=True).tolist() == [10, 20, 10]
    assert good.steps_to(0.1, largest=False).tolist() == [0, 0, 0]
    assert lost.best(largest=True).tolist() == [0.5] * 3
    assert lost.steps_to(0.8, largest=True).tolist() == [np.inf] * 3
    assert (good.diverged(), lost.diverged()) == (0, 3)


def test_the_table_says_what_diverged_and_what_was_never_reached(capsys):
    table = evaluation.table(runs(), "accuracy", 0.8, largest=True)
    Console(width=120).print(table)
    printed = capsys.readouterr().out
    good, lost = (
        line for line in printed.splitlines() if "good" in line or "lost" in line
    )
    for text in ("0.850 ± 0.029", "10", "5.0 s", "none"):
        assert text in good
    for text in ("0.500 ± 0.000", "never", "3 of 3"):
        assert text in lost


def test_one_seed_has_no_error_and_no_divergence_no_column(capsys):
    good = runs()[0]
    one = good._replace(metric=good.metric[:1], loss=good.loss[:1])
    Console(width=80).print(evaluation.table([one], "accuracy", 0.85, largest=True))
    printed = capsys.readouterr().out
    assert "One seed; updates and time until the accuracy is 0.85" in printed
    assert "0.900 0.900 20 10.0 s" in " ".join(printed.split())
    assert "None diverged." in printed
    assert "±" not in printed and "diverged " not in printed


def test_sensitivity_is_the_mean_excess_over_the_best():
    losses = {1e-3: 2.0, 1e-2: 1.0, 1e-1: float("nan")}
    assert evaluation.sensitivity(losses, worst=4.0) == pytest.approx(4 / 3)
    assert evaluation.sensitivity(losses, worst=4.0, best=0.5) == pytest.approx(11 / 6)
    assert evaluation.sensitivity({1.0: 9.0, 2.0: 1.0}, worst=4.0) == pytest.approx(1.5)


def test_sensitivities_share_the_best_loss_of_all():
    losses = {(1.0, "a"): 1.0, (2.0, "a"): 3.0, (1.0, "b"): 2.0, (2.0, "b"): np.nan}
    found = evaluation.sensitivities(losses, worst=4.0)
    assert found == {"a": pytest.approx(1.0), "b": pytest.approx(2.0)}


def test_a_step_costs_what_its_fastest_call_took(monkeypatch):
    """Two updates a call; the clock is read before and after each."""
    durations = [6.0, 2.0, 4.0]
    reads = iter([at for d in durations for at in (0.0, d)])
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: next(reads))
    calls = []
    timed = evaluation.Timed(lambda: calls.append(1), updates=2)
    assert evaluation.seconds_per_step({"one": timed}, rounds=3) == {"one": 1.0}
    assert len(calls) == 4  # the first one compiles and does not count
    assert evaluation.cost({"a": 1.0, "b": 1.05}, "a", "b") == "+5.0% per update"


def test_runs_of_a_sweep_are_sorted_by_cell():
    def one(x, seed):
        return training.Curves(
            jnp.full(3, x),
            jnp.array([1, 2]),
            jnp.zeros(2),
            jnp.array([x, 10 * x + seed]),
        )

    cells = {"a": ("first", {"x": 1.0}), "b": ("second", {"x": 2.0})}
    found = evaluation.sweep_runs(one, cells, 2, "accuracy")
    assert [found[key].name for key in "ab"] == ["first", "second"]
    assert found["b"].final().tolist() == [20.0, 21.0]
    assert found["a"].steps.tolist() == [1, 2]
    assert found["b"].loss.tolist() == [[2.0] * 3] * 2

"""Sweeps: one program for many trainings, exact resumes, and bad input."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure

import optax_warmup as ow
from examples import evaluation
from examples.sweep import __main__ as command, advice, figure

pytestmark = pytest.mark.train

STEPS = 12


def train(peak_value, warmup_steps, seed):
    """A least-squares fit from a random start; a high rate makes it diverge."""
    return fit(ow.warmup_cosine(peak_value, warmup_steps, STEPS), seed)


def fit(schedule, seed):
    optimizer = optax.sgd(schedule)
    inputs = jax.random.normal(jax.random.key(7), (32, 4))
    params = jax.random.normal(jax.random.key(seed), (4,))

    def step(carry, _):
        params, state = carry
        loss, grads = jax.value_and_grad(
            lambda params: jnp.mean(jnp.square(inputs @ params))
        )(params)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), loss

    start = params, optimizer.init(params)
    (params, _), losses = jax.lax.scan(step, start, length=STEPS)
    return {"losses": losses, "params": params.astype(jnp.bfloat16)}


POINTS = ow.sweeps.grid(peak_value=[0.1, 0.3, 1e30], warmup_steps=[0, 3], seed=range(2))


@pytest.fixture(scope="module")
def whole():
    return ow.sweeps.sweep(train, POINTS)


# The sweep.


def test_a_sweep_is_what_each_training_would_have_been(whole):
    assert whole["losses"].shape == (12, STEPS)
    assert whole["params"].dtype == jnp.bfloat16
    for i in (0, 3, 6):  # two that converge, in float64 and by hand, without jax
        expected = oracle(**POINTS[i])
        np.testing.assert_allclose(whole["losses"][i], expected, rtol=2e-5)


def oracle(peak_value, warmup_steps, seed):
    inputs = np.float64(jax.random.normal(jax.random.key(7), (32, 4)))
    params = np.float64(jax.random.normal(jax.random.key(seed), (4,)))
    losses = []
    for step in range(STEPS):
        losses.append(np.mean((inputs @ params) ** 2))
        grads = 2 / 32 * inputs.T @ (inputs @ params)
        if step < warmup_steps:
            rate = peak_value * step / warmup_steps
        else:
            progress = (step - warmup_steps) / (STEPS - warmup_steps)
            rate = peak_value * (1 + math.cos(math.pi * progress)) / 2
        params = params - rate * grads
    return losses


def test_a_divergence_is_a_result_and_disturbs_no_other(whole):
    finite = np.isfinite(whole["losses"]).all(axis=1)
    assert finite.tolist() == [point["peak_value"] < 1 for point in POINTS]
    alone = ow.sweeps.sweep(train, POINTS[:4])
    np.testing.assert_allclose(alone["losses"], whole["losses"][:4], rtol=1e-6)


def test_it_traces_once_and_the_chunks_share_one_program(whole):
    traces, seen = [], []

    def counting(**point):
        traces.append(1)
        return train(**point)

    chunked = ow.sweeps.sweep(
        counting, POINTS, chunk=5, progress=lambda *x: seen.append(x)
    )
    assert len(traces) == 2  # for the shapes of what it returns, and for the program
    assert seen == [(0, 12), (5, 12), (10, 12), (12, 12)]
    np.testing.assert_allclose(chunked["losses"], whole["losses"], rtol=1e-5)


def test_schedules_are_swept_as_values(whole):
    points = [
        {
            "schedule": ow.warmup_cosine(p["peak_value"], p["warmup_steps"], STEPS),
            "seed": p["seed"],
        }
        for p in POINTS
    ]
    found = ow.sweeps.sweep(fit, points)
    np.testing.assert_allclose(found["losses"][:8], whole["losses"][:8], rtol=1e-6)


def test_shared_arrays_come_first_and_are_not_split():
    def scaled(data, peak_value):
        return data * peak_value

    found = ow.sweeps.sweep(
        scaled, ow.sweeps.grid(peak_value=[1, 2, 3]), shared=(jnp.arange(4.0),)
    )
    assert found.tolist() == [[0, 1, 2, 3], [0, 2, 4, 6], [0, 3, 6, 9]]


# The folder.


class Interrupted(Exception):
    pass


def walk(peak_value, seed):
    """Quick to compile, and sensitive to every digit."""
    start = jax.random.uniform(jax.random.key(seed))

    def step(x, _):
        return peak_value * x * (1 - x), x

    end, path = jax.lax.scan(step, start, length=50)
    return {"path": path, "end": end.astype(jnp.bfloat16)}


WALKS = ow.sweeps.grid(peak_value=[2.0, 3.7, 3.9], seed=range(4))


def test_an_interrupted_sweep_goes_on_exactly(tmp_path):
    def stop(done, total):
        if done == 8:
            raise Interrupted

    folder = tmp_path / "sweep"
    with pytest.raises(Interrupted):
        ow.sweeps.sweep(walk, WALKS, chunk=4, folder=folder, progress=stop)
    seen = []
    resumed = ow.sweeps.sweep(
        walk, WALKS, chunk=4, folder=folder, progress=lambda *x: seen.append(x)
    )
    assert seen == [(8, 12), (12, 12)]
    uninterrupted = ow.sweeps.sweep(walk, WALKS, chunk=4)
    for name in ("path", "end"):
        assert resumed[name].tobytes() == uninterrupted[name].tobytes()
        assert resumed[name].dtype == uninterrupted[name].dtype
    seen.clear()
    again = ow.sweeps.sweep(
        walk, WALKS, folder=folder, progress=lambda *x: seen.append(x)
    )
    assert seen == [(12, 12)]
    assert again["path"].tobytes() == resumed["path"].tobytes()


def other_walk(peak_value, seed):
    return walk(peak_value / 2, seed)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"configurations": WALKS[1:]}, "configurations"),
        ({"train": other_walk}, "program"),
        ({"jax": "0.0"}, "jax.*made with jax 0.0"),
    ],
)
def test_a_folder_of_another_sweep_is_refused(tmp_path, change, named):
    ow.sweeps.sweep(walk, WALKS[:2], folder=tmp_path / "a")
    if version := change.pop("jax", None):
        path = tmp_path / "a" / "sweep.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"jax": version}))
    arguments = {"train": walk, "configurations": WALKS[:2]} | change
    with pytest.raises(ValueError, match=f"another sweep: it differs in {named}"):
        ow.sweeps.sweep(**arguments, folder=tmp_path / "a")


def test_other_data_is_another_sweep(tmp_path):
    def scaled(data, seed):
        return data * seed

    points = ow.sweeps.grid(seed=range(2))
    ow.sweeps.sweep(scaled, points, shared=(jnp.ones(2),), folder=tmp_path / "a")
    with pytest.raises(ValueError, match="it differs in shared"):
        ow.sweeps.sweep(scaled, points, shared=(jnp.zeros(2),), folder=tmp_path / "a")


def test_a_folder_that_is_no_sweep_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        ow.sweeps.sweep(train, POINTS, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_broken_chunk_is_named(tmp_path):
    points = ow.sweeps.grid(seed=range(4))

    def double(seed):
        return 2 * seed

    ow.sweeps.sweep(double, points, chunk=2, folder=tmp_path / "a")
    files = sorted((tmp_path / "a").glob("from_*.npz"))
    files[0].write_bytes(files[0].read_bytes()[:50])
    with pytest.raises(ValueError, match=r"from_000000.npz cannot be read.*Delete it"):
        ow.sweeps.sweep(double, points, folder=tmp_path / "a")
    files[0].unlink()
    assert ow.sweeps.sweep(double, points, folder=tmp_path / "a").tolist() == [
        0,
        2,
        4,
        6,
    ]


def double(seed):
    return 2 * seed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"indices": np.array([-1, 0])}, "its indices are not from 0 to 3"),
        ({"indices": np.array([0, 4])}, "its indices are not from 0 to 3"),
        ({"indices": np.array([0.0, 1.0])}, "its indices are not a list of integers"),
        ({"indices": np.array([0, 0])}, "holds results that are there already"),
        ({"indices": np.array([2, 3])}, "holds results that are there already"),
        (
            {"leaf_0": np.zeros((2, 5), np.int32)},
            r"array of shape \(2, 5\), not \(2,\)",
        ),
        ({"leaf_0": np.zeros(1, np.int32)}, r"array of shape \(1,\), not \(2,\)"),
        ({"leaf_1": np.zeros(2)}, "holds 2 arrays, not 1"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(tmp_path, changes, reason):
    points = ow.sweeps.grid(seed=range(4))
    ow.sweeps.sweep(double, points, chunk=2, folder=tmp_path / "a")
    # The first of the two is changed; where it takes the place of the second, the
    # second is the one that is there already.
    path = tmp_path / "a" / "from_000000.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **arrays | changes)
    with pytest.raises(
        ValueError, match=rf"from_00000[02].npz cannot be read.*{reason}"
    ):
        ow.sweeps.sweep(double, points, folder=tmp_path / "a")


def test_a_broken_description_is_named(tmp_path):
    points = ow.sweeps.grid(seed=range(2))
    ow.sweeps.sweep(double, points, folder=tmp_path / "a")
    for text in ('{"jax":', "[1]"):
        (tmp_path / "a" / "sweep.json").write_text(text)
        with pytest.raises(ValueError, match=r"sweep.json cannot be read"):
            ow.sweeps.sweep(double, points, folder=tmp_path / "a")


# Memory.


def hungry(seed):
    return jnp.zeros(1 << 16) + seed  # a quarter of a megabyte each


def test_more_than_memory_holds_is_refused_with_how_many_fit():
    points = ow.sweeps.grid(seed=range(40))
    with pytest.raises(ValueError, match=r"About (\d+) fit: pass chunk=\1") as error:
        ow.sweeps.sweep(hungry, points, chunk=40, free_memory=2**20 * 3)
    fit = int(str(error.value).split("About ")[1].split()[0])
    assert 6 <= fit <= 12  # results alone: 12
    found = ow.sweeps.sweep(hungry, points, chunk=fit, free_memory=2**20 * 3)
    assert found[:, -1].tolist() == list(range(40))


def test_without_a_chunk_as_many_as_fit_are_trained_at_once():
    seen = []
    found = ow.sweeps.sweep(
        hungry,
        ow.sweeps.grid(seed=range(20)),
        free_memory=2**20 * 3,
        progress=lambda *x: seen.append(x[0]),
    )
    assert found[:, 0].tolist() == list(range(20))
    sizes = np.diff(seen)
    assert len(sizes) > 1 and sizes.max() - sizes.min() <= 2


def test_what_never_fits_is_said():
    with pytest.raises(ValueError, match="not one fits"):
        ow.sweeps.sweep(hungry, ow.sweeps.grid(seed=[1]), free_memory=1000)


# Points.


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ow.sweeps.grid(), ValueError, "at least one axis"),
        (
            lambda: ow.sweeps.grid(seed=[]),
            ValueError,
            "seed must hold at least one value",
        ),
        (lambda: ow.sweeps.grid(seed=3), TypeError, r"for a single value pass \[3\]"),
        (lambda: ow.sweeps.grid(seed=[1, 2, 1]), ValueError, "got 1 more than once"),
        (
            lambda: ow.sweeps.log_space(0, 1, 3),
            ValueError,
            "low.*logarithmic scale has no 0",
        ),
        (lambda: ow.sweeps.log_space(1, 1, 3), ValueError, "low must be below high"),
        (lambda: ow.sweeps.log_space(1, 2, 1), ValueError, "count must be"),
        (
            lambda: ow.sweeps.random_search(3, peak_value=(0, 1.0)),
            ValueError,
            "logarithmic scale has no 0",
        ),
        (lambda: ow.sweeps.random_search(3, x=(1, 2, 3)), TypeError, "a pair"),
        (lambda: ow.sweeps.random_search(0, x=[1]), ValueError, "count must be"),
        (lambda: ow.sweeps.sweep(train, []), ValueError, "must hold at least one"),
        (
            lambda: ow.sweeps.sweep(train, [3]),
            TypeError,
            r"configurations\[0\] must be a dict",
        ),
        (
            lambda: ow.sweeps.sweep(train, [{"a": 1}, {"b": 1}]),
            ValueError,
            r"configurations\[1\] must have the names",
        ),
        (
            lambda: ow.sweeps.sweep(train, [{"a": math.nan}]),
            ValueError,
            "must be finite",
        ),
        (
            lambda: ow.sweeps.sweep(train, [{"a": "adam"}]),
            TypeError,
            "number or a schedule",
        ),
        (
            lambda: ow.sweeps.sweep(
                fit, [{"s": ow.constant(1)}, {"s": ow.warmup_constant(1, 2)}]
            ),
            ValueError,
            "sweep each kind on its own",
        ),
        (lambda: ow.sweeps.sweep(train, POINTS, chunk=0), ValueError, "chunk must be"),
        (lambda: ow.sweeps.rank(POINTS, [1.0]), ValueError, "each of the 12"),
        (lambda: ow.sweeps.rank([], []), ValueError, "at least one"),
        (
            lambda: ow.sweeps.rank(POINTS, np.zeros(12), over="sed"),
            ValueError,
            "over must be one of the names peak_value, seed, warmup_steps, got 'sed'",
        ),
        (
            lambda: ow.sweeps.rank([*POINTS, POINTS[3]], np.zeros(13)),
            ValueError,
            r"configurations\[12\] must differ.* it is configurations\[3\] again",
        ),
        (
            lambda: ow.sweeps.rank([{"a": 1, "seed": 0}, {"a": 1}], [1.0, 2.0]),
            ValueError,
            r"configurations\[1\] must have the names of the first",
        ),
        (lambda: ow.sweeps.rank([3], [1.0]), TypeError, r"\[0\] must be a dict"),
        (
            lambda: ow.sweeps.rank(POINTS, np.zeros(12, complex)),
            TypeError,
            "values must be real numbers, got an array of complex128",
        ),
        (
            lambda: ow.sweeps.rank([{"a": 1}], ["low"]),
            TypeError,
            "values must be real numbers",
        ),
        (
            lambda: ow.sweeps.rank(POINTS, np.zeros(12), largest_first="no"),
            TypeError,
            "largest_first must be True or False, got 'no'",
        ),
        (lambda: ow.sweeps.sweep(3, POINTS), TypeError, "train must be a function"),
        (
            lambda: ow.sweeps.sweep(train, POINTS, shared=np.ones((2, 3))),
            TypeError,
            r"shared must be a tuple of arrays, got ndarray; .* is \(array,\)",
        ),
        (
            lambda: ow.sweeps.sweep(train, POINTS, progress=True),
            TypeError,
            "progress must be a function",
        ),
        (
            lambda: ow.sweeps.sweep(train, POINTS, devices=[]),
            ValueError,
            "at least one device",
        ),
        (
            lambda: ow.sweeps.random_search(3, random_seed="a", x=[1]),
            TypeError,
            "random_seed must be",
        ),
        (
            lambda: ow.sweeps.random_search(3, random_seed=-1, x=[1]),
            ValueError,
            "random_seed must be",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_random_search_hits_every_part_of_every_axis():
    points = ow.sweeps.random_search(
        50, peak=(1e-4, 1e-1), steps=(1, 1000), seed=range(5)
    )
    place = np.log10([point["peak"] for point in points]) / 3 + 4 / 3
    assert sorted((place * 50).astype(int)) == list(range(50))
    assert all(isinstance(point["steps"], int) for point in points)
    assert np.bincount([point["seed"] for point in points]).tolist() == [10] * 5
    assert points == ow.sweeps.random_search(
        50, peak=(1e-4, 1e-1), steps=(1, 1000), seed=range(5)
    )
    other = ow.sweeps.random_search(
        50, random_seed=1, peak=(1e-4, 1e-1), steps=(1, 1000), seed=range(5)
    )
    assert other != points


def test_numpy_values_become_plain_numbers():
    points = ow.sweeps.grid(peak_value=np.geomspace(0.1, 1, 2), seed=np.arange(2))
    assert json.loads(json.dumps(points)) == points


# Ranking.


def test_ranking_says_what_noise_could_explain():
    points = ow.sweeps.grid(peak_value=[1, 2, 3, 4], seed=range(3))
    values = [1.0, 1.2, 1.4, 1.1, 1.3, 1.5, 1.7, 1.8, 1.9, 0.1, 0.1, math.inf]
    ranked = ow.sweeps.rank(points, values)
    best, near, far, diverged = ranked
    assert [each.configuration["peak_value"] for each in ranked] == [1, 2, 3, 4]
    assert best.mean == pytest.approx(1.2)
    assert best.standard_error == pytest.approx(0.2 / 3**0.5)
    assert [each.tied for each in ranked] == [True, True, False, False]
    assert (diverged.runs, diverged.diverged, diverged.mean) == (3, 1, 0.1)


def test_equal_configurations_are_one_however_they_are_written():
    points = [
        {"peak": 0.5, "steps": 3, "seed": 0},
        {"steps": np.int64(3), "peak": np.float64(0.5), "seed": 1},
        {"seed": np.int32(2), "peak": jnp.asarray(0.5), "steps": 3},
    ]
    (only,) = ow.sweeps.rank(points, [1.0, 2.0, 3.0])
    assert (only.runs, only.mean) == (3, 2.0)
    assert only.configuration == {"peak": 0.5, "steps": 3}


def test_one_seed_leaves_the_noise_unknown():
    ranked = ow.sweeps.rank([{"a": 1}, {"a": 2}], [0.9, 0.8], largest_first=True)
    assert [each.configuration["a"] for each in ranked] == [1, 2]
    assert all(each.tied and math.isnan(each.standard_error) for each in ranked)


# The example.


@pytest.fixture
def small(monkeypatch):
    """The command on a toy in the place of the vision transformer."""

    def make_train(size):
        def one(digits, peak_value, warmup_steps, seed):
            noise = jax.random.normal(jax.random.key(seed))
            loss = jnp.square(jnp.log10(peak_value / 0.01)) + 0.01 * noise
            loss = jnp.where(peak_value > 0.3, jnp.inf, loss + 1 / (1 + warmup_steps))
            return {"validation_loss": loss[None]}

        return one

    monkeypatch.setattr(command, "make_train", make_train)
    monkeypatch.setattr(evaluation, "use_all_cores", lambda: None)


def test_the_command_recommends_and_draws(small, tmp_path, capsys):
    arguments = ["--peaks", "1e-4", "1", "--peak-count=5", f"--folder={tmp_path / 'a'}"]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Best      peak_value=0.01, warmup_steps=100" in printed
    assert "the best warmup_steps is the largest that was tried" in printed
    assert "Diverged  12 of 60" in printed
    assert (tmp_path / "a" / "heat_map.png").read_bytes().startswith(b"\x89PNG")
    # Again: everything is read, and another sweep does not fit.
    assert command.main(arguments) == 0
    assert "trained 60 of 60" in capsys.readouterr().out
    assert command.main([*arguments, "--seeds=2"]) == 2
    assert "another sweep: it differs in configurations" in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on(small, tmp_path, capsys, monkeypatch):
    def interrupt(bars, task, completed, **_):
        if completed == 24:
            raise KeyboardInterrupt

    arguments = [f"--folder={tmp_path / 'a'}"]
    with monkeypatch.context() as patch:
        patch.setattr(command.Progress, "update", interrupt)
        assert command.main(arguments) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "trained 0 of 72" not in printed and "trained 24 of 72" in printed


def test_the_command_searches_at_random(small, tmp_path, capsys):
    assert command.main(["--random=7", f"--folder={tmp_path / 'a'}"]) == 0
    assert "21 trainings" in capsys.readouterr().out
    assert (tmp_path / "a" / "heat_map.png").is_file()


def test_the_command_searches_with_optuna(small, tmp_path, capsys):
    arguments = ["--search=8", "--chunk=12", f"--folder={tmp_path / 'a'}"]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "trained 4 of 8 trials" in printed and "(mean of 3 seeds)" in printed
    assert command.main(arguments) == 0  # everything is there
    assert capsys.readouterr().out.startswith("trained 8 of 8 trials\nBest ")
    assert command.main([*arguments, "--seeds=2"]) == 2
    assert "belongs to another objective" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peaks", "0", "1"], "logarithmic scale has no 0"),
        (["--seeds=0"], "seed must hold at least one value"),
        (["--peak-count=0"], "count must be"),
        (["--chunk=0"], "chunk must be"),
    ],
)
def test_the_command_says_what_is_wrong(small, tmp_path, capsys, arguments, message):
    assert command.main([*arguments, f"--folder={tmp_path / 'a'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("wrong", [["--search=0"], ["--search=3", "--random=3"]])
def test_the_command_searches_or_draws_at_random(wrong, capsys):
    with pytest.raises(SystemExit):
        command.main(wrong)
    assert "--search takes a number of trials" in capsys.readouterr().err


@pytest.mark.parametrize("steps", [-1, 201])
def test_the_command_knows_how_long_a_warmup_can_be(steps, capsys):
    """What is traced cannot be checked, so it is checked before."""
    with pytest.raises(SystemExit):
        command.main(["--warmups", "0", str(steps)])
    assert "--warmups must be from 0 to --total-steps" in capsys.readouterr().err


def test_one_seed_and_total_divergence_are_said():
    points = ow.sweeps.grid(peak_value=[1.0, 2.0], warmup_steps=[0])
    ranked = ow.sweeps.rank(points, [1.0, 2.0])
    assert "One seed cannot tell" in advice.recommend(ranked, 10)[1]
    ranked = ow.sweeps.rank(points, [math.nan, math.inf])
    assert advice.recommend(ranked, 10) == [
        "Every configuration diverged with some seed: try lower peak rates."
    ]


def test_the_picture_shows_what_diverged(tmp_path):
    ranked = ow.sweeps.rank(POINTS, np.where(np.arange(12) > 8, np.nan, np.arange(12)))
    figure.draw(ranked, "title", tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    ax = Figure().subplots()
    figure.heat_map(ax, ranked, [0.1, 0.3, 1e30], [0, 3])
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells == {
        (0, 0): "0.50", (0, 1): "2.50", (1, 0): "4.50", (1, 1): "6.50",
        (2, 0): "1 of 2\ndiverged", (2, 1): "2 of 2\ndiverged",
    }  # fmt: skip

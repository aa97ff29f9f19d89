"""The benchmarks of speed run, say what they measured, and survive what fails."""

import dataclasses
import re
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from transformer_runs import kept_programs

import optax_warmup as ow
from benchmarks import example_options, gpu, warm_start
from benchmarks.training_speed import __main__ as training_speed, with_jax, with_torch
from benchmarks.training_speed.measure import Spent, take_turns
from examples.transformer.core.train_step import init_params
from examples.transformer.run.command_line import TrainOptions, parse

pytestmark = pytest.mark.train

ROOT = Path(__file__).parents[1]
TINY = with_jax.TINY


programs = kept_programs(autouse=True)


@dataclasses.dataclass
class Metronome:
    """Takes the seconds it is told to, and ten times as many in one disturbed round."""

    cpu: float
    wall: float
    rounds: int = 0

    def advance(self, updates):
        self.rounds += 1
        factor = 10 if self.rounds == 3 else 1
        return Spent(self.cpu * updates * factor, self.wall * updates * factor)


def test_ratios_are_of_the_same_round_and_the_median_of_all():
    trainings = {"slow": Metronome(0.3, 0.8), "fast": Metronome(0.1, 0.2)}
    times = take_turns(trainings, rounds=5, updates=4)
    assert all(training.rounds == 5 for training in trainings.values())
    assert times.per_update("slow", "cpu") == pytest.approx(0.3)
    assert times.per_update("fast", "wall") == pytest.approx(0.2)
    assert times.ratio("slow", "fast", "cpu") == pytest.approx((3.0, 0.0))
    assert times.ratio("slow", "fast", "wall") == pytest.approx((4.0, 0.0))


def test_the_table_says_tokens_utilisation_and_who_is_left_out():
    config = TINY.replace(peak_flops=1e9, batch_size=4, length=16)
    trainings = {training_speed.OURS: Metronome(0.1, 0.2), "other": Metronome(0.2, 0.4)}
    times = take_turns(trainings, rounds=5, updates=4)
    table = training_speed.comparison(config, times, {"a third": "it is missing"})
    ours, other = (
        line for line in table.splitlines() if " 320 " in line or "160" in line
    )
    flops = 6 * (4 * 16**2 + 2 * 16 * 32 + 16 * 256) + 12 * 16 * 16
    share = 320 * flops / (1e9 * jax.device_count())
    assert f"| this example | 320 | 640 | {share:.1%} | 1.000 | 0.000 |" in ours
    assert "| other | 160 | 320 |" in other and "| 2.000 | 0.000 |" in other
    assert "Left out: a third (it is missing)." in table


@pytest.mark.slow
def test_the_example_trains_from_the_middle_of_its_run():
    batches = training_speed.make_batches(TINY)
    example = with_jax.Example(TINY, batches)
    before = example.step
    spent = example.advance(5)
    assert spent.wall > 0 and example.step == before + 5
    history = ow.read_moments(example.state.opt_state)
    wanted = [s for s in range(32, before + 5) if training_speed.is_recorded(s)]
    assert list(history.steps) == wanted  # 32, 34, 36, ...: it began at 64 // 2
    schedule = with_jax.make_schedule(TINY)
    np.testing.assert_allclose(
        ow.learning_rate(example.state.opt_state), schedule(before + 4), rtol=1e-6
    )


@pytest.mark.slow
def test_flax_trains_the_same_model_to_the_same_loss():
    batches = training_speed.make_batches(TINY)[:1]
    flax = with_jax.FlaxLoop(TINY, batches)
    fresh = with_jax.make_model(TINY, TINY.seed)
    _, params = init_params(TINY, with_jax.make_mesh(TINY.batch_size, TINY.fsdp))
    sizes = [
        sum(x.size for x in jax.tree.leaves(tree))
        for tree in (with_jax.nnx.state(fresh), params)
    ]
    assert sizes[0] == sizes[1]
    before = with_jax.next_token_loss(flax.model, batches[0])
    flax.advance(10)
    after = with_jax.next_token_loss(flax.model, batches[0])
    assert before == pytest.approx(np.log(TINY.vocab_size), abs=0.1) and after < before


@pytest.mark.slow
def test_the_comparison_trains_both_and_says_why_torch_is_left_out():
    table = training_speed.compare(TINY, rounds=2)
    assert re.search(r"\| this example \| [\d,]+ \| [\d,]+ \| - \| 1.000 \|", table)
    assert re.search(r"\| flax: .* \| [\d,]+ \| [\d,]+ \| - \| \d+\.\d+ \|", table)
    assert "Left out: PyTorch" in table and "this is a cpu" in table


def test_the_overhead_is_the_average_over_a_run(monkeypatch):
    seconds = dict(
        zip(with_jax.diagnosed(TINY), (1.0, 1.0, 1.01, 1.02, 1.1), strict=True)
    )
    waiting = iter(seconds.values())
    monkeypatch.setattr(
        training_speed, "Example", lambda *_: Metronome(s := next(waiting), s)
    )
    table = training_speed.overhead(TINY, rounds=5)
    for name, ratio in seconds.items():
        assert f"| {name} | {ratio:.4f} | 0.0000 |" in table
    # 32 below 2**5, then every second one: 48 of 64 updates.
    mean = (16 * 1.02 + 48 * 1.1) / 64
    assert "of 64 updates, of which 48 are recorded" in table
    assert (
        f"that is {mean:.4f} on average: " in table and f"add {mean - 1:.2%}." in table
    )


@pytest.mark.parametrize("kind", range(5))
def test_each_optimizer_is_what_its_row_says(kind):
    """By its state: schedules count, and the record has a row for each listed step."""
    optimizer = list(with_jax.diagnosed(TINY).values())[kind]
    state = jax.eval_shape(optimizer.init, {"kernel": np.ones((2, 2), np.float32)})
    leaves = jax.tree.leaves(
        state, is_leaf=lambda x: isinstance(x, ow.states.RecordMomentsState)
    )
    records = [x for x in leaves if isinstance(x, ow.states.RecordMomentsState)]
    rows = [record.steps.shape[0] for record in records]
    assert rows == [[], [], [], [2], [1001]][kind]  # and one for what is not due


def test_what_does_not_start_is_left_out_and_says_why():
    def broken():
        raise MemoryError("no room\nand more of it")

    trainings, failures = training_speed.start(
        {"whole": lambda: Metronome(0.1, 0.1), "broken": broken}
    )
    assert list(trainings) == ["whole"]
    assert failures == {"broken": "MemoryError: no room"}


def test_torch_ends_with_its_reason(monkeypatch, tmp_path):
    """Whatever its process says last, and when it says nothing in time."""
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch is not here')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    loop = with_torch.TorchLoop(TINY)
    with pytest.raises(RuntimeError, match=r"ended: ImportError: libtorch is not here"):
        loop.wait()
    loop.close()
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(with_torch, "READY_SECONDS", 0.5)
    loop = with_torch.TorchLoop(TINY)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"it took more than 0\.5 s"):
        loop.wait()
    loop.close()
    assert time.monotonic() - began < 30


def test_one_failure_does_not_lose_the_others(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    programs = {
        "whole": "print('# Whole'); print('## Table'); print('| a |')",
        "broken": "print('half', flush=True); raise ValueError('no more')",
        "endless": "import time; print('begun', flush=True); time.sleep(60)",
        "last": "print('done')",
    }
    for name, text in programs.items():
        (tmp_path / f"{name}.py").write_text(text)
    chosen = [gpu.Part(name, [name], 2) for name in programs]
    monkeypatch.setattr(gpu, "parts", lambda *_: chosen)
    output = tmp_path / "results" / "gpu.md"
    began = time.monotonic()
    assert gpu.main(["--output", str(output)]) == 1
    assert time.monotonic() - began < 50
    page = output.read_text()
    assert page.startswith(f"# Measurements on {jax.device_count()} x cpu")
    assert "## whole\n\n### Table\n| a |" in page
    assert "## broken\n\nhalf\n\n**Not complete: it exited with 1" in page
    assert "its last words: ValueError: no more.**" in page
    assert "## endless\n\nbegun\n\n**Not complete: it was stopped after 2 s.**" in page
    assert page.endswith("## last\n\ndone\n")
    assert "2 parts are not complete" in capsys.readouterr().out


def test_the_parts_of_the_command_exist_and_fit_into_ten_minutes():
    for on_gpu in (False, True):
        chosen, full = (gpu.parts(on_gpu, quick) for quick in (True, False))
        for small, large in zip(chosen, full, strict=True):
            assert small.title == large.title
            assert "--quick" in small.arguments or small.arguments[-1] == "8"
        for part in chosen:
            module = part.arguments[0].replace(".", "/")
            paths = ROOT / f"{module}.py", ROOT / module / "__main__.py"
            assert any(path.exists() for path in paths)
    assert gpu.TOTAL_SECONDS < 10 * 60


def test_the_options_of_the_example_are_compared_on_this_machine(monkeypatch):
    """Those that need several devices only where there are several."""
    names = [list(example_options.runs(TINY, devices)) for devices in (1, 4)]
    assert "--microbatches 4" in names[0] and "--fsdp 4" not in names[0]
    assert "--fsdp 4" in names[1] and "--microbatches 2" not in names[1]  # a batch of 4
    for name, config in example_options.runs(TINY, 1).items():
        if name.startswith("-"):
            given = parse(TrainOptions, "train", "", name.split())[1]
            changed = {k for k, x in vars(config).items() if x != getattr(TINY, k)}
            for field in changed:
                assert getattr(given, field) == getattr(config, field)
    made = []

    def example(config, batches, optimizer=None):
        made.append(config)
        if config.remat:
            raise MemoryError("no room")
        return Metronome(1.0 + config.automatic_warmup, 2.0)

    monkeypatch.setattr(example_options, "Example", example)
    table, left_out = example_options.rows(TINY.replace(peak_flops=1e9), rounds=2)
    assert len(made) == len(table) + 1 == len(example_options.runs(TINY, 1)) + 1
    row = next(row for row in table if "automatic" in row[0])
    assert row[:2] == ["`--automatic-warmup`", "2.000"]
    assert left_out == ["Left out: --remat (MemoryError: no room)."]


@pytest.mark.slow
def test_a_start_is_measured_in_a_process_of_its_own():
    cache = jax.config.jax_compilation_cache_dir
    seconds = warm_start.started(["--quick"], cache)
    assert seconds.keys() == warm_start.COLUMNS.keys()
    assert list(Path(cache).glob("*train_step*"))  # where the next start finds it
    parts = [seconds[name] for name in ("imports", "trace", "compile", "first_update")]
    assert min(parts) > 0 and sum(parts) < seconds["start"]


def test_a_warm_start_comes_after_a_cold_one(monkeypatch, capsys):
    caches = []

    def started(arguments, cache):
        caches.append(cache)
        return dict.fromkeys(warm_start.COLUMNS, 12.5 / 5 ** len(caches))

    monkeypatch.setattr(warm_start, "started", started)
    warm_start.main(["--quick"])
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert caches[0] == caches[1]
    assert rows == ["| empty |" + " 2.5 |" * 7, "| filled |" + " 0.5 |" * 7]

"""Searches by Optuna: what is trained, what is pruned, who trains what, bad input."""

import math
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optuna
import pytest
from optuna.storages import JournalStorage, journal

import optax_warmup as ow

pytestmark = pytest.mark.train
optuna.logging.set_verbosity(optuna.logging.WARNING)
search = ow.sweeps.search


def make_study(sampler=None, **options):
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(sampler=sampler, **options)


def halving(**options):
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=1, reduction_factor=2, **options
    )


def space(trial):
    return {"rate": trial.suggest_float("rate", 0.01, 0.9, log=True)}


def train(rate):
    return (1 - rate) ** 2


def init(rate):
    return {"weight": jnp.float32(3.0), "key": jax.random.key(0), "step": jnp.int32(0)}


def part(state, rate):
    weight = state["weight"] * (1 - rate)
    key = jax.random.split(state["key"])[0]
    return {"weight": weight, "key": key, "step": state["step"] + 1}, weight**2


def expected(rate, parts):
    return 9 * (1 - rate) ** (2 * parts)


# What is trained.


def test_each_value_is_that_of_its_configuration():
    study, seen = make_study(), []
    best = search(
        study, train, space, trials=10, chunk=4, progress=lambda *x: seen.append(x)
    )
    assert seen == [(0, 10), (4, 10), (8, 10), (10, 10)]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 10
    for trial in study.trials:
        assert trial.value == pytest.approx((1 - trial.params["rate"]) ** 2, rel=1e-5)
    assert best.number == study.best_trial.number and best.value == study.best_value


def test_the_points_are_those_of_the_sampler():
    study, alone = make_study(), make_study()
    search(study, train, space, trials=6, chunk=6)
    alone.optimize(lambda trial: train(**space(trial)), n_trials=6)
    assert [t.params for t in study.trials] == [t.params for t in alone.trials]


def test_all_is_traced_once_and_compiled_for_two_sizes_at_most():
    traces = []

    def counting(state, rate):
        traces.append(1)
        return part(state, rate)

    study = make_study(pruner=halving())
    search(study, counting, space, trials=30, chunk=8, init=init, rungs=4)
    assert len(traces) <= 4  # the shapes, the fingerprint, and two programs
    assert {t.state.name for t in study.trials} == {"COMPLETE", "PRUNED"}


def check_values(study):
    for trial in study.trials:
        if trial.state.name == "FAIL":
            continue
        assert list(trial.intermediate_values) == list(range(1, trial.last_step + 1))
        for parts, value in trial.intermediate_values.items():
            wanted = expected(trial.params["rate"], parts)
            assert value == pytest.approx(wanted, rel=1e-4, abs=1e-12)


def test_parts_go_on_from_their_state_wherever_they_move():
    study = make_study(pruner=halving())
    search(study, part, space, trials=21, chunk=8, init=init, rungs=5)
    check_values(study)
    complete = [t for t in study.trials if t.state.name == "COMPLETE"]
    assert 0 < len(complete) < 21
    assert all(t.last_step == 5 for t in complete)


class Keeping(optuna.pruners.NopPruner):
    """Keeps two trials, and waits before it decides for the third time."""

    def prune(self, study, trial):
        if trial.last_step == 3:
            time.sleep(0.2)
        return trial.number in range(3, 11) and trial.number not in (8, 10)


def test_the_last_ones_move_together_and_make_room_again():
    """Two of eight go on in the small program; then lost trials come back."""
    study = make_study(pruner=Keeping())
    for _ in range(3):
        leave_running(study, train=part, init=init, rungs=6)
    search(study, part, space, trials=11, chunk=8, init=init, rungs=6, grace_period=0.3)
    check_values(study)
    last = [t.last_step for t in study.trials if t.state.name != "FAIL"]
    assert sorted(last) == [1] * 6 + [6] * 5


def test_the_pruner_decides_as_if_trials_ran_side_by_side():
    """The first chunk against the algorithm by hand: Li et al., MLSys 2020."""
    study = make_study(pruner=halving())
    search(study, part, space, trials=8, chunk=8, init=init, rungs=2)
    values = [expected(t.params["rate"], 1) for t in study.trials]
    for i, trial in enumerate(study.trials):
        before = sorted(values[: i + 1])
        promoted = values[i] <= before[max(0, (i + 1) // 2 - 1)]
        assert (trial.state.name == "COMPLETE") == promoted


def test_without_a_pruner_nothing_is_pruned():
    study = make_study(pruner=optuna.pruners.NopPruner())
    search(study, part, space, trials=5, chunk=2, init=init, rungs=3)
    assert [t.last_step for t in study.trials] == [3] * 5


def test_an_optimizer_and_shared_data_in_parts():
    inputs = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)

    def optimizer(peak):
        return optax.adam(ow.warmup_cosine(peak, 3, 12))

    def start(inputs, peak):
        params = jnp.ones(3)
        return params, optimizer(peak).init(params)

    def steps(state, inputs, peak):
        def loss(params):
            return jnp.mean((inputs @ params) ** 2)

        def step(state, _):
            params, opt_state = state
            updates, opt_state = optimizer(peak).update(
                jax.grad(loss)(params), opt_state
            )
            return (optax.apply_updates(params, updates), opt_state), None

        state, _ = jax.lax.scan(step, state, length=4)
        return state, loss(state[0])

    study = make_study()
    best = search(
        study, steps, lambda t: {"peak": t.suggest_float("peak", 0.01, 1, log=True)},
        trials=4, chunk=4, init=start, rungs=3, shared=(inputs,),
    )  # fmt: skip
    state = start(inputs, best.params["peak"])
    for _ in range(3):
        state, loss = steps(state, inputs, best.params["peak"])
    assert best.value == pytest.approx(float(loss), rel=1e-4)


def test_a_space_of_schedules_and_what_it_suggests():
    def schedules(trial):
        peak = 10 ** trial.suggest_float("exponent", -3, -1)
        return {"schedule": ow.warmup_constant(peak, trial.suggest_int("steps", 1, 9))}

    study = make_study()
    search(study, lambda schedule: schedule(100), schedules, trials=3)
    for trial in study.trials:
        assert trial.value == pytest.approx(10 ** trial.params["exponent"], rel=1e-5)


def test_what_is_enqueued_comes_first():
    study = make_study()
    study.enqueue_trial({"rate": 0.5})
    search(study, train, space, trials=3, chunk=2)
    assert study.trials[0].value == pytest.approx(0.25)
    assert len(study.trials) == 3


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_divergence_is_pruned_and_the_worst(direction):
    def diverging(state, rate):
        state, value = part(state, rate)
        bad = jnp.where(rate > 0.5, jnp.inf, jnp.nan)
        return state, jnp.where((rate > 0.1) & (state["step"] > 1), bad, value)

    study = make_study(direction=direction, pruner=optuna.pruners.NopPruner())
    maximize = direction == "maximize"
    best = search(
        study, diverging, space, trials=8, init=init, rungs=3, maximize=maximize
    )
    assert math.isfinite(best.value) and best.number == study.best_trial.number
    for trial in study.trials:
        lost = trial.params["rate"] > 0.1
        assert trial.state.name == ("PRUNED" if lost else "COMPLETE")
        assert trial.last_step == (2 if lost else 3)
        assert math.isnan(trial.intermediate_values[trial.last_step]) == lost


def test_if_all_diverge_there_is_no_best():
    study = make_study()
    with pytest.raises(ValueError, match="none of the 3 trials .* to its end"):
        search(study, lambda rate: rate * jnp.nan, space, trials=3)
    # The sampler that learns goes on from there.
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=1, seed=0)
    with pytest.raises(ValueError, match="none of the 6 trials"):
        search(study, lambda rate: rate * jnp.nan, space, trials=6)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 6


def test_space_may_exclude_points():
    trained = []

    def constrained(trial):
        configuration = space(trial)
        if configuration["rate"] > 0.1:
            raise optuna.TrialPruned
        trained.append(trial.number)
        return configuration

    study = make_study(optuna.samplers.RandomSampler(seed=1))
    best = search(study, train, constrained, trials=12, chunk=3)
    assert best.params["rate"] <= 0.1 and len(study.trials) == 12
    for trial in study.trials:
        excluded = trial.params["rate"] > 0.1
        assert trial.state.name == ("PRUNED" if excluded else "COMPLETE")
    assert 0 < len(set(trained)) < 12


def test_a_space_that_excludes_everything_ends():
    asked = []

    def excluded(trial):
        asked.append(space(trial))
        raise optuna.TrialPruned

    study = make_study()
    with pytest.raises(ValueError, match="space raised TrialPruned for all of 1000"):
        search(study, train, excluded, trials=4)
    assert not study.trials

    def later(trial):
        return space(trial) if len(asked) == 1000 else excluded(trial)

    def only_the_example(trial):
        configuration = later(trial)
        asked.append(configuration)
        return configuration

    with pytest.raises(ValueError, match="none of the 4 trials"):
        search(study, train, only_the_example, trials=4, chunk=2)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 4


def test_an_argument_that_space_does_not_return_is_named():
    def inner(rate, seed):
        return rate * seed

    def whole(**configuration):
        return inner(**configuration)

    for objective in (inner, whole):
        with pytest.raises(TypeError, match="space (returns|must return)") as found:
            search(make_study(), objective, space, trials=2)
        assert "'seed'" in str(found.value)


def test_the_same_call_goes_on_with_a_study():
    study, seen = make_study(), []
    search(study, train, space, trials=4)
    search(study, train, space, trials=4, progress=lambda *x: seen.append(x))
    assert seen == [(4, 4)] and len(study.trials) == 4
    search(study, train, space, trials=7, progress=lambda *x: seen.append(x))
    assert seen[1:] == [(4, 7), (7, 7)] and len(study.trials) == 7


def test_a_sampler_that_knows_when_it_is_done():
    grid = optuna.samplers.GridSampler({"rate": [0.1, 0.2, 0.3]})
    study = make_study(grid)
    search(study, train, space, trials=3, chunk=2)
    assert sorted(t.params["rate"] for t in study.trials) == [0.1, 0.2, 0.3]


# Interruptions and workers.


class Interrupted(Exception):
    pass


def test_an_interrupted_worker_gives_its_trials_back():
    study = make_study(pruner=optuna.pruners.NopPruner())

    def stop(done, total):
        if done:
            raise Interrupted

    with pytest.raises(Interrupted):
        search(study, train, space, trials=6, chunk=2, progress=stop)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 2

    class Stopping(optuna.pruners.NopPruner):
        def prune(self, study, trial):
            raise Interrupted

    study = make_study(pruner=Stopping())
    with pytest.raises(Interrupted):
        search(study, part, space, trials=3, init=init, rungs=2)
    states = [trial.state.name for trial in study.trials]
    assert states == ["FAIL"] * 3 + ["WAITING"] * 3
    given_back = [trial.params for trial in study.trials[:3]]
    study.pruner = optuna.pruners.NopPruner()
    search(study, part, space, trials=3, init=init, rungs=2, max_retry=0)
    assert [trial.params for trial in study.trials[3:]] == given_back
    assert [trial.state.name for trial in study.trials[3:]] == ["COMPLETE"] * 3


def leave_running(study, worker="gone", train=train, **parts):
    """What a worker that is killed leaves: a trial that runs for ever."""
    other = make_study()
    search(other, train, space, trials=1, **parts)
    program = other.trials[0].user_attrs["search"]["program"]
    trial = study.ask()
    trial.set_user_attr("search", {"program": program, "worker": worker})
    space(trial)
    return trial


def test_trials_of_a_lost_worker_are_taken_up():
    study = make_study()
    lost = leave_running(study)
    study.ask()  # of this one not even a value was chosen
    search(study, train, space, trials=4, chunk=4, grace_period=0.2)
    states = [trial.state.name for trial in study.trials]
    assert states == ["FAIL"] * 2 + ["COMPLETE"] * 4
    roots = [trial.user_attrs.get("search_root") for trial in study.trials]
    assert sorted(x for x in roots if x is not None) == [0, 1]
    (again,) = (t for t in study.trials if t.user_attrs.get("search_root") == 0)
    assert again.params == lost.params
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        lost.report(1.0, 1)  # should it wake up


def test_a_pruner_judges_a_trial_that_is_trained_again_afresh():
    study = make_study(pruner=halving())
    lost = leave_running(study, train=part, init=init, rungs=3)
    lost.report(1e-9, 1)
    assert not lost.should_prune()
    with pytest.raises(ValueError, match="none of the 1 trials"):  # it is pruned
        search(study, part, space, trials=1, init=init, rungs=3, grace_period=0.2)
    again = study.trials[1]
    assert again.params == study.trials[0].params
    seen = again.system_attrs["completed_rung_0"]
    assert seen == again.intermediate_values[1] != 1e-9


def test_a_trial_that_kills_its_workers_is_left_out():
    study = make_study()
    leave_running(study)
    with pytest.warns(UserWarning, match="trial 0 with .* was lost .* 1 times"):
        best = search(
            study, train, space, trials=3, chunk=4, grace_period=0.2, max_retry=0
        )
    assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert best.number in (1, 2)


def test_a_living_worker_is_left_alone():
    study = make_study()
    leave_running(study, "alive")
    stop = threading.Event()

    def beat():
        count = 0
        while not stop.wait(0.05):
            count += 1
            study.set_user_attr("search_worker:alive", count)
        study.tell(0, 1.0)

    thread = threading.Thread(target=beat)
    thread.start()
    threading.Timer(1.5, stop.set).start()
    search(study, train, space, trials=3, chunk=1, grace_period=0.5)
    thread.join()
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3


def test_a_worker_that_was_declared_lost_drops_its_results():
    class Thief(optuna.pruners.NopPruner):
        """Another worker, who takes this one for lost while it trains."""

        def prune(self, study, trial):
            if trial.number == 0:
                study.tell(0, state=optuna.trial.TrialState.FAIL)
            return False

    study = make_study(pruner=Thief())
    search(study, part, space, trials=2, init=init, rungs=3, grace_period=0.2)
    assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[2].params == study.trials[0].params
    assert study.trials[2].last_step == 3


def test_threads_on_one_journal_file_share_the_trials_exactly(tmp_path):
    def storage():
        file = str(tmp_path / "journal.log")
        return JournalStorage(journal.JournalFileBackend(file))

    optuna.create_study(study_name="a", storage=storage())

    def work():
        sampler = optuna.samplers.RandomSampler()
        study = optuna.load_study(study_name="a", storage=storage(), sampler=sampler)
        search(study, train, space, trials=11, chunk=3)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = optuna.load_study(study_name="a", storage=storage()).trials
    counted = [t for t in trials if "search_void" not in t.user_attrs]
    assert [t.state.name for t in counted] == ["COMPLETE"] * 11
    assert len({t.params["rate"] for t in counted}) == 11


def test_a_storage_that_does_not_answer_is_asked_again(monkeypatch):
    study, failures = make_study(), []
    report = optuna.Trial.report

    def flaky(trial, value, step):
        if len(failures) < 3:
            failures.append(1)
            raise optuna.exceptions.StorageInternalError("no connection")
        report(trial, value, step)

    monkeypatch.setattr(optuna.Trial, "report", flaky)
    search(study, train, space, trials=4, chunk=2, grace_period=0.5)
    assert len(failures) == 3
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 4


def test_a_storage_that_stays_away_is_said(monkeypatch):
    study = make_study()

    def away(*_, **__):
        raise optuna.exceptions.StorageInternalError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "report", away)
        with pytest.raises(
            RuntimeError, match=r"storage of .* does not answer \(no con"
        ):
            search(study, train, space, trials=2, grace_period=0.3)
    search(study, train, space, trials=2, grace_period=0.3)
    assert sum(t.state.name == "COMPLETE" for t in study.trials) == 2


def test_a_journal_that_is_deleted_is_said(tmp_path):
    file = tmp_path / "journal.log"
    backend = journal.JournalFileBackend(str(file))
    study = make_study(storage=JournalStorage(backend))

    def delete(done, total):
        if done == 2:
            file.unlink()

    with pytest.raises(RuntimeError, match="storage of study .* does not answer"):
        search(
            study, train, space, trials=6, chunk=2, progress=delete, grace_period=0.3
        )


# Bad input.


def test_another_objective_is_refused():
    study = make_study()
    search(study, train, space, trials=2)
    with pytest.raises(ValueError, match="belongs to another objective.* program"):
        search(study, lambda rate: rate, space, trials=4)
    scaled = make_study()
    search(scaled, lambda by, rate: by * rate, space, trials=2, shared=(jnp.ones(()),))
    with pytest.raises(ValueError, match="it differs in shared"):
        search(
            scaled, lambda by, rate: by * rate, space, trials=4, shared=(jnp.zeros(()),)
        )
    parts = make_study()
    search(parts, part, space, trials=2, init=init, rungs=2)
    with pytest.raises(ValueError, match="it differs in rungs"):
        search(parts, part, space, trials=4, init=init, rungs=3)
    other = make_study()
    other.optimize(lambda trial: trial.suggest_float("rate", 0.01, 0.9), n_trials=1)
    with pytest.raises(ValueError, match="trial 0 .* was not trained by search"):
        search(other, train, space, trials=4)
    assert len(study.trials) == 2 and len(other.trials) == 1  # nothing was asked


def test_another_space_is_refused():
    study = make_study()
    search(study, train, space, trials=2)
    wider = {"rate": (0.001, 0.9)}
    with pytest.raises(ValueError, match="another space: rate is from .*low=0.01"):
        search(
            study, train, lambda t: {"rate": t.suggest_float("rate", *wider["rate"])},
            trials=4,
        )  # fmt: skip
    with pytest.raises(ValueError, match="another space: trial 0 has rate"):
        search(study, train, lambda t: {"rate": t.suggest_float("r", 0, 1)}, trials=4)
    assert len(study.trials) == 2


def test_optuna_is_not_needed_until_it_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'optax_warmup\[search"):
        search(None, train, space, trials=2)


def with_study(**options):
    return lambda: search(make_study(), **({"train": train, "space": space} | options))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (with_study(trials=0), ValueError, "trials must be"),
        (with_study(trials=2, chunk=0), ValueError, "chunk must be"),
        (with_study(trials=2, rungs=0), ValueError, "rungs must be"),
        (with_study(trials=2, rungs=3), ValueError, "rungs=3 needs init"),
        (with_study(trials=2, max_retry=-1), ValueError, "max_retry must be"),
        (with_study(trials=2, grace_period=0), ValueError, "grace_period must be"),
        (with_study(trials=2, free_memory=-1), ValueError, "free_memory must be"),
        (with_study(trials=2, maximize=True), ValueError, "pass maximize=False"),
        (with_study(trials=2, maximize="yes"), TypeError, "maximize must be True or"),
        (with_study(trials=2, shared=3), TypeError, "search: shared must be a tuple"),
        (with_study(trials=2, train=3), TypeError, "search: train must be a function"),
        (with_study(trials=2, space=3), TypeError, "space must be a function"),
        (with_study(trials=2, init=3, rungs=2), TypeError, "init must be a function"),
        (with_study(trials=2, devices=[]), ValueError, "search: devices must hold"),
        (with_study(trials=2, progress=3), TypeError, "progress must be a function"),
        (with_study(trials=2, train=lambda x: x), TypeError, "then the names rate"),
        (
            with_study(trials=2, init=lambda: 0, train=part, rungs=2),
            TypeError,
            "init must take 0 positional .* the names rate",
        ),
        (with_study(trials=2, space=lambda t: 3), TypeError, "must return a dict"),
        (with_study(trials=2, space=lambda t: {}), TypeError, "must return a dict"),
        (
            with_study(trials=2, space=lambda t: {"rate": "fast"}),
            TypeError,
            "search: 'rate' of what space returns must be a number or a schedule",
        ),
        (
            with_study(trials=2, train=lambda rate: jnp.ones(3)),
            ValueError,
            "train must return one real number",
        ),
        (
            with_study(trials=2, train=lambda rate: {"loss": rate}),
            ValueError,
            "train must return one real number",
        ),
        (
            with_study(trials=2, train=lambda rate: rate * 1j),
            ValueError,
            "train must return one real number",
        ),
        (
            with_study(trials=2, train=lambda state, rate: rate, init=init),
            TypeError,
            "with init, train must return a tuple",
        ),
        (
            with_study(trials=2, train=lambda state, rate: (rate, rate), init=init),
            ValueError,
            "must return a state like that of init",
        ),
        (
            with_study(trials=2, chunk=2, free_memory=1),
            ValueError,
            "search: .* not one fits",
        ),
        (
            lambda: search(
                optuna.create_study(directions=["minimize", "minimize"]),
                train, space, trials=2,
            ),
            ValueError,
            "must have one objective, got 2",
        ),
        (lambda: search("a", train, space, trials=2), TypeError, "study must be an"),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_space_that_changes_its_names_is_refused_and_its_trial_given_back():
    def changing(trial):
        names = {"rate": trial.suggest_float("rate", 0.1, 0.9)}
        return names | ({"other": 1} if trial.number else {})

    study = make_study()
    with pytest.raises(ValueError, match="what space returns must have the names of"):
        search(study, train, changing, trials=3, chunk=1)
    assert study.trials[0].state.name == "COMPLETE"
    assert study.trials[-1].state.name == "WAITING"

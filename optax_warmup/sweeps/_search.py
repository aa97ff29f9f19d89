"""A search: Optuna chooses, and each batch of trials is trained in one program."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax

from optax_warmup import _check
from optax_warmup.sweeps._arguments import check_arguments, check_names
from optax_warmup.sweeps._folder import identity
from optax_warmup.sweeps._points import Configuration
from optax_warmup.sweeps._same_study import SameStudy
from optax_warmup.sweeps._shared_study import SharedStudy
from optax_warmup.sweeps._slots import Slots

if TYPE_CHECKING:
    import optuna

_EXCLUDED = 1000  # random points that `space` may exclude before it gives one


def search(
    study: optuna.Study,
    train: Callable[..., Any],
    space: Callable[[Any], Configuration],
    *,
    trials: int,
    chunk: int = 16,
    init: Callable[..., Any] | None = None,
    rungs: int = 1,
    shared: tuple[Any, ...] = (),
    maximize: bool = False,
    grace_period: float = 60.0,
    max_retry: int = 3,
    progress: Callable[[int, int], object] | None = None,
    devices: Sequence[jax.Device] | None = None,
    free_memory: float | None = None,
) -> optuna.trial.FrozenTrial:
    """Searches with Optuna, and trains many trials at a time in one compiled program.

    value of a trial = train(*shared, **space(trial))

    The sampler of the study chooses `chunk` trials, which are trained as `sweep` trains
    configurations. With `init` and `rungs`, a training has equal parts:

        state = init(*shared, **configuration)
        state, value = train(state, *shared, **configuration)   # `rungs` times

    After each part the value is reported, and the pruner of the study decides which
    trials end there. The others go on from their states, and new trials take the free
    places. When no trials are left to begin, the last ones move into a second, smaller
    program, of a quarter of the size.

    Several workers, on one machine or many, can share a study through Optuna's storage:
    all make the same call. `trials` is the number for all of them together. The trials
    of a worker that was killed are trained again by the others, from their beginning,
    and count once.

    A trial whose value is not finite has diverged: it ends as pruned, with NaN as its
    last value, which samplers take for the worst. A trial for which `space` raises
    `optuna.TrialPruned` ends as pruned without a training, and the next one takes its
    row.

    Args:
        study: an `optuna.Study` with one objective.
        train: a traceable function of the shared arrays (by position) and the values of
            a configuration (by name) that returns the objective, a number. With `init`,
            one part of it, that takes the state first and returns (state, objective).
        space: a function from an Optuna trial to a configuration: a dict with the same
            names each time, of numbers or of schedules that differ in their numbers
            only: the arguments of `train` that are not shared. What it returns need not
            be what it suggests. It may raise `optuna.TrialPruned` to exclude a point.
        trials: how many trials the study shall have in the end, >= 1. Trials that it
            has count, pruned ones too, so the same call goes on with an interrupted
            search.
        chunk: how many to train at once. The sampler knows the results of earlier ones
            only, so a large chunk makes it blind.
        init: with `rungs`, a traceable function that returns the state of a training
            before its first update, a pytree of arrays.
        rungs: the number of parts of a training, >= 1. The step of a pruner is the
            number of parts done.
        shared: a tuple of arrays (or pytrees) that all trials use, such as the data.
        maximize: True if the study was created with direction="maximize"; a check, as
            a study keeps the direction that it was created with.
        grace_period: seconds without a sign of life after which a worker is lost. Also
            how long to wait for a storage that does not answer.
        max_retry: how often a trial that is lost with its worker is trained again.
        progress: called with (settled, trials) at the start and when trials have ended,
            by any worker.
        devices: the devices to use; by default all of this process.
        free_memory: the bytes that the program may use on each device; by default what
            is free there now.

    Returns:
        The best trial that was trained to its end, an `optuna.trial.FrozenTrial` with
        `params` and `value`.

    Raises:
        ModuleNotFoundError: Optuna is not installed.
        TypeError: an argument is of another kind.
        ValueError: the study has several objectives, another direction, another space,
            or trials of another objective; `chunk` does not fit into memory; `train`
            does not return a number; `space` excludes every point; or at the end, no
            trial was trained to its end, because all have diverged or were pruned.
        RuntimeError: the storage does not answer. The same call goes on when it does.

    Example:
        >>> import optuna, optax_warmup as ow
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        >>> def space(trial):
        ...     return {"x": trial.suggest_float("x", -2.0, 2.0)}
        >>> best = ow.sweeps.search(
        ...     study, lambda x: (x - 1) ** 2, space, trials=40, chunk=8
        ... )
        >>> len(study.trials), round(best.params["x"])
        (40, 1)

    Source: Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization
    Framework", KDD 2019; Li et al., "A System for Massively Parallel Hyperparameter
    Tuning", MLSys 2020, for pruning in rungs.
    """
    trials = _check.count("search", "trials", trials, minimum=1)
    chunk = min(_check.count("search", "chunk", chunk, minimum=1), trials)
    rungs = _check.count("search", "rungs", rungs, minimum=1)
    max_retry = _check.count("search", "max_retry", max_retry)
    _check.scalar("search", "grace_period", grace_period, above=0)
    _check_study(study, _check.flag("search", "maximize", maximize))
    check_arguments("search", train, shared, progress, devices)
    _check.function("search", "space", space, "trial")
    if free_memory is not None:
        _check.scalar("search", "free_memory", free_memory, above=0)
    if init is None and rungs > 1:
        raise ValueError(
            f"search: rungs={rungs} needs init: pass init(*shared, **configuration), "
            "which returns a state, and let train(state, ...) return (state, value)."
        )
    if init is not None and not callable(init):
        raise TypeError(f"search: init must be a function, got {init!r}.")

    example, distributions = _example(space)
    inputs = len(shared) + (init is not None)
    check_names("search", "train", train, inputs, example, "space returns")
    if init is not None:
        check_names("search", "init", init, len(shared), example, "space returns")
    slots = Slots(train, init, shared, example, devices)
    same = identity(slots.lower(shared), shared) | {"rungs": rungs}
    workers = SharedStudy(
        SameStudy(study, same, distributions),
        study,
        space,
        trials,
        grace_period,
        max_retry,
    )
    settled = workers.settled()
    if progress:
        progress(settled, trials)
    if settled < trials:
        slots.compile(chunk, free_memory)
        with workers:
            _train_all(workers, slots, rungs, progress)
    best: optuna.trial.FrozenTrial = workers.best()
    return best


def _train_all(
    workers: SharedStudy,
    slots: Slots,
    rungs: int,
    progress: Callable[[int, int], object] | None,
) -> None:
    settled = workers.settled()
    while settled < workers.total:
        for training in workers.take(slots.free):
            slots.check(training.configuration)
            slots.add(training)
        if slots.busy:
            _train_one_part(workers, slots, rungs)
        else:
            # Others train the last ones. Stay, for they may be lost.
            time.sleep(workers.storage.pause)
        before, settled = settled, workers.settled()
        if progress and settled != before:
            progress(settled, workers.total)


def _train_one_part(workers: SharedStudy, slots: Slots, rungs: int) -> None:
    done = slots.advance()
    # All are reported before a pruner compares the first.
    for training, value in done:
        workers.report(training.trial, value, training.parts)
    for training, value in done:
        trial = training.trial
        if not math.isfinite(value):
            workers.finish(trial, None)
        elif training.parts == rungs:
            workers.finish(trial, value)
        elif workers.owns(trial) and workers.should_prune(trial):
            workers.finish(trial, None)
        if not workers.owns(trial):
            slots.remove(training)


def _check_study(study: Any, maximize: bool) -> None:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "search: Optuna is not installed: pip install 'optax_warmup[search]'."
        ) from error
    if not isinstance(study, optuna.Study):
        raise TypeError(
            f"search: study must be an optuna.Study, got {study!r}; make one with "
            "optuna.create_study(direction='minimize')."
        )
    if len(study.directions) > 1:
        raise ValueError(
            f"search: study must have one objective, got {len(study.directions)}; "
            "return a weighted sum of them from train."
        )
    if (study.direction.name == "MAXIMIZE") is not maximize:
        raise ValueError(
            f"search: study {study.study_name!r} has the direction "
            f"{study.direction.name.lower()}, and maximize is {maximize}: pass "
            f"maximize={not maximize}, or create a study with the other direction."
        )


def _example(
    space: Callable[[Any], Configuration],
) -> tuple[Configuration, dict[str, Any]]:
    """Asks for one configuration outside of the study, to compile and to compare."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(sampler=sampler)
    finally:
        optuna.logging.set_verbosity(verbosity)
    for _ in range(_EXCLUDED):
        trial = study.ask()
        with contextlib.suppress(optuna.TrialPruned):
            configuration = space(trial)
            break
    else:
        raise ValueError(
            f"search: space raised TrialPruned for all of {_EXCLUDED} random points; "
            "suggest from ranges of which more is allowed."
        )
    if not isinstance(configuration, dict) or not configuration:
        raise TypeError(
            "search: space must return a dict of names and values, got "
            f"{configuration!r}; such as {{'peak_value': trial.suggest_float(...)}}."
        )
    return configuration, dict(trial.distributions)

"""A search in place of the sweep: Optuna chooses peak rates and warmup lengths."""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optuna
from optuna.storages import JournalStorage, journal

import optax_warmup as ow

from ..images import data


def search(
    train: Callable[..., Any],
    options: argparse.Namespace,
    progress: Callable[[int, int], object],
) -> optuna.trial.FrozenTrial:
    """Trains what Optuna chooses, each with all seeds, and returns the best trial.

    The study is kept in the folder: the same command goes on with it, and several of
    them, on machines that share the folder, work on it together.
    """

    def mean_loss(digits: data.Digits, **configuration: Any) -> jax.Array:
        def one(seed: jax.Array) -> jax.Array:
            curves = train(digits, seed=seed, **configuration)
            final: jax.Array = curves["validation_loss"][-1]
            return final

        return jax.vmap(one)(jnp.arange(options.seeds)).mean()

    def space(trial: optuna.Trial) -> dict[str, Any]:
        low, high = options.peaks
        return {
            "peak_value": trial.suggest_float("peak_value", low, high, log=True),
            "warmup_steps": trial.suggest_int("warmup_steps", 0, max(options.warmups)),
        }

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.folder.mkdir(parents=True, exist_ok=True)
    file = journal.JournalFileBackend(str(options.folder / "search.log"))
    study = optuna.create_study(
        study_name="sweep", storage=JournalStorage(file), load_if_exists=True
    )
    return ow.sweeps.search(
        study,
        mean_loss,
        space,
        trials=options.search,
        # As many trainings at a time as in a sweep.
        chunk=max(1, options.chunk // options.seeds),
        shared=(data.load(),),
        progress=progress,
    )

"""A worker of a search: python search_worker.py STORAGE MARKER [hang]

STORAGE is a path of a journal file, or the URL of a database. With "hang", the worker
stops for ever between two parts of its trainings, after it has made MARKER.
"""

import sys
import time
from pathlib import Path

import jax.numpy as jnp
import optuna

import optax_warmup as ow

TRIALS, CHUNK, RUNGS, GRACE = 24, 4, 4, 4.0


def storage_at(where):
    if "://" in where:
        return optuna.storages.RDBStorage(where)
    from optuna.storages import journal

    # A killed worker may leave the lock of the file behind: after 3 s it is broken.
    lock = journal.JournalFileSymlinkLock(where, grace_period=3)
    backend = journal.JournalFileBackend(where, lock_obj=lock)
    return optuna.storages.JournalStorage(backend)


def space(trial):
    return {"rate": trial.suggest_float("rate", 0.01, 0.9, log=True)}


def init(rate):
    return {"weight": jnp.float32(3.0) + 0 * rate}


def train(state, rate):
    weight = state["weight"] * (1 - rate)
    return {"weight": weight}, weight**2


class Hanging(optuna.pruners.SuccessiveHalvingPruner):
    marker: Path

    def prune(self, study, trial):
        if trial.last_step == 2:
            self.marker.touch()
            time.sleep(600)
        return super().prune(study, trial)


def main(where, marker, hang=None):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = Hanging if hang else optuna.pruners.SuccessiveHalvingPruner
    pruner = kind(min_resource=1, reduction_factor=2)
    pruner.marker = Path(marker)
    study = optuna.create_study(
        storage=storage_at(where),
        study_name="shared",
        sampler=optuna.samplers.RandomSampler(),
        pruner=pruner,
        load_if_exists=True,
    )
    best = ow.sweeps.search(
        study,
        train,
        space,
        trials=TRIALS,
        chunk=CHUNK,
        init=init,
        rungs=RUNGS,
        grace_period=GRACE,
        progress=lambda done, total: print("settled", done, flush=True),
    )
    print("best", best.value, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

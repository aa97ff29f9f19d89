"""Describes the environment of a run, so that it can be repeated elsewhere."""

import importlib.metadata
import platform
from typing import Any

import jax

from ..core import attention, loader
from ..core.data import Corpus
from ..core.optimizer import make_schedule
from .config import Config

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "optax_warmup",
    "orbax-checkpoint",
    "numpy",
)


def describe(config: Config, corpus: Corpus) -> dict[str, Any]:
    """Versions, devices, corpus and schedule, ready for JSON."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "devices": {
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "processes": jax.process_count(),
            "attention": attention.choose(config)[1],
            "loader": loader.choose(config.loader),
        },
        "corpus": {
            "name": corpus.name,
            "sha256": corpus.sha256,
            "bytes": corpus.bytes,
            "tokens": corpus.size,
            "tokenizer": corpus.tokenizer.fingerprint,
            "files": corpus.files,
        },
        "schedule": repr(make_schedule(config)),
    }


def versions() -> dict[str, str]:
    packages = {package: version(package) for package in PACKAGES}
    return {"python": platform.python_version()} | packages


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed: imported from the working directory"

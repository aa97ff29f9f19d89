"""What a reader of a run folder needs to repeat the run elsewhere."""

import importlib.metadata
import platform
from typing import Any

import jax

from .config import Config
from .data import Corpus
from .optimizer import make_schedule

PACKAGES = ("jax", "jaxlib", "flax", "optax", "optax_warmup", "numpy")


def describe(config: Config, corpus: Corpus) -> dict[str, Any]:
    """Versions, devices, corpus and schedule, ready for JSON."""
    return {
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "devices": {
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "processes": jax.process_count(),
        },
        "corpus": {
            "name": corpus.name,
            "sha256": corpus.sha256,
            "bytes": corpus.size,
            "files": corpus.files,
        },
        "schedule": repr(make_schedule(config)),
    }


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed: imported from the working directory"

"""What the tests of the transformer example share: a tiny model, and how to run it."""

import contextlib
import dataclasses
import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from rich.console import Console

from examples.transformer.run import train
from examples.transformer.run.config import Config

TINY = Config(
    length=16,
    width=16,
    layers=1,
    heads=2,
    mlp_width=32,
    batch_size=4,
    total_steps=12,
    warmup_steps=4,
    eval_every=5,
    eval_sequences=8,
)
# TINY, on a command line.
OPTIONS = [
    word
    for field in dataclasses.fields(Config)
    if (value := getattr(TINY, field.name)) != field.default
    for word in ("--" + field.name.replace("_", "-"), str(value))
]
TEXT = "the quick brown fox jumps over the lazy dog. " * 100
ROOT = Path(__file__).parents[2]
TRAIN = [sys.executable, "-m", "examples.transformer.train"]


def write_text(folder):
    path = folder / "text.txt"
    path.write_text(TEXT)
    return str(path)


def kept_programs(jit=jax.jit, *, scope="module", autouse=False):
    """A fixture: compiled programs are kept, and its value is the environment of other
    processes that find them.
    """

    @pytest.fixture(scope=scope, autouse=autouse)
    def programs(tmp_path_factory):
        with compile_once(tmp_path_factory, jit) as environment:
            # Flags as here, so that a process of its own has the same last bit.
            yield environment | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}

    return programs


def written_text(*, scope="module"):
    """A fixture: the path of TEXT."""

    @pytest.fixture(scope=scope)
    def text(tmp_path_factory):
        return write_text(tmp_path_factory.mktemp("text"))

    return text


def quiet():
    return Console(file=io.StringIO())


def run(config, folder, console=None, *, options=None, **changes):
    config = config.replace(run_dir=str(folder), **changes)
    return train.train(config, console=console or quiet(), **(options or {}))


def start(command, *, devices=1, **environment):
    """A process of its own, since the number of devices is fixed at start."""
    flags = f"--xla_force_host_platform_device_count={devices} "
    flags += "--xla_backend_optimization_level=0"  # compiles in half the time
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    with signals_heard():
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextlib.contextmanager
def signals_heard():
    """A test run in the background ignores these, and its children would too."""
    numbers = (signal.SIGINT, signal.SIGHUP)
    ignored = [n for n in numbers if signal.getsignal(n) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def finish(process):
    """Return code, output and errors."""
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def start_pair(program, *arguments, own=((), ()), **environment):
    """Two processes with one device each, who find each other on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = ["--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process"]
    return [
        start([*program, *arguments, *own[i], *where, str(i)], **environment)
        for i in (0, 1)
    ]


def assert_same_training(run, wanted, *, tolerance=0.0):
    """Losses, rates and the record, but for speed: bit for bit, or within a tolerance
    that is relative, and absolute below 1.
    """

    def same(x, y, name):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=name)

    for kind in ("updates", "evaluations"):
        ours, theirs = getattr(run, kind), getattr(wanted, kind)
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"tokens_per_second", "model_flops_utilisation"}:
            same(ours[name], theirs[name], name)


@contextlib.contextmanager
def compile_once(tmp_path_factory, jit=jax.jit):
    """Keeps compiled programs: most tests train the same one, in all these files. With
    `quickly` as jit, they are not those of another process, bit for bit.

    Yields the environment with which another process keeps and finds them, too.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the session's, not the worker's own
        folder = folder.parent
    folder = jax.config.jax_compilation_cache_dir or str(folder / "programs")
    settings = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}

    def configure(values):
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # it reads its settings once

    configure(settings)
    with mock.patch.object(jax, "jit", jit):
        yield {name.upper(): str(value) for name, value in settings.items()}
    configure(before)

"""The transformer example where POSIX ends: Windows, simulated by what it lacks."""

import importlib
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from examples.transformer.core import files, locks, stop
from examples.transformer.core.settings import InputError
from examples.transformer.run.run_folder import RunFolder


class Msvcrt(types.ModuleType):
    """msvcrt.locking on files, as far as the example uses it."""

    LK_NBLCK = 2

    def __init__(self):
        super().__init__("msvcrt")
        self.held = {}

    def locking(self, handle, mode, count):
        assert (mode, count) == (self.LK_NBLCK, 1)
        file = os.fstat(handle).st_ino
        holder = self.held.get(file)
        if holder not in (None, handle) and is_open(holder, file):
            raise OSError(13, "Permission denied")
        self.held[file] = handle


def is_open(handle, file):
    try:
        return os.fstat(handle).st_ino == file
    except OSError:
        return False


@pytest.fixture
def windows(monkeypatch):
    """No fcntl; no folder that can be opened, or renamed with an open file in it."""
    missing = {"fcntl": None, "msvcrt": Msvcrt()}
    for name, module in missing.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("SIGHUP", "SIGUSR1"):
        monkeypatch.delattr(signal, name, raising=False)
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    open_, rename = os.open, Path.rename

    def no_folders(path, *arguments, **options):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open_(path, *arguments, **options)

    def none_in_use(path, target):
        inside = [Path(x).resolve() for x in opened()]
        used = [x for x in inside if path.is_dir() and path.resolve() in x.parents]
        if used:
            raise PermissionError(13, f"{used[0]} is open", str(path))
        return rename(path, target)

    monkeypatch.setattr(os, "open", no_folders)
    monkeypatch.setattr(Path, "rename", none_in_use)
    modules = (locks, files, stop)
    before = [dict(vars(module)) for module in modules]
    for module in modules:
        importlib.reload(module)
    yield
    monkeypatch.undo()
    # Not by loading them once more: others hold their classes, such as an exception.
    for module, names in zip(modules, before, strict=True):
        vars(module).clear()
        vars(module).update(names)


def opened():
    for link in Path("/proc/self/fd").iterdir():
        try:
            yield os.readlink(link)
        except OSError:
            continue


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="the simulation reads Linux's /proc"
)


@needs_proc
def test_a_run_folder_without_posix(windows, tmp_path):
    """It is made, locked, written, finished, reopened and locked again."""
    assert locks.fcntl is None
    with RunFolder(tmp_path / "run") as folder:
        folder.write("config.json", {"layers": 2})
        folder.append_metrics({"step": 0, "loss": 1.0})
        with pytest.raises(InputError, match="a run is still going in"):
            RunFolder(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "config.json").is_file()
    assert {x.name for x in tmp_path.iterdir()} == {"run"}
    with RunFolder(tmp_path / "run", resume=True) as folder:
        assert folder.reopened and folder.read("config.json") == {"layers": 2}
    with RunFolder(tmp_path / "run", overwrite=True):
        pass
    assert not (tmp_path / "run" / "config.json").exists()


@needs_proc
def test_signals_that_windows_lacks_are_not_asked_for(windows):
    assert signal.SIGINT in stop.SIGNALS and len(stop.SIGNALS) == 2
    before = signal.getsignal(signal.SIGINT)
    with stop.StopSignal() as stopped:
        assert not stopped()
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.slow
def test_every_module_of_the_example_loads_without_posix():
    """In a process of its own, since modules stay loaded."""
    root = Path(__file__).parents[1]
    code = (
        "import importlib, pkgutil, sys\n"
        "for name in ('fcntl', 'resource', 'pwd', 'termios', 'grp'):\n"
        "    sys.modules[name] = None\n"
        "import examples.transformer as room\n"
        "for each in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "    if not each.name.endswith('__main__'):\n"
        "        print(importlib.import_module(each.name).__name__)\n"
        "from examples.transformer.core import locks\n"
        "assert locks.fcntl is None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert {"core.locks", "prepare.prepare", "run.train"} <= {
        name.removeprefix("examples.transformer.") for name in loaded
    }

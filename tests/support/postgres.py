"""A real PostgreSQL server for a test, in a folder of its own."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

USUAL = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
)


def binaries():
    """The folder of initdb and postgres, or None."""
    found = []
    if which := shutil.which("initdb"):
        found.append(Path(which).resolve().parent)
    if config := shutil.which("pg_config"):
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True)
        found.append(Path(asked.stdout.strip()))
    found += [Path(path) for usual in USUAL for path in sorted(glob.glob(usual))]
    for folder in found:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    return None


def another_user():
    """Arguments of subprocess that leave root behind, whom initdb refuses."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip(
        "initdb refuses root, and there is no user postgres or nobody to run it as"
    )


class Server:
    def __init__(self):
        self.bin = binaries()
        if self.bin is None:
            pytest.skip("PostgreSQL is not installed, or its initdb is not on PATH")
        self.user = another_user()
        # Not in pytest's folder, which another user cannot enter.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if self.user:
            os.chown(self.folder, self.user["user"], self.user["group"])
        self.url = f"postgresql+psycopg://search@/postgres?host={self.folder}"
        self.process = None
        try:
            made = self._run("initdb", "-A", "trust", "-U", "search", "--no-sync")
            assert made.returncode == 0, made.stdout + made.stderr
            self.start()
        except BaseException:
            self.close()
            raise

    def _run(self, name, *arguments):
        command = [self.bin / name, "-D", self.folder / "data", *arguments]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, **self.user
        )

    def start(self):
        settings = ("listen_addresses=", f"unix_socket_directories={self.folder}")
        options = [x for each in (*settings, "fsync=off") for x in ("-c", each)]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.folder / "data", *options],
                cwd=self.folder, stdout=log, stderr=log, **self.user,
            )  # fmt: skip
        ready = [self.bin / "pg_isready", "-q", "-h", self.folder]
        until = time.monotonic() + 30
        while subprocess.run(ready).returncode:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.1)

    def stop(self):
        self.process.send_signal(signal.SIGINT)  # ends connections, too
        self.process.wait(30)

    def close(self):
        if self.process and self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

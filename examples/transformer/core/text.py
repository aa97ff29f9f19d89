"""Text files, checked: UTF-8, in the same order on every machine."""

import sysconfig
from pathlib import Path

from .settings import InputError

# Tests and installed packages differ between machines far more than the library does,
# and would triple the text.
NOT_LIBRARY = {
    "test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__",
}  # fmt: skip


STANDARD_LIBRARY = "the Python standard library"


def list_files(data: str | None) -> tuple[str, list[Path]]:
    """The name of the corpus, and its files in the same order on every machine."""
    if data is None:
        root = Path(sysconfig.get_path("stdlib"))
        paths = (
            p for p in root.rglob("*.py") if not NOT_LIBRARY & set(relative(p, root))
        )
        return STANDARD_LIBRARY, sorted(paths, key=lambda p: relative(p, root))
    root = Path(data).expanduser()
    if root.is_file():
        return str(data), [root]
    if root.is_dir():
        paths = (path for path in root.rglob("*") if path.is_file())
        return str(data), sorted(paths, key=lambda p: relative(p, root))
    raise InputError(
        f"data={data!r} does not exist (looked in {Path.cwd()}). "
        f"Name a text file or a folder of text files, or leave it out."
    )


def relative(path: Path, root: Path) -> tuple[str, ...]:
    return path.relative_to(root).parts


def read_text(path: Path) -> bytes:
    """The bytes of a text file. A file that is not text is an error, never skipped."""
    try:
        text = path.read_bytes()
        text.decode("utf-8")
    except OSError as error:
        raise InputError(f"data: {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"data: {path} is not UTF-8 text (byte {error.start:,}: {error.reason}). "
            f"Convert it, or take it out of the folder."
        ) from None
    if b"\0" in text:
        raise InputError(
            f"data: {path} is not text: byte {text.index(0):,} is NUL. "
            f"Take it out of the folder."
        )
    return text

"""The checkpoints of a run."""

from pathlib import Path

from ..core import checkpoint
from .contents import CHECKPOINTS


class Checkpoints(checkpoint.Checkpoints):
    """Those in the folder of a run."""

    def __init__(self, run: str | Path, keep: int = 1, *, read_only: bool = False):
        super().__init__(Path(run) / CHECKPOINTS, keep, read_only=read_only)

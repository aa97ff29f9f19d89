"""Writes metrics for TensorBoard: `tensorboard --logdir runs`."""

from pathlib import Path

from ..core.settings import InputError


def require() -> None:
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise InputError(
            "tensorboard=True needs tensorboardX: pip install tensorboardX, or leave "
            "out --tensorboard: metrics.jsonl has the same numbers."
        ) from None


class TensorBoard:
    """Writes each number of a row under its name, at the row's step."""

    def __init__(self, folder: Path, start: int):
        from tensorboardX import SummaryWriter  # optional

        # Drops what an interrupted run wrote after its last checkpoint.
        self.writer = SummaryWriter(str(folder), purge_step=start or None)

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *error: object) -> None:
        self.writer.close()

    def __call__(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(row["step"]))

"""The rows of metrics.jsonl for TensorBoard: `tensorboard --logdir runs`."""

from pathlib import Path

from .option import InputError


def require() -> None:
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise InputError(
            "tensorboard=True needs tensorboardX: pip install tensorboardX, or leave "
            "out --tensorboard. metrics.jsonl has the same numbers."
        ) from None


class TensorBoard:
    """Takes rows, and writes each number under its name at the row's step."""

    def __init__(self, folder: Path, start: int):
        from tensorboardX import SummaryWriter  # optional

        # What an interrupted run wrote after its last checkpoint is written again.
        self.writer = SummaryWriter(str(folder), purge_step=start or None)

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *error) -> None:
        self.writer.close()

    def __call__(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(row["step"]))

"""The recorder of a run, which tells the training speed in tokens and FLOPs."""

from collections.abc import Sequence

from ..core import recorder
from ..core.recorder import Row as Row, Sink as Sink
from . import throughput
from .config import Config


class Recorder(recorder.Recorder):
    """One of a run with these settings."""

    def __init__(self, config: Config, sinks: Sequence[Sink]):
        def speed(updates_per_second: float) -> Row:
            tokens = updates_per_second * config.batch_size * config.length
            share = throughput.utilisation(config, tokens)
            used = {} if share is None else {"model_flops_utilisation": share}
            return {"tokens_per_second": round(tokens)} | used

        super().__init__(sinks, config.total_steps, config.log_every, speed)

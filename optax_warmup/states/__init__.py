"""The states that the transforms keep, for type annotations and for `isinstance`."""

from optax_warmup._record.record_moments import RecordMomentsState as RecordMomentsState
from optax_warmup._transforms.automatic_warmup import (
    AutomaticWarmupState as AutomaticWarmupState,
)
from optax_warmup._transforms.reduce_on_plateau import (
    ReduceOnPlateauState as ReduceOnPlateauState,
)
from optax_warmup._transforms.restart import (
    RestartIfState as RestartIfState,
    RestartOnSpikeState as RestartOnSpikeState,
)
from optax_warmup._transforms.scale_by_learning_rate import (
    ScaleByLearningRateState as ScaleByLearningRateState,
)
from optax_warmup._transforms.scale_by_warmup import (
    ScaleByWarmupState as ScaleByWarmupState,
)
from optax_warmup._transforms.second_moment import (
    ClipUpdateRmsState as ClipUpdateRmsState,
)
from optax_warmup._transforms.skip_nonfinite import (
    SkipNonfiniteState as SkipNonfiniteState,
)

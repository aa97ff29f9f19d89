"""The states of the transforms, for type annotations and for `isinstance`.

A state is a NamedTuple. A state of your own can take part in what is reported by
properties: `update_scale`, an array, is what the last update was multiplied by, and
`learning_rate` multiplies by it (or starts from it, where another property,
`is_learning_rate`, is True); `update_scales` is a dictionary of these by the names of
groups; `schedule_count` is how many updates its schedule has
counted; `gates_updates` is True where what it wraps does not see every update;
`recorded` is a dictionary of scalars for a diagnostic record.
"""

from optax_warmup._record.record_moments import RecordMomentsState as RecordMomentsState
from optax_warmup._transforms.automatic_warmup import (
    AutomaticWarmupState as AutomaticWarmupState,
)
from optax_warmup._transforms.clip_update_norm import (
    ClipUpdateNormState as ClipUpdateNormState,
)
from optax_warmup._transforms.clip_update_rms import (
    ClipUpdateRmsState as ClipUpdateRmsState,
)
from optax_warmup._transforms.decay_weights import (
    DecayWeightsState as DecayWeightsState,
)
from optax_warmup._transforms.reduce_on_plateau import (
    ReduceOnPlateauState as ReduceOnPlateauState,
)
from optax_warmup._transforms.restart_if import RestartIfState as RestartIfState
from optax_warmup._transforms.restart_on_spike import (
    RestartOnSpikeState as RestartOnSpikeState,
)
from optax_warmup._transforms.scale_by_learning_rate import (
    ScaleByLearningRateState as ScaleByLearningRateState,
)
from optax_warmup._transforms.scale_by_warmup import (
    ScaleByWarmupState as ScaleByWarmupState,
)
from optax_warmup._transforms.skip_nonfinite import (
    SkipNonfiniteState as SkipNonfiniteState,
)
from optax_warmup._transforms.skip_spikes import SkipSpikesState as SkipSpikesState
from optax_warmup.averages._average_latest import (
    AverageLatestState as AverageLatestState,
)
from optax_warmup.averages._average_params import (
    AverageParamsState as AverageParamsState,
)
from optax_warmup.groups._scale_by_rules import (
    ScaleByRulesState as ScaleByRulesState,
)

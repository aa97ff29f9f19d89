"""Learning-rate warmup for JAX and Optax: say it, apply it, see inside Adam."""

from optax_warmup import shapes as shapes
from optax_warmup._record.record_moments import RecordMomentsState as RecordMomentsState
from optax_warmup._record.record_moments import record_moments as record_moments
from optax_warmup._report.history import MomentHistory as MomentHistory
from optax_warmup._report.history import load_moments as load_moments
from optax_warmup._report.history import read_moments as read_moments
from optax_warmup._schedules.compose import cooldown as cooldown
from optax_warmup._schedules.compose import join as join
from optax_warmup._schedules.compose import multiply as multiply
from optax_warmup._schedules.compose import shift as shift
from optax_warmup._schedules.compose import warmup as warmup
from optax_warmup._schedules.presets import noam as noam
from optax_warmup._schedules.presets import warmup_constant as warmup_constant
from optax_warmup._schedules.presets import warmup_cosine as warmup_cosine
from optax_warmup._schedules.presets import warmup_inverse_sqrt as warmup_inverse_sqrt
from optax_warmup._schedules.presets import warmup_linear as warmup_linear
from optax_warmup._schedules.presets import wsd as wsd
from optax_warmup._schedules.ramps import inverse_power as inverse_power
from optax_warmup._schedules.ramps import piecewise as piecewise
from optax_warmup._schedules.ramps import transition as transition
from optax_warmup._schedules.schedule import Schedule as Schedule
from optax_warmup._schedules.schedule import constant as constant
from optax_warmup._state import learning_rate as learning_rate
from optax_warmup._state import learning_rates as learning_rates
from optax_warmup._transforms.learning_rate import (
    ScaleByLearningRateState as ScaleByLearningRateState,
)
from optax_warmup._transforms.learning_rate import (
    scale_by_learning_rate as scale_by_learning_rate,
)

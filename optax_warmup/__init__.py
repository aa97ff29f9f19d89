"""Learning-rate warmup for JAX and Optax: say it, apply it, see inside Adam."""

from optax_warmup import shapes as shapes
from optax_warmup._config import fingerprint as fingerprint
from optax_warmup._config import from_config as from_config
from optax_warmup._config import to_config as to_config
from optax_warmup._curvature.critical import CriticalRate as CriticalRate
from optax_warmup._curvature.critical import (
    critical_learning_rate as critical_learning_rate,
)
from optax_warmup._curvature.critical import stability_threshold as stability_threshold
from optax_warmup._curvature.sharpness import Sharpness as Sharpness
from optax_warmup._curvature.sharpness import sharpness as sharpness
from optax_warmup._look.describe import Description as Description
from optax_warmup._look.describe import describe as describe
from optax_warmup._look.plot import plot as plot
from optax_warmup._look.simulate import simulate as simulate
from optax_warmup._precompile import Precompiled as Precompiled
from optax_warmup._precompile import precompile as precompile
from optax_warmup._record.record_moments import RecordMomentsState as RecordMomentsState
from optax_warmup._record.record_moments import record_moments as record_moments
from optax_warmup._report.advice import advise as advise
from optax_warmup._report.evidence import Advice as Advice
from optax_warmup._report.figure import plot_moments as plot_moments
from optax_warmup._report.history import MomentHistory as MomentHistory
from optax_warmup._report.history import load_moments as load_moments
from optax_warmup._report.page import write_report as write_report
from optax_warmup._report.read import read_moments as read_moments
from optax_warmup._report.scalars import to_scalars as to_scalars
from optax_warmup._schedules.batches import accumulation_steps as accumulation_steps
from optax_warmup._schedules.batches import growing_batch as growing_batch
from optax_warmup._schedules.branch import branch as branch
from optax_warmup._schedules.branch import resume as resume
from optax_warmup._schedules.branch import rewarm as rewarm
from optax_warmup._schedules.compose import cooldown as cooldown
from optax_warmup._schedules.compose import join as join
from optax_warmup._schedules.compose import multiply as multiply
from optax_warmup._schedules.compose import shift as shift
from optax_warmup._schedules.compose import warmup as warmup
from optax_warmup._schedules.cycles import cycle as cycle
from optax_warmup._schedules.decays import exponential_decay as exponential_decay
from optax_warmup._schedules.decays import multistep as multistep
from optax_warmup._schedules.decays import step_decay as step_decay
from optax_warmup._schedules.drop_in import (
    warmup_constant_schedule as warmup_constant_schedule,
)
from optax_warmup._schedules.drop_in import (
    warmup_cosine_decay_schedule as warmup_cosine_decay_schedule,
)
from optax_warmup._schedules.drop_in import (
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
)
from optax_warmup._schedules.durations import steps_from as steps_from
from optax_warmup._schedules.extend import extend as extend
from optax_warmup._schedules.factors import exponential_warmup as exponential_warmup
from optax_warmup._schedules.factors import radam_warmup as radam_warmup
from optax_warmup._schedules.factors import rectification as rectification
from optax_warmup._schedules.factors import (
    untuned_exponential_warmup as untuned_exponential_warmup,
)
from optax_warmup._schedules.factors import (
    untuned_linear_warmup as untuned_linear_warmup,
)
from optax_warmup._schedules.hugging_face import get_scheduler as get_scheduler
from optax_warmup._schedules.modify import add as add
from optax_warmup._schedules.modify import clip as clip
from optax_warmup._schedules.modify import compress as compress
from optax_warmup._schedules.modify import staircase as staircase
from optax_warmup._schedules.noise import noise as noise
from optax_warmup._schedules.presets import noam as noam
from optax_warmup._schedules.presets import warmup_constant as warmup_constant
from optax_warmup._schedules.presets import warmup_cosine as warmup_cosine
from optax_warmup._schedules.presets import warmup_inverse_sqrt as warmup_inverse_sqrt
from optax_warmup._schedules.presets import warmup_linear as warmup_linear
from optax_warmup._schedules.presets import wsd as wsd
from optax_warmup._schedules.presets_cycles import one_cycle as one_cycle
from optax_warmup._schedules.presets_cycles import triangular as triangular
from optax_warmup._schedules.presets_cycles import (
    warmup_cosine_restarts as warmup_cosine_restarts,
)
from optax_warmup._schedules.presets_stages import infinite as infinite
from optax_warmup._schedules.presets_stages import lr_range_test as lr_range_test
from optax_warmup._schedules.presets_stages import power_law as power_law
from optax_warmup._schedules.presets_stages import spike as spike
from optax_warmup._schedules.presets_stages import tri_stage as tri_stage
from optax_warmup._schedules.presets_stages import (
    warmup_exponential as warmup_exponential,
)
from optax_warmup._schedules.ramps import inverse_power as inverse_power
from optax_warmup._schedules.ramps import piecewise as piecewise
from optax_warmup._schedules.ramps import transition as transition
from optax_warmup._schedules.rounded import rounded as rounded
from optax_warmup._schedules.schedule import Schedule as Schedule
from optax_warmup._schedules.schedule import constant as constant
from optax_warmup._schedules.stretch import stretch as stretch
from optax_warmup._state import learning_rate as learning_rate
from optax_warmup._state import learning_rates as learning_rates
from optax_warmup._sweep.points import grid as grid
from optax_warmup._sweep.points import log_space as log_space
from optax_warmup._sweep.points import random_search as random_search
from optax_warmup._sweep.rank import Ranked as Ranked
from optax_warmup._sweep.rank import rank as rank
from optax_warmup._sweep.sweep import sweep as sweep
from optax_warmup._transforms.automatic import (
    AutomaticWarmupState as AutomaticWarmupState,
)
from optax_warmup._transforms.automatic import automatic_warmup as automatic_warmup
from optax_warmup._transforms.dampen import DampenState as DampenState
from optax_warmup._transforms.dampen import dampen as dampen
from optax_warmup._transforms.learning_rate import (
    ScaleByLearningRateState as ScaleByLearningRateState,
)
from optax_warmup._transforms.learning_rate import (
    scale_by_learning_rate as scale_by_learning_rate,
)
from optax_warmup._transforms.outliers import clip_outliers as clip_outliers
from optax_warmup._transforms.plateau import (
    ReduceOnPlateauState as ReduceOnPlateauState,
)
from optax_warmup._transforms.plateau import reduce_on_plateau as reduce_on_plateau
from optax_warmup._transforms.restart import RestartIfState as RestartIfState
from optax_warmup._transforms.restart import RestartOnSpikeState as RestartOnSpikeState
from optax_warmup._transforms.restart import restart_if as restart_if
from optax_warmup._transforms.restart import restart_on_spike as restart_on_spike
from optax_warmup._transforms.second_moment import (
    ClipBySecondMomentState as ClipBySecondMomentState,
)
from optax_warmup._transforms.second_moment import (
    clip_by_second_moment as clip_by_second_moment,
)
from optax_warmup._transforms.second_moment import (
    seed_second_moment as seed_second_moment,
)
from optax_warmup._transforms.skip import SkipNonfiniteState as SkipNonfiniteState
from optax_warmup._transforms.skip import skip_nonfinite as skip_nonfinite

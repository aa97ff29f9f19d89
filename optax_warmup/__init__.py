"""Learning-rate warmup for JAX and Optax: schedules, transforms, diagnostics."""

import typing as _typing

from optax_warmup import (
    _elsewhere,
    averages as averages,
    compat as compat,
    curvature as curvature,
    diagnostics as diagnostics,
    factors as factors,
    finder as finder,
    groups as groups,
    guards as guards,
    loss_laws as loss_laws,
    runs as runs,
    shapes as shapes,
    states as states,
    sweeps as sweeps,
    values as values,
)
from optax_warmup._adopt.adopt import adopt as adopt
from optax_warmup._config import (
    fingerprint as fingerprint,
    from_config as from_config,
    to_config as to_config,
)
from optax_warmup._inspect import notebook as _notebook  # noqa: F401
from optax_warmup._inspect.describe import (
    Description as Description,
    describe as describe,
)
from optax_warmup._inspect.plot import plot as plot
from optax_warmup._inspect.simulate import simulate as simulate
from optax_warmup._numerics import bit_exact as bit_exact
from optax_warmup._precompile import (
    Precompiled as Precompiled,
    precompile as precompile,
)
from optax_warmup._presets.cycles import (
    one_cycle as one_cycle,
    triangular as triangular,
    warmup_cosine_restarts as warmup_cosine_restarts,
)
from optax_warmup._presets.inverse_sqrt import (
    noam as noam,
    power_law as power_law,
    warmup_inverse_sqrt as warmup_inverse_sqrt,
)
from optax_warmup._presets.linear_and_cosine import (
    warmup_constant as warmup_constant,
    warmup_cosine as warmup_cosine,
    warmup_exponential as warmup_exponential,
    warmup_linear as warmup_linear,
)
from optax_warmup._presets.seesaw import (
    Seesaw as Seesaw,
    seesaw as seesaw,
)
from optax_warmup._presets.stages import (
    infinite as infinite,
    lr_range_test as lr_range_test,
    spike as spike,
    tri_stage as tri_stage,
    wsd as wsd,
)
from optax_warmup._record.record_moments import record_moments as record_moments
from optax_warmup._schedules.batch_size import (
    accumulation_steps as accumulation_steps,
    growing_batch as growing_batch,
)
from optax_warmup._schedules.clip import clip as clip
from optax_warmup._schedules.combine import (
    add as add,
    join as join,
    multiply as multiply,
)
from optax_warmup._schedules.cycle import cycle as cycle
from optax_warmup._schedules.decays import (
    exponential_decay as exponential_decay,
    inverse_power as inverse_power,
    multistep as multistep,
    step_decay as step_decay,
)
from optax_warmup._schedules.delay import (
    advance as advance,
    delay as delay,
)
from optax_warmup._schedules.durations import steps_from as steps_from
from optax_warmup._schedules.jitter import jitter as jitter
from optax_warmup._schedules.piecewise import piecewise as piecewise
from optax_warmup._schedules.retime import retime as retime
from optax_warmup._schedules.round_to import round_to as round_to
from optax_warmup._schedules.schedule import (
    Schedule as Schedule,
    ScheduleLike as ScheduleLike,
    constant as constant,
)
from optax_warmup._schedules.staircase import staircase as staircase
from optax_warmup._schedules.stretch import stretch as stretch
from optax_warmup._schedules.switch import (
    rewarm as rewarm,
    switch as switch,
)
from optax_warmup._schedules.transition import transition as transition
from optax_warmup._schedules.warmup import (
    cooldown as cooldown,
    warmup as warmup,
)
from optax_warmup._state.rate import (
    learning_rate as learning_rate,
    learning_rates as learning_rates,
)
from optax_warmup._transforms.automatic_warmup import (
    automatic_warmup as automatic_warmup,
)
from optax_warmup._transforms.clip_outliers import clip_outliers as clip_outliers
from optax_warmup._transforms.clip_update_rms import clip_update_rms as clip_update_rms
from optax_warmup._transforms.decay_weights import decay_weights as decay_weights
from optax_warmup._transforms.init_second_moment_from_gradient import (
    init_second_moment_from_gradient as init_second_moment_from_gradient,
)
from optax_warmup._transforms.reduce_on_plateau import (
    reduce_on_plateau as reduce_on_plateau,
)
from optax_warmup._transforms.restart_if import restart_if as restart_if
from optax_warmup._transforms.restart_on_spike import (
    restart_on_spike as restart_on_spike,
)
from optax_warmup._transforms.scale_by_learning_rate import (
    scale_by_learning_rate as scale_by_learning_rate,
)
from optax_warmup._transforms.scale_by_warmup import (
    scale_by_warmup as scale_by_warmup,
)
from optax_warmup._transforms.skip_nonfinite import skip_nonfinite as skip_nonfinite
from optax_warmup.diagnostics._read_moments import read_moments as read_moments

__version__ = "0.1.0"

if not _typing.TYPE_CHECKING:  # a type checker knows the names there are

    def __getattr__(name: str) -> object:
        raise _elsewhere.missing(__name__, name)

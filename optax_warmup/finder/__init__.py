"""The learning-rate finder: one short run at growing rates suggests a peak rate."""

from optax_warmup.finder._curve import (
    RateCurve as RateCurve,
    load_curve as load_curve,
)
from optax_warmup.finder._find import find_rate as find_rate
from optax_warmup.finder._plot import plot_curve as plot_curve
from optax_warmup.finder._suggest import (
    Suggestion as Suggestion,
    Suggestions as Suggestions,
    suggest as suggest,
)

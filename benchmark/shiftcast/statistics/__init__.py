"""Intervals, line fits and ranks over accuracies: pure numpy/scipy, no predictions and no files."""

from shiftcast.statistics.intervals import normal_quantile, wilson
from shiftcast.statistics.lines import (
    Line,
    effective_robustness,
    fit_line,
    inverse_probit,
    kendall_tau,
    probit,
)

__all__ = [
    "Line",
    "effective_robustness",
    "fit_line",
    "inverse_probit",
    "kendall_tau",
    "normal_quantile",
    "probit",
    "wilson",
]

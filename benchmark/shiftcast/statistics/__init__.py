"""Intervals, line fits and ranks over accuracies: pure numpy/scipy, no predictions and no files."""

from shiftcast.statistics.conformal import (
    conformal_interval,
    conformal_reach,
    probit_residuals,
    supported_level,
)
from shiftcast.statistics.intervals import normal_quantile, wilson
from shiftcast.statistics.lines import (
    Line,
    effective_robustness,
    fit_line,
    inverse_probit,
    kendall_tau,
    probit,
    ranks,
    spearman,
)
from shiftcast.statistics.prior import prior_by_em
from shiftcast.statistics.resampling import (
    DRAWS,
    draw_weights,
    drawn_sums,
    effective_count,
    group_sums,
    image_groups,
    percentile_interval,
)
from shiftcast.statistics.separation import Ranks, bootstrap_p, holm, rank_intervals
from shiftcast.statistics.spread import SeedSpread, seed_spread, signed_root

__all__ = [
    "DRAWS",
    "Line",
    "Ranks",
    "SeedSpread",
    "bootstrap_p",
    "conformal_interval",
    "conformal_reach",
    "draw_weights",
    "drawn_sums",
    "effective_count",
    "effective_robustness",
    "fit_line",
    "group_sums",
    "holm",
    "image_groups",
    "inverse_probit",
    "kendall_tau",
    "normal_quantile",
    "percentile_interval",
    "prior_by_em",
    "probit",
    "probit_residuals",
    "rank_intervals",
    "ranks",
    "seed_spread",
    "signed_root",
    "spearman",
    "supported_level",
    "wilson",
]

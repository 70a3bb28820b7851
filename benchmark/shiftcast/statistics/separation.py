"""Which differences between several figures are more than noise: rank intervals and Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.statistics.lines import pairs
from shiftcast.util.types import Floats


@dataclass(frozen=True, eq=False)
class Ranks:
    """What simultaneous pairwise differences say about the order of J figures, small ones first.

    Parameters
    ----------
    low, high
        Smallest and largest rank of each, int64 (J,): all of them hold together at the level.
    below
        Whether the figure of the row is surely smaller than that of the column, bool (J, J).
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    below: NDArray[np.bool_]

    def tied_with_first(self) -> NDArray[np.bool_]:
        """Whether each is not surely larger than any other (J,): the candidates for the first place."""
        first: NDArray[np.bool_] = ~np.any(self.below, axis=0)
        return first


def rank_intervals(points: ArrayLike, draws: ArrayLike, level: float = 0.95) -> Ranks:
    """Return rank intervals from simultaneous pairwise differences (Mogstad et al. 2024, section 3).

    The largest studentised difference of all pairs decides: with |d*_jk - mean d*_jk| / sd_jk in each
    draw, c is the `level` quantile of its maximum over pairs, and j is surely below k where
    points_k - points_j > c sd_jk. Then rank_j >= 1 + number surely below it, and
    rank_j <= J - number surely above it.

    Parameters
    ----------
    points
        Observed figures (J,).
    draws
        The same figures in D paired bootstrap draws (D, J); draws with NaN are left out.
    level
        Probability that all intervals hold.

    Raises
    ------
    InvalidInputError
        If shapes do not agree, or fewer than a hundred draws are finite.
    """
    values, drawn = np.asarray(points, dtype=float), np.asarray(draws, dtype=float)
    if values.ndim != 1 or drawn.ndim != 2 or drawn.shape[1:] != values.shape:
        raise InvalidInputError(
            f"rank_intervals: expected points (J,) and draws (D, J), got {values.shape} and {drawn.shape}"
        )
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    if len(drawn) < 100:
        raise InvalidInputError(f"rank_intervals: expected 100 finite draws or more, got {len(drawn)}")
    count = len(values)
    first, second = pairs(count)
    if not len(first):
        return Ranks(np.ones(count, np.int64), np.ones(count, np.int64), np.zeros((count, count), bool))
    differences: Floats = drawn[:, second] - drawn[:, first]
    spread = differences.std(axis=0, ddof=1)
    away = np.abs(differences - differences.mean(axis=0))
    scaled = np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)
    critical = float(np.quantile(scaled.max(axis=1), level))
    gap = values[second] - values[first]
    below = np.zeros((count, count), dtype=bool)
    below[first, second] = gap > critical * spread
    below[second, first] = -gap > critical * spread
    below &= ~np.eye(count, dtype=bool)
    low = 1 + below.sum(axis=0)
    high = count - below.sum(axis=1)
    return Ranks(low.astype(np.int64), high.astype(np.int64), below)


def bootstrap_p(difference: float, draws: ArrayLike) -> float:
    """Return the two-sided p-value of a difference from its bootstrap draws (D,), moved to a mean of zero.

    (1 + number of draws at least as far from their mean as the difference is from 0) / (D + 1).
    """
    drawn = np.asarray(draws, dtype=float)
    drawn = drawn[np.isfinite(drawn)]
    further = np.abs(drawn - drawn.mean()) >= abs(difference) - 1e-12 if len(drawn) else np.zeros(0)
    return float((1 + further.sum()) / (len(drawn) + 1))


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values (m,) adjusted for m tests by Holm (1979), in the order that they came."""
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = (len(values) - np.arange(len(values))) * values[order]
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted

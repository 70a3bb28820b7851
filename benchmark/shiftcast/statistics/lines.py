"""Lines on probit axes, rank correlation and effective robustness.

Sums run over sorted values, so the order in which models come changes no bit of a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from shiftcast.errors import InvalidInputError
from shiftcast.util.types import Floats, Integers


@dataclass(frozen=True)
class Line:
    """A fitted line y = slope x + intercept with its R2 (0 where y does not vary)."""

    slope: float
    intercept: float
    r2: float

    def __call__(self, x: ArrayLike) -> Floats:
        """Return the line's value at x, in x's shape."""
        return self.slope * np.asarray(x, dtype=np.float64) + self.intercept


def probit(share: ArrayLike, n: ArrayLike) -> Floats:
    """Return Phi^-1(share), the share of n images first clipped to [0.5/n, 1 - 0.5/n].

    The clip keeps shares of exactly 0 and 1 finite. `n` is one number or one for each share.

    Raises
    ------
    InvalidInputError
        If n < 1, or a share is not a number in [0, 1].
    """
    shares, images = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if not bool(np.all(images >= 1)):
        raise InvalidInputError(f"probit: expected n >= 1 images, got {np.min(images):g}")
    if not bool(np.all((shares >= 0) & (shares <= 1))):
        raise InvalidInputError("probit: expected shares in [0, 1]")
    result: Floats = ndtri(np.clip(shares, 0.5 / images, 1 - 0.5 / images))
    return result


def inverse_probit(value: ArrayLike) -> Floats:
    """Return Phi(value), the share that belongs to a probit."""
    result: Floats = ndtr(np.asarray(value, dtype=np.float64))
    return result


def fit_line(x: ArrayLike, y: ArrayLike) -> Line:
    """Fit y = slope x + intercept by ordinary least squares.

    Parameters
    ----------
    x, y
        Arrays (N,) of one length, N >= 2, finite; x must vary.

    Raises
    ------
    InvalidInputError
        If fewer than two points come, a value is not finite, or all x are equal.
    """
    abscissa, ordinate = _pair("fit_line", x, y)
    n = len(abscissa)
    centre, level = _sum(abscissa) / n, _sum(ordinate) / n
    dx, dy = abscissa - centre, ordinate - level
    sxx, sxy, syy = _sum(dx * dx), _sum(dx * dy), _sum(dy * dy)
    if abscissa.min() == abscissa.max():
        raise InvalidInputError(f"fit_line: all {n} x values equal {abscissa[0]:.6g}; a line needs x to vary")
    slope = sxy / sxx
    intercept = level - slope * centre
    r2 = 0.0 if ordinate.min() == ordinate.max() else sxy**2 / (sxx * syy)
    return Line(slope, intercept, min(r2, 1.0))


def _sum(values: Floats) -> float:
    return float(np.sort(values).sum())


@lru_cache(maxsize=16)
def pairs(count: int) -> tuple[Integers, Integers]:
    """Return the places of both parts of each pair of `count` things, in the order of `numpy.triu_indices`.

    Returns
    -------
    tuple
        Two arrays (count (count - 1) / 2,), which are kept and must not be written to.
    """
    first, second = np.triu_indices(count, k=1)
    return first, second


def kendall_tau(x: ArrayLike, y: ArrayLike) -> float:
    """Return Kendall's tau-b, rank correlation with a correction for ties, in [-1, 1].

    Compares all pairs at once, so it is meant for tens to a few thousand models.

    Parameters
    ----------
    x, y
        Arrays (N,) of one length, N >= 2, finite.

    Returns
    -------
    float
        NaN where x or y holds one value only: no rank, no correlation.
    """
    first, second = _pair("kendall_tau", x, y)
    one, other = pairs(len(first))
    order_x = np.sign(first[one] - first[other])
    order_y = np.sign(second[one] - second[other])
    untied = float(np.count_nonzero(order_x)) * float(np.count_nonzero(order_y))
    return float((order_x * order_y).sum()) / sqrt(untied) if untied else float("nan")


def ranks(values: ArrayLike) -> Floats:
    """Return the rank of each value, from 1, tied values at their mean rank: float64 (N,).

    As `scipy.stats.rankdata`, whose module takes half a second to import.
    """
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    middle: Floats = np.cumsum(counts) - (counts - 1) / 2
    return middle[place]


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Return Spearman's rank correlation, tied values at their mean rank, in [-1, 1].

    Parameters
    ----------
    x, y
        Arrays (N,) of one length, N >= 2, finite.

    Returns
    -------
    float
        NaN where x or y holds one value only.
    """
    first, second = (ranks(values) for values in _pair("spearman", x, y))
    first, second = first - first.mean(), second - second.mean()
    scale = sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale else float("nan")


def effective_robustness(
    id_accuracy: ArrayLike,
    ood_accuracy: ArrayLike,
    *,
    architectures: Sequence[str],
    plain: Sequence[bool],
    n_id: int,
    n_ood: int,
) -> Floats:
    """Return how far each run lies above the accuracy that its ID accuracy lets one expect.

    Actual accuracy minus Phi(line(probit a_ID)), the line fitted on probit axes to the plain
    runs of every *other* architecture (after Taori et al. 2020).

    Parameters
    ----------
    id_accuracy, ood_accuracy
        Accuracies (R,) of the runs on source and target, in [0, 1].
    architectures
        Architecture of each run; its own are left out of its line.
    plain
        Whether each run was trained with a plain recipe and may support lines.
    n_id, n_ood
        Numbers of images behind the accuracies, for clipping.

    Returns
    -------
    Floats
        Effective robustness (R,) in percentage points.

    Raises
    ------
    InvalidInputError
        If lengths differ, or fewer than three plain runs remain to support a line.
    """
    source, target = _pair("effective_robustness", id_accuracy, ood_accuracy)
    names, support = np.asarray(architectures), np.asarray(plain, dtype=bool)
    if not len(names) == len(support) == len(source):
        raise InvalidInputError(
            f"effective_robustness: expected one architecture and one plain flag for each of {len(source)} "
            f"runs, got {len(names)} and {len(support)}"
        )
    x, y = probit(source, n_id), probit(target, n_ood)
    expected = np.empty(len(x))
    for name in sorted(set(architectures)):
        others = support & (names != name)
        if others.sum() < 3:
            raise InvalidInputError(
                f"effective_robustness: {int(others.sum())} plain runs of architectures other than {name!r}; "
                "a line needs at least three"
            )
        own = names == name
        expected[own] = inverse_probit(fit_line(x[others], y[others])(x[own]))
    return 100 * (target - expected)


def _pair(what: str, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise InvalidInputError(
            f"{what}: expected two arrays (N,) of one length, N >= 2, got {first.shape} and {second.shape}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InvalidInputError(f"{what}: a value is NaN or infinite")
    return first, second

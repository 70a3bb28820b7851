"""Intervals from what an estimator got wrong under other shifts: group-weighted split conformal.

Shifts, not images, are what is exchangeable: the residuals of one group share one weight, and one
more share stays at infinity for the shift to come (Dunn, Wasserman & Ramdas 2022, Distribution-Free
Prediction Sets for Two-Layer Hierarchical Models; Lee, Barber & Willett 2023, Distribution-Free
Inference with Hierarchical Data). Residuals are taken on the probit scale, on which accuracies near
0 and 1 are as far apart as others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.statistics.lines import inverse_probit, probit
from shiftcast.util.text import NARROWEST
from shiftcast.util.types import Floats

LEVELS = (0.95, 0.9, 0.8)
"""Levels that are stated, highest first."""
SLACK = 1e-9


def supported_level(groups: int) -> float | None:
    """Return the highest of 0.95, 0.9 and 0.8 that this many other groups support; None below four.

    G groups leave 1/(G + 1) of the weight at infinity, so they support levels up to G/(G + 1).
    """
    return next((level for level in LEVELS if level <= groups / (groups + 1) + SLACK), None)


def probit_residuals(actual: ArrayLike, predicted: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Return probit(actual) - probit(predicted), shares clipped to [0.5/n, 1 - 0.5/n].

    Parameters
    ----------
    actual, predicted
        Accuracies in [0, 1], of any one shape.
    n
        Images behind each.
    """
    return np.asarray(probit(actual, n) - probit(predicted, n), dtype=np.float64)


def conformal_reach(residuals: Sequence[ArrayLike], level: float) -> float:
    """Return how far on the probit scale an interval must reach to both sides.

    The weighted quantile of the sizes of residuals: each of group k's N_k weighs
    1/((G + 1) N_k), and 1/(G + 1) lies at infinity.

    Parameters
    ----------
    residuals
        The residuals of each other group, at least one a group.
    level
        Nominal level, at most G/(G + 1).

    Raises
    ------
    InvalidInputError
        If a group is empty, or there are too few groups for the level.
    """
    sizes = [np.abs(np.asarray(group, dtype=np.float64)).ravel() for group in residuals]
    if not all(map(len, sizes)):
        raise InvalidInputError("conformal_reach: expected at least one residual in each group")
    if not 0 < level <= len(sizes) / (len(sizes) + 1) + SLACK:
        raise InvalidInputError(
            f"conformal_reach: {len(sizes)} groups support levels up to "
            f"{len(sizes) / (len(sizes) + 1):.4g}, got {level!r}"
        )
    values = np.concatenate(sizes)
    weights = np.concatenate([np.full(len(size), 1 / ((len(sizes) + 1) * len(size))) for size in sizes])
    order = np.argsort(values, kind="stable")
    return weighted_reach(values[order], weights[order], level)


def weighted_reach(sizes: Floats, weights: Floats, level: float) -> float:
    """Return the first of ascending sizes (N,) up to which the weights (N,) sum to the level."""
    return float(sizes[np.argmax(np.cumsum(weights) >= level - SLACK)])


def conformal_interval(accuracy: float, n: float, reach: float) -> tuple[float, float, bool]:
    """Return the interval around a predicted accuracy, and whether it was extended to hold it.

    Parameters
    ----------
    accuracy
        The prediction, in [0, 1]; clipped to [0.5/n, 1 - 0.5/n] before it is moved.
    n
        Images of the target.
    reach
        How far to go on the probit scale, from `conformal_reach`.

    Returns
    -------
    tuple[float, float, bool]
        Lower and upper end, rounded to 1e-6, with low <= accuracy <= high; never of no width.
    """
    centre = float(probit(accuracy, n))
    low, high = (round(float(inverse_probit(centre + side * reach)), 6) for side in (-1, 1))
    least, most = round(max(accuracy - NARROWEST, 0.0), 6), round(min(accuracy + NARROWEST, 1.0), 6)
    return min(low, least), max(high, most), low > accuracy or high < accuracy

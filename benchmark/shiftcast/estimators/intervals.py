"""Sampling intervals: what counting a finite number of images adds to an estimator's error.

Every interval made here takes the estimator's own assumption for true. How wrong that assumption
is under real shifts is learned elsewhere, from residuals on other groups; so each estimate says
`"interval": "sampling"` in its diagnostics.
"""

from __future__ import annotations

from math import sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Estimate
from shiftcast.statistics.intervals import normal_quantile

Diagnostic = float | int | str | bool | None
Count = TypeVar("Count", float, NDArray[np.float64])


def sampling_estimate(accuracy: float, variance: float, level: float, **diagnostics: Diagnostic) -> Estimate:
    """Return an estimate with the normal interval accuracy +- z sqrt(variance).

    An accuracy outside [0, 1] is clipped first, so that its interval is centred on an accuracy
    that can be.

    Parameters
    ----------
    accuracy
        The estimate.
    variance
        Sampling variance of estimate minus actual, at least 0.
    level
        Nominal level.
    diagnostics
        What else the estimator has to say, values that JSON can hold.
    """
    centre = min(max(accuracy, 0.0), 1.0)
    half = normal_quantile(level) * sqrt(variance)
    return Estimate(
        centre, centre - half, centre + half, level, diagnostics={"interval": "sampling", **diagnostics}
    )


def residual_variance(what: str, residuals: ArrayLike) -> float:
    """Return the unbiased variance s^2 of one residual per source image, at least p (1 - p).

    The floor, with p = 1/(n + 2), is the variance of a hit with the probability that Laplace's rule of
    succession gives to what was never seen in n images. A source that is all right, all wrong, or
    counted without a single mistake has residuals without any spread, and would else promise an interval
    of no width. At n = 10,000 the floor is 0.0001: a hundredth of residuals with two errors in 100.

    Parameters
    ----------
    what
        Who asks, for the message.
    residuals
        Array (n,): right (1) or wrong (0) minus what the estimator counts for the image.

    Raises
    ------
    InvalidInputError
        If there are fewer than two images.
    """
    values = np.asarray(residuals, dtype=np.float64)
    if len(values) < 2:
        raise InvalidInputError(
            f"{what}.fit: expected at least 2 labelled source images to learn an interval from, "
            f"got {len(values)}"
        )
    unseen = 1 / (len(values) + 2)
    return max(float(values.var(ddof=1)), unseen * (1 - unseen))


def smoothed_share(right: Count, n: Count) -> Count:
    """Return (right + 1/2) / (n + 1), a share that is never 0 or 1; for variances only."""
    return (right + 0.5) / (n + 1)

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
from shiftcast.util.types import Floats

Diagnostic = float | int | str | bool | None
ROUNDING = 1e-9
Count = TypeVar("Count", float, NDArray[np.float64])


def sampling_estimate(
    accuracy: float,
    variance: float,
    level: float,
    flagged: str = "",
    abstains: str = "",
    **diagnostics: Diagnostic,
) -> Estimate:
    """Return an estimate with the normal interval accuracy +- z sqrt(variance).

    An accuracy outside [0, 1] is clipped first, so that its interval is centred on an accuracy
    that can be; the estimate is then flagged.

    Parameters
    ----------
    accuracy
        The estimate.
    variance
        Sampling variance of estimate minus actual, at least 0.
    level
        Nominal level.
    flagged, abstains
        As in `Estimate`.
    diagnostics
        What else the estimator has to say, values that JSON can hold.
    """
    centre = min(max(accuracy, 0.0), 1.0)
    half = normal_quantile(level) * sqrt(variance)
    if not (flagged or abs(accuracy - centre) <= ROUNDING):
        flagged = f"its sum came to {100 * accuracy:.2f} %, which no accuracy can be, and was clipped"
    told = {"interval": "sampling", **diagnostics}
    return Estimate(
        centre, centre - half, centre + half, level, diagnostics=told, flagged=flagged, abstains=abstains
    )


def unseen_variance(n: int) -> float:
    """Return p (1 - p), p = 1/(n + 2): the variance of what was never seen in n images (Laplace)."""
    p = 1 / (n + 2)
    return p * (1 - p)


def independent_variance(probabilities: Floats, n: int) -> float:
    """Return the variance of a mean of m independent hits: mean(p (1 - p)) / m (Kivimaki et al. 2025).

    At least `unseen_variance(n) (1/n + 1/m)`: saturated probabilities of 1 are no certainty, and n labelled
    images could not show that they are right more often than that.

    Parameters
    ----------
    probabilities
        Of being right, (m,).
    n
        Labelled source images.
    """
    m = len(probabilities)
    return max(float((probabilities * (1 - probabilities)).mean()) / m, unseen_variance(n) * (1 / n + 1 / m))


def residual_variance(what: str, residuals: ArrayLike) -> float:
    """Return the unbiased variance s^2 of one residual per source image, above a floor.

    The floor, `unseen_variance(n)`, is the variance of a hit with the probability that Laplace's rule of
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
    return max(float(values.var(ddof=1)), unseen_variance(len(values)))


def smoothed_share(right: Count, n: Count) -> Count:
    """Return (right + 1/2) / (n + 1), a share that is never 0 or 1; for variances only."""
    return (right + 0.5) / (n + 1)


def binomial_variance(accuracy: ArrayLike, n: ArrayLike) -> Floats:
    """Return the variance of accuracies on n images each, smoothed, in their shape."""
    images = np.asarray(n, dtype=np.float64)
    share = smoothed_share(np.asarray(accuracy, dtype=np.float64) * images, images)
    variance: Floats = share * (1 - share) / images
    return variance

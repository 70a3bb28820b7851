"""Closed-form intervals. Nothing is resampled here."""

from __future__ import annotations

from math import sqrt

from scipy.special import ndtri

from shiftcast.errors import InvalidInputError


def normal_quantile(level: float) -> float:
    """Return z such that a standard normal lies within +-z with probability `level`.

    Raises
    ------
    InvalidInputError
        If the level is not strictly between 0 and 1.
    """
    if not 0 < level < 1:
        raise InvalidInputError(f"level: expected a number between 0 and 1, such as 0.95, got {level!r}")
    return float(ndtri(0.5 + level / 2))


def wilson(right: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval for an accuracy (Wilson 1927).

    Parameters
    ----------
    right
        Number of right predictions.
    n
        Number of images, at least one; an effective number need not be whole.
    level
        Nominal level.

    Returns
    -------
    tuple[float, float]
        Lower and upper end, in [0, 1]; exactly 0 when nothing and exactly 1 when all is right.

    Raises
    ------
    InvalidInputError
        If not 0 <= right <= n with n >= 1, or the level is not between 0 and 1.
    """
    if n < 1 or not 0 <= right <= n:
        raise InvalidInputError(f"wilson: expected 0 <= right <= n with n >= 1, got right={right}, n={n}")
    z = normal_quantile(level)
    share = right / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (0.0 if right == 0 else centre - half), (1.0 if right == n else centre + half)

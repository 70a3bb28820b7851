"""How far apart the seeds of one model lie, and how much of that is their differing on single images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri

from shiftcast.errors import InvalidInputError

LEVEL = 0.95


@dataclass(frozen=True)
class SeedSpread:
    """Variances of accuracy between seeds, as squared shares.

    Parameters
    ----------
    raw
        Sample variance of the accuracies on these images (ddof = 1).
    raw_low, raw_high
        Its 95 % interval if accuracies are normal: (S - 1) raw over quantiles of chi-square with S - 1
        degrees of freedom.
    wise
        Variance on the distribution that the images were drawn from (Jordan 2024, arXiv:2304.01910):
        n/(n-1) (raw - 1/n^2 sum_i Var_h err_i), unbiased, so that it may be negative.
    wise_low, wise_high
        Its interval: the same map of `raw_low` and `raw_high`, the sum taken as known.
    """

    raw: float
    raw_low: float
    raw_high: float
    wise: float
    wise_low: float
    wise_high: float


def seed_spread(errors: ArrayLike) -> SeedSpread:
    """Return the spread of the seeds of one model on one set of images.

    Parameters
    ----------
    errors
        Whether each seed errs on each image, bool (S, n), S and n at least 2.

    Raises
    ------
    InvalidInputError
        If there are fewer seeds or images.
    """
    wrong = np.asarray(errors, dtype=float)
    if wrong.ndim != 2 or min(wrong.shape) < 2:
        raise InvalidInputError(f"errors: expected (seeds, images), two of each at least, got {wrong.shape}")
    seeds, n = wrong.shape
    raw = float(wrong.mean(axis=1).var(ddof=1))
    single = float(wrong.var(axis=0, ddof=1).sum()) / n**2
    tail = (1 - LEVEL) / 2
    low, high = ((seeds - 1) * raw / chdtri(seeds - 1, share) for share in (tail, 1 - tail))

    def wise(variance: float) -> float:
        return float(n / (n - 1) * (variance - single))

    return SeedSpread(raw, float(low), float(high), wise(raw), wise(float(low)), wise(float(high)))


def signed_root(variance: float) -> float:
    """Return the standard deviation of a variance that may be negative, with its sign."""
    return math.copysign(math.sqrt(abs(variance)), variance)

"""Bootstrap over images: predictions and fits stay fixed, groups of images get random weights.

Images are put into groups once (one object or drawing a group, or 200 random groups) and every
figure of a table is a function of sums over groups, so that a draw costs one small matrix product
however many images there are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Floats, Integers

DRAWS = 2_000
"""Bootstrap draws behind an interval."""
GROUPS = 200
"""Random groups that a set without clusters is put into."""


def image_groups(n: int, seed: int, clusters: Integers | None = None, groups: int = GROUPS) -> Integers:
    """Return the group of each image (n,), from 0.

    Parameters
    ----------
    n
        Number of images.
    seed
        Of the `RandomState` that shares images without clusters out, in equal parts.
    clusters
        Which object each image shows (n,); each object is then a group of its own.
    groups
        Number of random groups; at most n are made.

    Raises
    ------
    InvalidInputError
        If n < 1, or there is not one cluster for each image.
    """
    if n < 1 or (clusters is not None and clusters.shape != (n,)):
        shape = "" if clusters is None else f" with clusters {clusters.shape}"
        raise InvalidInputError(f"image_groups: expected n >= 1 and clusters (n,), got n = {n}{shape}")
    if clusters is not None:
        return np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    return np.random.RandomState(seed).permutation(n) % min(groups, n)


def group_sums(groups: Integers, values: NDArray[np.generic], count: int | None = None) -> Floats:
    """Return the sum of each column of `values` over each group.

    Parameters
    ----------
    groups
        Group of each image (n,), from `image_groups`.
    values
        Numbers or booleans (n,) or (n, C).
    count
        Number of groups G; as many as occur when None. A group without images sums to 0.

    Returns
    -------
    Floats
        Sums (G, C).
    """
    table = np.asarray(values, dtype=np.float64).reshape(len(groups), -1)
    number = int(groups.max()) + 1 if count is None else count
    columns = [np.bincount(groups, weights=column, minlength=number) for column in table.T]
    sums: Floats = np.stack(columns, axis=1)
    return sums


def draw_weights(groups: int, draws: int, seed: int) -> Floats:
    """Return how often each group is drawn: (draws, groups), each row summing to `groups`.

    Each row is one multinomial draw of `groups` groups with replacement, from
    `numpy.random.RandomState(seed)`, whose stream numpy has frozen.
    """
    random = np.random.RandomState(seed)
    return random.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float64)


def percentile_interval(draws: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of bootstrap draws (D,), ignoring draws that are not numbers.

    NaN, NaN where more than a tenth of the draws are not numbers: the figure is then undefined too
    often for an interval.
    """
    known = draws[np.isfinite(draws)]
    if len(known) < 0.9 * len(draws):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

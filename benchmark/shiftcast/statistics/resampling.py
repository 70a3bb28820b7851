"""Bootstrap over images: predictions and fits stay fixed, groups of images get random weights.

Images are put into groups once (one object or drawing a group, or 200 random groups) and every
figure of a table is a function of sums over groups, so that a draw costs one small matrix product
however many images there are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.util.types import Floats, Integers

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


def effective_count(right: NDArray[np.bool_], clusters: Integers | None) -> float:
    """Return how many independent images would make an accuracy as uncertain as these images do.

    a (1 - a) / V, with V the variance of the accuracy a over resampled clusters, G / (G - 1) / n^2
    times the sum over the G clusters of (right - a size)^2 (Kish's design effect, estimated).

    Parameters
    ----------
    right
        Whether each image is right (n,).
    clusters
        Which object each image shows (n,); n itself is returned when None.

    Returns
    -------
    float
        Between 1 and n; the number of clusters where all images are right or all wrong.
    """
    n = len(right)
    if clusters is None:
        return float(n)
    groups = image_groups(n, 0, clusters)
    count, accuracy = int(groups.max()) + 1, float(right.mean())
    if accuracy in (0.0, 1.0) or count == 1:
        return float(count)
    excess = group_sums(groups, right - accuracy)[:, 0]
    variance = count / (count - 1) * float(excess @ excess) / n**2
    return min(max(accuracy * (1 - accuracy) / variance, 1.0), float(n)) if variance else float(n)


def draw_weights(groups: int, draws: int, seed: int) -> Floats:
    """Return how often each group is drawn: (draws, groups), each row summing to `groups`.

    Each row is one multinomial draw of `groups` groups with replacement, from
    `numpy.random.RandomState(seed)`, whose stream numpy has frozen.
    """
    return _drawn(groups, draws, seed).astype(np.float64)


def drawn_sums(sums: Floats, draws: int, seed: int) -> Floats:
    """Return `draw_weights(G, draws, seed) @ sums`, of sums (G, C), in little memory: (draws, C)."""
    counts = _drawn(len(sums), draws, seed)
    found = np.empty((draws, sums.shape[1]))
    for start in range(0, draws, _CHUNK):
        found[start : start + _CHUNK] = counts[start : start + _CHUNK].astype(np.float64) @ sums
    return found


_CHUNK = 1_000


@lru_cache(maxsize=64)
def _drawn(groups: int, draws: int, seed: int) -> NDArray[np.uint16]:
    """Keep the draws of `draw_weights` as small as they are: every table of a suite asks for them."""
    random, shares = np.random.RandomState(seed), np.full(groups, 1 / groups)
    sizes = [min(_CHUNK, draws - start) for start in range(0, draws, _CHUNK)]
    chunks = (random.multinomial(groups, shares, size=size) for size in sizes)
    return np.concatenate([chunk.astype(np.uint16) for chunk in chunks])


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

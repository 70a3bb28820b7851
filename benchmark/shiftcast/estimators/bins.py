"""The mathematics of partitions: bins of a score, source accuracy in each, target mass over them.

Pure functions on arrays; the estimators that choose the score are in `partition` and `confidence`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from shiftcast.util.types import Floats, Integers

Estimand = Literal["images", "population"]


def bin_index(scores: Floats, largest: float, bins: int) -> Integers:
    """Return each score's bin among `bins` of equal width on [0, largest].

    A score on an edge belongs to the higher bin, the largest score to the last. Edges are rounded
    to 1e-9 as scores are, so that a score written like an edge equals it.
    """
    edges = np.round(largest * np.arange(1, bins) / bins, 9)
    return np.searchsorted(edges, scores, side="right").astype(np.int64)


def merge_bins(counts: Integers, min_count: int) -> Integers:
    """Return the home of each bin once bins short of source images are merged.

    From the most confused bin (the last) downwards, a bin with fewer than `min_count` source
    images, those that joined it included, joins the next less confused one. The least confused
    bin has none below it: if it ends up short, it joins the nearest bin that stands.

    Parameters
    ----------
    counts
        Source images in each bin (B,); target counts have no say.
    min_count
        Fewest source images that let a bin stand alone.

    Returns
    -------
    Integers
        Array (B,): the index of the bin that each bin's images end up in.
    """
    home = np.arange(len(counts))
    held = counts.copy()
    for b in range(len(counts) - 1, 0, -1):
        if held[b] < min_count:
            home[home == b] = b - 1
            held[b - 1] += held[b]
            held[b] = 0
    standing = np.flatnonzero(held[1:] >= min_count) + 1
    if held[0] < min_count and len(standing):
        home[home == 0] = standing[0]
    return home


def partition_accuracy(target_counts: Integers, source_counts: Integers, right: Integers) -> float:
    """Return sum_b w'_b a_b: source accuracy in each bin, weighted by the target's mass there.

    Parameters
    ----------
    target_counts
        Target images in each bin (B,); zero wherever the source has none.
    source_counts, right
        Source images in each bin (B,), and how many of them are right.
    """
    shares = target_counts / target_counts.sum()
    return float(shares @ (right / np.maximum(source_counts, 1)))


def partition_variance(
    target_counts: Integers, source_counts: Integers, right: Integers, estimand: Estimand = "images"
) -> float:
    """Return the sampling variance of the partition's estimate minus the actual accuracy.

    With bins fixed and the accuracy in each bin the same on source and target,
    sum_b w'_b^2 a_b (1 - a_b) / n_b + (1/m) sum_b w'_b a_b (1 - a_b) for the accuracy on exactly
    these m images. For the accuracy on the population that they were drawn from, the last term is
    (1/m) [sum_b w'_b a_b^2 - (sum_b w'_b a_b)^2]. Here a_b is (right + 1/2) / (n_b + 1), so that
    a bin without errors is not taken for one that cannot err.

    Parameters
    ----------
    target_counts, source_counts, right
        As in `partition_accuracy`.
    estimand
        "images" or "population".
    """
    used = source_counts > 0
    m = int(target_counts.sum())
    shares = target_counts[used] / m
    smoothed = (right[used] + 0.5) / (source_counts[used] + 1)
    spread = smoothed * (1 - smoothed)
    learning = float((shares**2 * spread / source_counts[used]).sum())
    if estimand == "images":
        return learning + float(shares @ spread) / m
    return learning + max(float(shares @ smoothed**2 - (shares @ smoothed) ** 2), 0.0) / m

"""Where a drop in accuracy comes from, bin by bin. For reports: it reads target labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.util.types import Floats, Integers


@dataclass(frozen=True, eq=False)
class DropDecomposition:
    """The drop a_ID - a_OOD taken apart over the bins of a partition (all in [-1, 1]).

    Parameters
    ----------
    drop
        a_ID - a_OOD.
    mass_shift
        sum_b (w_b - w'_b) a_b: what a partition sees.
    within_shift
        sum_b w'_b (a_b - a'_b): what it misses, exactly its signed error.
    error_mass
        w'_b (1 - a'_b) - w_b (1 - a_b) for each bin (B,): new errors there. Sums to the drop.
    centred
        (w_b - w'_b)(a_b - a_ID) + w'_b (a_b - a'_b) for each bin (B,). Sums to the drop.
    """

    drop: float
    mass_shift: float
    within_shift: float
    error_mass: Floats
    centred: Floats

    @property
    def shares(self) -> Floats | None:
        """Each bin's share of the drop by error mass (B,); None without a drop to share."""
        return self.error_mass / self.drop if self.drop else None


def decompose_drop(
    source_bins: Integers,
    source_correct: NDArray[np.bool_],
    target_bins: Integers,
    target_correct: NDArray[np.bool_],
    bins: int,
) -> DropDecomposition:
    """Take the drop from source to target accuracy apart over bins.

    Parameters
    ----------
    source_bins, target_bins
        Bin of each image, (n,) and (m,), in 0..bins-1, after merging (`PartitionEstimator.bins_of`).
    source_correct, target_correct
        Whether each prediction is right, (n,) and (m,).
    bins
        Number of bins B.

    Raises
    ------
    InvalidInputError
        If lengths differ, a set is empty, a bin is out of range, or the target has images in a
        bin where the source has none.
    """
    w, right, a_id = _bin_shares("source", source_bins, source_correct, bins)
    w_target, right_target, a_ood = _bin_shares("target", target_bins, target_correct, bins)
    orphans = np.flatnonzero((w == 0) & (w_target > 0))
    if len(orphans):
        raise InvalidInputError(
            f"decompose_drop: the target has images in bins {orphans.tolist()}, where the source has none; "
            "use bins merged on the source"
        )
    accuracy = np.divide(right, w, out=np.zeros(bins), where=w > 0)
    within = w_target * accuracy - right_target  # w'_b (a_b - a'_b), also where the target has none
    return DropDecomposition(
        drop=a_id - a_ood,
        mass_shift=float((w - w_target) @ accuracy),
        within_shift=float(within.sum()),
        error_mass=(w_target - right_target) - (w - right),
        centred=(w - w_target) * (accuracy - a_id) + within,
    )


def _bin_shares(what: str, bins: ArrayLike, correct: ArrayLike, count: int) -> tuple[Floats, Floats, float]:
    """Return the share of images in each bin, the share in it and right, and the accuracy.

    The accuracy is one division of counts, so that equal accuracies make a drop of exactly 0.
    """
    index, right = np.asarray(bins), np.asarray(correct, dtype=bool)
    if index.ndim != 1 or index.shape != right.shape or not len(index):
        raise InvalidInputError(
            f"decompose_drop: expected one bin and one correctness for each {what} image, got shapes "
            f"{index.shape} and {right.shape}"
        )
    if index.min() < 0 or index.max() >= count:
        raise InvalidInputError(
            f"decompose_drop: expected {what} bins in 0..{count - 1}, got {index.min()}..{index.max()}"
        )
    n = len(index)
    inside, hits = np.bincount(index, minlength=count), np.bincount(index[right], minlength=count)
    return inside / n, hits / n, int(hits.sum()) / n

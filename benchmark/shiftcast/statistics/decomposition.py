"""Where a model's accuracy is lost under shift: to more confusing images, or at equal confusion."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from shiftcast.util.types import Floats


def decompose(
    source: ArrayLike, source_right: ArrayLike, target: ArrayLike, target_right: ArrayLike
) -> tuple[Floats, Floats]:
    """Return what each bin of confusion adds to a drop in accuracy.

    With shares of images w_b (source) and w'_b (target), accuracies a_b and a'_b, and the source's
    accuracy A, a bin adds (w_b - w'_b)(a_b - A) by its change of share and w'_b (a_b - a'_b) by a change
    of accuracy within it; all of these add up to the drop. Where the source has no image, a_b is that
    of the nearest bin that has some (the less confused one of two).

    Parameters
    ----------
    source, target
        Images in each bin (B,).
    source_right, target_right
        How many of them are right (B,).

    Returns
    -------
    Floats, Floats
        Parts (B,) of the drop by mixture and within bins, as shares in [-1, 1].
    """
    n, right, m, kept = (
        np.asarray(values, dtype=np.float64) for values in (source, source_right, target, target_right)
    )
    standing = np.flatnonzero(n > 0)
    distance = np.abs(np.arange(len(n))[:, None] - standing[None])
    home = standing[distance.argmin(axis=1)]
    accuracy = right[home] / n[home]
    whole = right.sum() / n.sum()
    shares, there = n / n.sum(), m / m.sum()
    mixture = (shares - there) * (accuracy - whole)
    within = there * (accuracy - kept / np.maximum(m, 1))
    return mixture, within

"""Agreement between models: the share of images to which two of them give the same class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from shiftcast.util.types import Floats


def pairwise_agreement(predicted: NDArray[np.integer[Any]]) -> Floats:
    """Return the share of images on which each pair of models predicts the same class.

    Parameters
    ----------
    predicted
        Predicted classes (Z, n).

    Returns
    -------
    Floats
        Z (Z - 1) / 2 shares, in the order of `numpy.triu_indices(Z, k=1)`.
    """
    models, n = predicted.shape
    narrow = predicted.astype(np.min_scalar_type(int(predicted.max())))  # bytes compare eight times faster
    agreeing = [np.count_nonzero(narrow[j] == narrow[k]) for j in range(models) for k in range(j + 1, models)]
    shares: Floats = np.array(agreeing, dtype=np.float64) / n
    return shares


FEWEST, OFTENER, MOST_CLASSES = 10, 2, 1000
"""What it takes for a class to be another: so many images, so many times oftener, and of at most so many."""


def interchanged(
    predicted: NDArray[np.integer[Any]], others: NDArray[np.integer[Any]], classes: int
) -> dict[int, int]:
    """Return which classes of a model look like others of other models, if any are interchanged.

    The assignment of classes to classes that lets both agree on most images (Kuhn 1955) is compared with the
    identity. Classes are interchanged where they move among each other, each being the other on ten images or
    more, and more than twice as often as itself.

    Parameters
    ----------
    predicted
        The model's predicted classes (n,), below `classes`.
    others
        Those of other models on the same images (Z, n).
    classes
        Their number K; above a thousand, nothing is looked for.
    """
    if classes > MOST_CLASSES:
        return {}
    rows = predicted * np.int64(classes)
    counts = np.zeros((classes, classes), dtype=np.int64)
    for other in others:
        counts += np.bincount(rows + other, minlength=classes**2).reshape(classes, classes)
    _, assigned = linear_sum_assignment(counts, maximize=True)
    own, most = np.diag(counts), counts[np.arange(classes), assigned]
    moved = np.flatnonzero((assigned != np.arange(classes)) & (most >= FEWEST) & (most > OFTENER * own))
    return {int(k): int(assigned[k]) for k in moved} if set(moved) == set(assigned[moved]) else {}


PEER_AGREEMENT = "peer agreement"
"""What the agreement of peers is remembered by: it is the same for every model that they are peers of."""

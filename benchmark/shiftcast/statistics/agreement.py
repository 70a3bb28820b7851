"""Agreement between models: the share of images to which two of them give the same class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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


PEER_AGREEMENT = "peer agreement"
"""What the agreement of peers is remembered by: it is the same for every model that they are peers of."""

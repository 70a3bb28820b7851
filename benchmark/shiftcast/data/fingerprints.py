"""What a dataset *is*: a hash of its decoded arrays, whatever archive they came from."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.util.strict import StrictModel


def fingerprint(images: NDArray[np.uint8], labels: NDArray[Any] | None = None) -> str:
    """Return the SHA-256 of decoded images and, when known, their labels, in order.

    Parameters
    ----------
    images
        uint8 (n, H, W, C): hashed as n*H*W*C bytes in C order.
    labels
        Integers (n,), hashed after the images as little-endian int64, or None.

    Returns
    -------
    64 hexadecimal digits. Memory order, byte order and integer width of the input do not matter;
    the order of the images does.

    Raises
    ------
    InvalidInputError
        If the images are not uint8 of four dimensions, or the labels are not n integers.
    """
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InvalidInputError(
            f"images: expected uint8 of shape (n, H, W, C), got {images.dtype} of shape {images.shape}"
        )
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    if labels is not None:
        if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images),):
            raise InvalidInputError(
                f"labels: expected integers of shape ({len(images)},), "
                f"got {labels.dtype} of shape {labels.shape}"
            )
        # One width and byte order, so that a file saved as int32 is the same dataset.
        digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


class DatasetUsed(StrictModel):
    """Which arrays were used under a dataset's name."""

    fingerprint: str
    edition: str
    n: int

"""A person's own ensemble: stacked probabilities or logits of several models on the same images."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcast.difficulty import check_members
from shiftcast.errors import InvalidInputError
from shiftcast.util.arrays import SUM_TOLERANCE, are_percentages, softmax
from shiftcast.util.types import Floats

KEYS = ("probs", "logits")
SWAPPED = 10
"""This many times more members than images are taken for swapped axes."""


def read_ensemble(path: Path) -> Floats:
    """Read member probabilities (M, n, K) from `.npy` (probabilities) or `.npz` (`probs` or `logits`).

    Raises
    ------
    InvalidInputError
        If the file cannot be read, holds another array, has far more members than images, or its rows
        are not probabilities.
    """
    key, array = _load(path)
    if array.dtype.kind not in "fiu":
        raise InvalidInputError(f"{path}: expected numbers, got dtype {array.dtype}")
    members = array.astype(np.float64)
    try:
        check_members(members)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    if len(members) >= SWAPPED * members.shape[1]:
        raise InvalidInputError(
            f"{path}: shape {members.shape} means {len(members):,} members on {members.shape[1]:,} images; "
            "are the first two axes swapped? Expected (members, images, classes): numpy.swapaxes(array, 0, 1)"
        )
    if not np.isfinite(members).all():
        where = np.argwhere(~np.isfinite(members))[0].tolist()
        raise InvalidInputError(f"{path}: holds NaN or infinite values, the first at index {where}")
    return softmax(members) if key == "logits" else _normalised(path, members)


def _load(path: Path) -> tuple[str, NDArray[Any]]:
    """Return what a file holds, "probs" or "logits", and its one array."""
    if not path.is_file():
        raise InvalidInputError(f"{path}: there is no such file")
    try:
        if path.suffix == ".npy":
            return "probs", np.load(path, allow_pickle=False)
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as archive:
                present = {key: archive[key] for key in KEYS if key in archive.files}
                held = ", ".join(archive.files) or "nothing"
            if len(present) == 1:
                return next(iter(present.items()))
            raise InvalidInputError(
                f"{path}: expected one array named 'probs' or 'logits' (M, n, K); it holds {held}"
            )
    except InvalidInputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"{path}: cannot be read: {error}") from error
    raise InvalidInputError(f"{path}: expected a .npy or .npz file of shape (M, n, K)")


def _normalised(path: Path, members: Floats) -> Floats:
    sums = members.sum(axis=2)
    if members.min() < 0 or np.abs(sums - 1).max() > SUM_TOLERANCE:
        worst = np.unravel_index(int(np.abs(sums - 1).argmax()), sums.shape)
        raise InvalidInputError(
            f"{path}: expected probabilities, but values span {members.min():.4g} to {members.max():.4g} and "
            f"member {worst[0]}, image {worst[1]} sums to {sums[worst]:.6g}; "
            + (
                "these look like percentages: divide them by 100"
                if are_percentages(members, sums)
                else "logits belong into an .npz file under the name 'logits'"
            )
        )
    normalised: Floats = members / sums[:, :, None]
    return normalised

"""Readers of two formats that single publishers use: STL-10's binary files and CIFAR-10-C's arrays."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shiftcast.data.readers.layouts import (
    Images,
    checked_labels,
    load_npy,
    read_bytes,
    refuse_html,
    require_files,
)
from shiftcast.errors import DataError

SEVERITIES = 5
"""Severities that every file of CIFAR-10-C holds, one after the other."""

SIDE = 32
STL10_SIDE = 96
STL10_ROW = 3 * STL10_SIDE * STL10_SIDE
"""Bytes of one image of STL-10: red, green and blue planes."""


def read_stl10_binary(folder: Path, files: Sequence[str], numbers: Sequence[int | None]) -> Images:
    """Read images and labels of STL-10's binary files, resized from 96 to 32 pixels.

    The layout is the publisher's (https://cs.stanford.edu/~acoates/stl10/): planes red, green, blue,
    each of 96 columns of 96 values; labels are bytes that count from 1. Pillow's BOX filter resizes,
    which here is the mean of 3 x 3 pixels.

    Parameters
    ----------
    folder
        Where the files are.
    files
        Names of the image and label file.
    numbers
        Our label of each of the publisher's, which counts from 1; None for a class that is left out.

    Returns
    -------
    Images uint8 (n, 32, 32, 3) in the publisher's order with labels int64 (n,).

    Raises
    ------
    MissingDataError
        If files are not there; the message names every one.
    DataError
        If the files do not hold equally many whole images and labels, a label is none of the
        publisher's, or no image is of a class that is kept.
    """
    images_path, labels_path = (Path(folder) / name for name in files)
    require_files([images_path, labels_path])
    theirs = _stl10_labels(labels_path, len(numbers))
    rows = _stl10_rows(images_path, len(theirs))
    kept = np.flatnonzero(np.array([number is not None for number in numbers])[theirs - 1])
    if not len(kept):
        raise DataError(f"{labels_path}: holds no image of the classes that are kept")
    images = np.stack([_shrunk(rows[row]) for row in kept])
    labels = np.array([numbers[theirs[row] - 1] for row in kept], dtype=np.int64)
    return Images(images, labels)


def read_cifar10_c(
    folder: Path, transform: str, severity: int, labels: NDArray[np.int64], index: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Read images of the published CIFAR-10-C; only those asked for are read from the disk.

    The layout is the publisher's (https://zenodo.org/records/2535967): for each corruption an array
    of the n test images five times, severity after severity; `labels.npy` repeats their labels.

    Parameters
    ----------
    folder
        Where the files are.
    transform
        The corruption: the name of its file.
    severity
        1 to 5.
    labels
        Labels of the in-distribution test images (n,), which the file's have to equal.
    index
        Positions in the test set (m,) of the images to read.

    Returns
    -------
    uint8 (m, 32, 32, 3).

    Raises
    ------
    MissingDataError
        If files are not there; the message names every one.
    DataError
        If the arrays have other types or shapes, or the labels are not those of the test set.
    """
    path, labels_path = Path(folder) / f"{transform}.npy", Path(folder) / "labels.npy"
    require_files([path, labels_path])
    _check_same_labels(labels_path, labels)
    images = _cifar10_c_images(path, len(labels))
    return np.array(images[(severity - 1) * len(labels) + index], dtype=np.uint8, order="C")


def cifar10_c_md5(folder: Path, transforms: Sequence[str], n: int) -> dict[str, str]:
    """Read every file of CIFAR-10-C and return the MD5 of each corruption's array, as `npy_md5` has it.

    Parameters
    ----------
    folder
        Where the files are.
    transforms
        The corruptions.
    n
        Images of the test set that they were made from.

    Raises
    ------
    MissingDataError
        If files are not there; the message names every one.
    DataError
        If an array has another type or shape.
    """
    paths = {transform: Path(folder) / f"{transform}.npy" for transform in transforms}
    labels_path = Path(folder) / "labels.npy"
    require_files([*paths.values(), labels_path])
    checked_labels(labels_path, load_npy(labels_path), SEVERITIES * n)
    for path in paths.values():
        _cifar10_c_images(path, n)
    return {transform: npy_md5(path) for transform, path in paths.items()}


def npy_md5(path: Path) -> str:
    """Return the MD5 of a `.npy` file as today's numpy would save its array, whoever has saved it.

    Raises
    ------
    DataError
        If the file is no `.npy` array or needs pickle.
    """
    state = path.stat()
    return _npy_md5(path, state.st_mtime_ns, state.st_size)


@cache
def _npy_md5(path: Path, *_state: int) -> str:
    """Remember what an unchanged file had: five severities share one."""
    # Re-saved in memory: other versions of numpy pad the header differently.
    array = np.ascontiguousarray(load_npy(path))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    # The hash is compared with what others have stated; nothing is secured by it.
    digest = hashlib.md5(header.getvalue(), usedforsecurity=False)
    digest.update(array.data)
    return digest.hexdigest()


def _stl10_labels(path: Path, classes: int) -> NDArray[np.int64]:
    data = read_bytes(path)
    refuse_html(path, data)
    labels = np.frombuffer(data, dtype=np.uint8).astype(np.int64)
    wrong = np.flatnonzero((labels < 1) | (labels > classes))
    if len(wrong):
        raise DataError(
            f"{path}: expected labels from 1 to {classes}, got {int(labels[wrong[0]])} in row "
            f"{int(wrong[0])} ({len(wrong)} such rows). The file is damaged; obtain it again"
        )
    return labels


def _stl10_rows(path: Path, n: int) -> NDArray[Any]:
    refuse_html(path, read_bytes(path, 512))
    size = path.stat().st_size
    if not n or size != n * STL10_ROW:
        raise DataError(
            f"{path}: expected {n} images of {STL10_ROW} bytes, one for each label, got {size} bytes: "
            f"{size // STL10_ROW} images and {size % STL10_ROW} bytes over. "
            "A file is damaged; obtain both again"
        )
    return np.memmap(path, dtype=np.uint8, mode="r", shape=(n, 3, STL10_SIDE, STL10_SIDE))


def _shrunk(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Channel, column, row -> row, column, channel.
    image = Image.fromarray(np.ascontiguousarray(planes.transpose(2, 1, 0)))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


def _cifar10_c_images(path: Path, n: int) -> NDArray[np.uint8]:
    images = load_npy(path)
    expected = (SEVERITIES * n, SIDE, SIDE, 3)
    if images.dtype != np.uint8 or images.shape != expected:
        raise DataError(
            f"{path}: expected uint8 images of shape {expected}, five severities of {n}, "
            f"got {images.dtype} of shape {images.shape}. Obtain the file again"
        )
    return images


def _check_same_labels(path: Path, labels: NDArray[np.int64]) -> None:
    stored = checked_labels(path, load_npy(path), SEVERITIES * len(labels))
    other = np.flatnonzero(stored != np.tile(labels, SEVERITIES))
    if len(other):
        raise DataError(
            f"{path}: {len(other)} of {len(stored)} labels are not those of the in-distribution test set, "
            f"first in row {int(other[0])}: the images were made from another set or in another order"
        )

"""Readers: from files in their publishers' layouts to arrays in memory.

Nothing here downloads, and nothing is ever unpickled. Files are refused by name, with what was
expected and what came; the images' identity is checked elsewhere (`fingerprints`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shiftcast.data.sampling import stratified_halves
from shiftcast.errors import DataError, InvalidInputError, MissingDataError, UnknownNameError

CIFAR10_CLASSES = 10
ROW = 1 + 3 * 32 * 32
"""Bytes of one image in the CIFAR-10 binary version: a label, then red, green and blue planes."""

DIGITS_SEED = 0
"""Seed of the fixed split of scikit-learn's digits: changing it changes the datasets."""

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True, eq=False)
class Images:
    """Decoded images and, when they are known, their labels.

    Parameters
    ----------
    images
        uint8 (n, H, W, 3), n >= 1.
    labels
        int64 (n,), or None when unknown or withheld.
    clusters
        int64 (n,): which object or drawing each image shows, where several images may show one;
        None where every image stands for itself.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    clusters: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


def read_cifar10_binary(folder: Path, files: Sequence[str]) -> Images:
    """Read files of the CIFAR-10 binary version, one after the other.

    The layout is the publisher's (https://www.cs.toronto.edu/~kriz/cifar.html): rows of one label
    byte and 3,072 value bytes, planes red, green, blue, each 32 rows of 32.

    Parameters
    ----------
    folder
        Where the files are.
    files
        Their names, in the order in which images are numbered.

    Returns
    -------
    Images uint8 (n, 32, 32, 3) with labels int64 (n,) in 0..9.

    Raises
    ------
    MissingDataError
        If files are not there; the message names every one.
    DataError
        If a file cannot be read, is not a whole number of rows, or holds a label above 9.
    """
    if not files:
        raise DataError(f"{folder}: no file names were given to read from it")
    paths = [Path(folder) / name for name in files]
    require_files(paths)
    rows = np.concatenate([_cifar10_rows(path) for path in paths])
    planes = rows[:, 1:].reshape(-1, 3, 32, 32)
    return Images(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), rows[:, 0].astype(np.int64))


def read_arrays(
    images_path: Path, labels_path: Path | None = None, clusters_path: Path | None = None
) -> Images:
    """Read a `.npy` file of images and, if there are any, those of their labels and clusters.

    Parameters
    ----------
    images_path
        uint8 (n, H, W, 3).
    labels_path
        Integers (n,), at least 0, of any width; or None.
    clusters_path
        Integers (n,), at least 0, of any width; or None.

    Raises
    ------
    MissingDataError
        If a file is not there; the message names every one that is missing.
    DataError
        If a file cannot be read as a `.npy` array without pickle, has another type or shape, or
        the lengths differ.
    """
    require_files([Path(path) for path in (images_path, labels_path, clusters_path) if path is not None])
    images = checked_images(Path(images_path), load_npy(Path(images_path)))

    def column(path: Path | None) -> NDArray[np.int64] | None:
        return None if path is None else checked_labels(Path(path), load_npy(Path(path)), len(images))

    return Images(images, column(labels_path), column(clusters_path))


def read_labels(path: Path) -> Images:
    """Read a `.npy` file of labels of images that are not needed here: outputs of models are contributed.

    Returns
    -------
    Images of no pixels, uint8 (n, 0, 0, 3), with labels int64 (n,): a fingerprint over them is one over the
    labels alone.

    Raises
    ------
    MissingDataError
        If the file is not there.
    DataError
        If it cannot be read as a `.npy` array without pickle, or holds no integers (n,) of at least 0.
    """
    require_files([path])
    array = load_npy(path)
    if array.ndim != 1 or not len(array):
        raise DataError(f"{path}: expected labels of shape (n,), got {_described(array)}")
    labels = checked_labels(path, array, len(array))
    return Images(np.zeros((len(labels), 0, 0, 3), dtype=np.uint8), labels)


def read_npz(path: Path, keys: Sequence[str]) -> Images:
    """Read images and labels that one `.npz` file holds under two names.

    Parameters
    ----------
    path
        The file. Arrays under other names are not looked at.
    keys
        The names of the images, uint8 (n, H, W, 3), and of the labels, integers (n,) of at least 0.

    Raises
    ------
    MissingDataError
        If the file is not there.
    DataError
        If it is no `.npz` file, lacks one of the arrays or holds it as Python objects, or the arrays
        have other types, shapes or lengths.
    """
    arrays = open_npz(path, keys)
    images = checked_images(f"{path}, {keys[0]}", arrays[keys[0]])
    return Images(images, checked_labels(f"{path}, {keys[1]}", arrays[keys[1]], len(images)))


def read_digits(split: Literal["train", "test"], size: int = 32) -> Images:
    """Return half of scikit-learn's handwritten digits as colour images; nothing is downloaded.

    The 1,797 digits are split once into stratified halves (`DIGITS_SEED`); grey levels 0..16 are
    scaled to 0..255 (rounded), resized with Pillow's bilinear filter and repeated for the three
    channels. Writers are not told apart in this set, so the same hand can be in both halves.

    Parameters
    ----------
    split
        "train" or "test".
    size
        Height and width in pixels.

    Returns
    -------
    Images uint8 (n, size, size, 3) with labels int64 (n,) in 0..9.

    Raises
    ------
    UnknownNameError
        If the split is neither.
    InvalidInputError
        If the size is below 1.
    """
    # Imported here: sklearn.datasets is slow to import, and nothing else needs it.
    from sklearn.datasets import load_digits

    if split not in ("train", "test"):
        raise UnknownNameError("split of digits", split, ("train", "test"))
    if size < 1:
        raise InvalidInputError(f"size: expected at least 1 pixel, got {size}")
    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    index = stratified_halves(labels, DIGITS_SEED)[0 if split == "train" else 1]
    grey = ((bunch.images[index].astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR) for image in grey]
    stacked = np.stack([np.asarray(image) for image in resized])
    return Images(np.repeat(stacked[..., None], 3, axis=3), labels[index])


def require_files(paths: Iterable[Path]) -> None:
    """Raise `MissingDataError` naming every file that is not there."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        names = ", ".join(path.name for path in missing)
        folders = ", ".join(sorted({str(path.parent.absolute()) for path in missing}))
        raise MissingDataError(
            f"missing {names}; looked in {folders}. See the dataset's card for how to obtain it, "
            "or point SHIFTCAST_DATA at the folder that holds it"
        )


def read_bytes(path: Path, count: int = -1) -> bytes:
    """Return a file's bytes, or its first `count`; `DataError` if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def is_html(start: bytes) -> bool:
    """Whether a file that begins so is a web page."""
    return start[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def refuse_html(path: Path | str, start: bytes) -> None:
    """Name a web page for what it is: a failed download often leaves one under the data's name."""
    if is_html(start):
        raise DataError(
            f"{path}: is an HTML page, not data; the download was answered with a web page. "
            "Delete the file and download it again"
        )


def _cifar10_rows(path: Path) -> NDArray[np.uint8]:
    data = read_bytes(path)
    refuse_html(path, data)
    if not data or len(data) % ROW:
        raise DataError(
            f"{path}: expected rows of {ROW} bytes (a label and 3072 values), got {len(data)} bytes: "
            f"{len(data) // ROW} rows and {len(data) % ROW} bytes over. The file is damaged or not the "
            "CIFAR-10 binary version; obtain it again"
        )
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, ROW)
    wrong = np.flatnonzero(rows[:, 0] >= CIFAR10_CLASSES)
    if len(wrong):
        raise DataError(
            f"{path}: expected labels from 0 to 9, got {int(rows[wrong[0], 0])} in row {int(wrong[0])} "
            f"({len(wrong)} such rows). The file is damaged or not the "
            "CIFAR-10 binary version; obtain it again"
        )
    return rows


def load_npy(path: Path) -> NDArray[Any]:
    """Return a `.npy` array, mapped and read-only; `DataError` if it is none or needs pickle."""
    start = read_bytes(path, 512)
    refuse_html(path, start)
    if not start.startswith(NPY_MAGIC):
        raise DataError(
            f"{path}: expected a .npy array, got a file that begins with {start[:8]!r}. "
            "Save it with numpy.save(path, array, allow_pickle=False)"
        )
    try:
        # Mapped, so that the header's promise is held against the file's size before any memory is
        # taken. Warnings about odd headers become refusals like everything else that numpy says.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise DataError(
            f"{path}: cannot be read as a .npy array without pickle ({error}). The file is damaged, "
            "empty or holds Python objects; save plain numbers with numpy.save"
        ) from error
    return array


def open_npz(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Return arrays of an `.npz` file by name; others in it are not looked at.

    Raises
    ------
    MissingDataError
        If the file is not there.
    DataError
        If it is no `.npz` file, lacks one of `names`, or holds an array as Python objects.
    """
    require_files([path])
    start = read_bytes(path, 512)
    refuse_html(path, start)
    if not start.startswith(ZIP_MAGIC):
        raise DataError(
            f"{path}: expected an .npz file, got a file that begins with {start[:8]!r}. "
            "Save it with numpy.savez(path, images=..., labels=...)"
        )
    try:
        # What numpy only warns of is no file that a publisher meant.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Opened here: numpy leaves the file open when it turns out to be damaged.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                members = {name: archive[name] for name in (*names, *optional) if name in archive.files}
                held = ", ".join(archive.files) or "nothing"
    except Exception as error:
        raise DataError(
            f"{path}: cannot be read as an .npz file without pickle ({error}). "
            "The file is damaged or holds Python objects; obtain it again"
        ) from error
    # A member that is no array is handed back as its bytes.
    arrays = {name: array for name, array in members.items() if isinstance(array, np.ndarray)}
    if lacking := [name for name in (*names, *members) if name not in arrays]:
        raise DataError(f"{path}: expected an array named {lacking[0]!r}, found {held}")
    return arrays


def checked_images(where: Path | str, array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return images as a copy of their own, uint8 (n, H, W, 3); `DataError` if they are none."""
    if array.dtype != np.uint8:
        raise DataError(f"{where}: expected images of dtype uint8 (0 to 255), got {_described(array)}")
    if array.ndim != 4 or array.shape[3] != 3 or 0 in array.shape:
        raise DataError(f"{where}: expected images of shape (n, H, W, 3), n >= 1, got {array.shape}")
    # Of its own: through a map, whoever writes to the file would change the images.
    return np.array(array, dtype=np.uint8, order="C")


def checked_labels(where: Path | str, array: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Return labels as int64 (n,), at least 0; `DataError` if they are none."""
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{where}: expected labels of an integer dtype, got {_described(array)}")
    if array.shape != (n,):
        raise DataError(f"{where}: expected one label per image, shape ({n},), got {array.shape}")
    wide = np.array(array).astype(np.int64)
    if (wide < 0).any():
        row = int(np.flatnonzero(wide < 0)[0])
        raise DataError(f"{where}: expected labels of at least 0, got {int(array[row])} at position {row}")
    return wide


def _described(array: NDArray[Any]) -> str:
    """Return the dtype, and that there are NaN among the values if so: the likelier mistake."""
    nan = array.dtype.kind in "fc" and bool(np.isnan(array).any())
    return f"dtype {array.dtype}, with NaN among the values" if nan else f"dtype {array.dtype}"

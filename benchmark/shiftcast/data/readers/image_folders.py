"""Folders of image files: one folder for each class, one PNG file for each image.

Says nothing of archives (`build`) or of formats of a single publisher (`published`).
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shiftcast.data.readers.layouts import Images, read_bytes, refuse_html
from shiftcast.errors import DataError, MissingDataError

MAX_SIDE = 4096
"""Pixels. Larger images are refused before they are unpacked: a file of some bytes can promise any."""

EIGHT_BITS = ("1", "L", "LA", "P", "RGB", "RGBA")
"""Pillow's modes of PNG files whose values fit a byte; it would clip the others."""


def read_image_folder(folder: Path, label_of: Mapping[str, int], pattern: str = "") -> Images:
    r"""Read `folder/CLASS/*.png`, ordered by label, then folder name, then file name.

    Parameters
    ----------
    folder
        Holds a folder for each class. Folders of other names are left out, and a class without a
        folder has no images.
    label_of
        Label of each folder name that is kept.
    pattern
        Regular expression that a whole file name has to match; empty for `.*\.png`. Files whose
        names begin with a dot are never images.

    Returns
    -------
    Images uint8 (n, H, W, 3), all of one size, with labels int64 (n,). Grey and palette images are
    converted to RGB and transparency is dropped, both by Pillow.

    Raises
    ------
    MissingDataError
        If no image is there.
    DataError
        If a file cannot be read as a PNG image or has another size than the first; the message
        names it.
    """
    files = _image_files(Path(folder), label_of, re.compile(pattern or r".*\.png"))
    if not files:
        named = ", ".join(sorted(label_of))
        raise MissingDataError(
            f"no image files{f' named {pattern}' if pattern else ''} in {folder}/({named})"
        )
    first = _pixels(files[0][1])
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for row, (_, path) in enumerate(files):
        pixels = _pixels(path)
        if pixels.shape != first.shape:
            raise DataError(
                f"{path}: expected an image of {_size(first)} pixels like {files[0][1].name}, "
                f"got {_size(pixels)}. All images of a set have one size"
            )
        images[row] = pixels
    return Images(images, np.array([label for label, _ in files], dtype=np.int64))


def decode_png(data: bytes, where: Path | str) -> Image.Image:
    """Return a PNG file's image in RGB.

    Parameters
    ----------
    data
        The file's bytes.
    where
        What errors name it.

    Returns
    -------
    Pillow image of mode RGB: grey and palette images converted, transparency dropped, as image
    folders are commonly read.

    Raises
    ------
    DataError
        If the bytes are no whole PNG file, its values do not fit a byte, or a side is longer than
        `MAX_SIDE`.
    """
    with opened_image(data, where, ("PNG",), EIGHT_BITS, MAX_SIDE) as image:
        return image.convert("RGB")


@contextmanager
def opened_image(
    data: bytes, where: Path | str, formats: tuple[str, ...], modes: Collection[str], most: int
) -> Iterator[Image.Image]:
    """Open an image file's bytes; whatever is wrong with them is told as a `DataError` that names `where`.

    Parameters
    ----------
    data, where
        As for `decode_png`.
    formats, modes
        Pillow's formats and modes that are read; it would start other programs for some others.
    most
        Pixels that a side may have.
    """
    refuse_html(where, data)
    what = "a PNG image" if formats == ("PNG",) else "an image"
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and palettes, on which nothing here depends.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=formats) as image:
                if max(image.size) > most:
                    raise DataError(
                        f"{where}: expected an image of at most {most} pixels a side, got {image.width} x "
                        f"{image.height}"
                    )
                if image.mode not in modes:
                    raise DataError(
                        f"{where}: expected values of 8 bits, got an image of mode {image.mode}; save it "
                        "with 8 bits a channel"
                    )
                yield image
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{where}: cannot be read as {what} ({error}); the file is damaged, replace it"
        ) from error


def _image_files(folder: Path, label_of: Mapping[str, int], name: re.Pattern[str]) -> list[tuple[int, Path]]:
    files = []
    for label, kind in sorted((label, kind) for kind, label in label_of.items()):
        try:
            paths = sorted((folder / kind).iterdir(), key=lambda path: path.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{folder / kind}: cannot be read ({error.strerror or error})") from error
        files += [(label, path) for path in paths if path.name[0] != "." and name.fullmatch(path.name)]
    return files


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(decode_png(read_bytes(path), path))


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"

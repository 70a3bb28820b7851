"""Shortcuts planted on purpose: something easy in an image that gives its class away, until it does not.

A network that has learned the shortcut is wrong with confidence where the shortcut misleads, and so is
every other network that was trained on the same images: whatever judges difficulty by networks that
share the shortcut must miss such errors.

- `coloured-line` (Nagarajan, Andreassen and Neyshabur 2021, arXiv:2010.15775): a line across the
  image whose colour stands for a class.
- `dominoes` (Shah et al. 2020, arXiv:2006.07710): a handwritten digit that stands for a class above the
  image, which is squeezed into the lower half.

In the source a share of the shortcuts, `agreement`, shows the image's own class and the others one of the
other classes; the transforms say what the targets show.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shiftcast.cards.base import Shortcut
from shiftcast.data.corruptions.streams import streams, uniform
from shiftcast.data.readers.layouts import read_digits
from shiftcast.errors import InvalidInputError, UnknownNameError

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]
Split = Literal["train", "test"]

VERSION = 1
"""Raised whenever a planted set's bytes change; part of every draw, and what cards must state."""
CLASSES = 10
ROWS = slice(6, 8)
"""Where the line is: random crops that are shifted by four pixels keep it in the image."""
COLOURS: Bytes = np.array(
    [
        *([255, 0, 0], [255, 153, 0], [204, 255, 0], [51, 255, 0], [0, 255, 102]),
        *([0, 255, 255], [0, 102, 255], [51, 0, 255], [204, 0, 255], [255, 0, 153]),
    ],
    dtype=np.uint8,
)
"""Red, green and blue of each class: ten hues, evenly spaced, of full saturation."""

TRANSFORMS: dict[str, tuple[Shortcut, Literal["next", "random", "none"]]] = {
    "line_moved": ("coloured-line", "next"),
    "line_random": ("coloured-line", "random"),
    "line_gone": ("coloured-line", "none"),
    "digit_moved": ("dominoes", "next"),
    "digit_random": ("dominoes", "random"),
    "digit_gone": ("dominoes", "none"),
}
"""By name, the shortcut and what it shows: the next class, any class at random, or nothing at all."""


def plant(images: Bytes, labels: Whole, kind: Shortcut, agreement: float, split: Split) -> Bytes:
    """Return a source's images with the shortcut.

    Parameters
    ----------
    images
        uint8 (n, 32, 32, 3).
    labels
        Class indices (n,), below 10.
    kind
        The shortcut.
    agreement
        Share of the images whose shortcut shows their own class, each drawn on its own, 0 to 1.
    split
        Which draws, and whose handwriting.

    Returns
    -------
    uint8 (n, 32, 32, 3).
    """
    words = _words(f"{kind}|{split}", len(images))
    # All three draws are made whatever comes of them: none moves another.
    agrees = uniform(words[:, 0]) < agreement
    other = (labels + 1 + (words[:, 1] % np.uint64(CLASSES - 1)).astype(np.int64)) % CLASSES
    return _drawn(images, np.where(agrees, labels, other), kind, split, words[:, 2])


def transform(images: Bytes, labels: Whole, name: str, index: Whole) -> Bytes:
    """Return test images, as they were before anything was planted, with the shortcut of a target.

    Parameters
    ----------
    images
        uint8 (n, 32, 32, 3).
    labels
        Class indices (n,), below 10.
    name
        A key of `TRANSFORMS`.
    index
        Each image's position in the test set (n,), which its draws depend on.

    Returns
    -------
    uint8 (n, 32, 32, 3).

    Raises
    ------
    UnknownNameError
        If no transform has that name.
    """
    if name not in TRANSFORMS:
        raise UnknownNameError("transform", name, TRANSFORMS)
    kind, shows = TRANSFORMS[name]
    if shows == "none":
        return images.copy() if kind == "coloured-line" else _stacked(np.zeros_like(images), images)
    words = streams(name, 1, np.asarray(index, dtype=np.int64), 2, f"planted-{VERSION}")
    shown = (labels + 1) % CLASSES if shows == "next" else (words[:, 0] % np.uint64(CLASSES)).astype(np.int64)
    return _drawn(images, shown, kind, "test", words[:, 1])


def _words(name: str, count: int) -> NDArray[np.uint64]:
    return streams(name, 1, np.arange(count), 3, f"planted-{VERSION}")


def _drawn(images: Bytes, shown: Whole, kind: Shortcut, split: Split, words: NDArray[np.uint64]) -> Bytes:
    if images.shape[1:] != (32, 32, 3) or not len(shown) or shown.max() >= CLASSES:
        raise InvalidInputError(
            f"shortcuts are planted in uint8 images (n, 32, 32, 3) of {CLASSES} classes, got {images.shape}"
        )
    if kind == "coloured-line":
        marked = images.copy()
        marked[:, ROWS] = COLOURS[shown][:, None, None]
        return marked
    digits, places = _digits(split)
    chosen = np.empty(len(shown), dtype=np.int64)
    for label, positions in enumerate(places):
        mine = shown == label
        chosen[mine] = positions[(words[mine] % np.uint64(len(positions))).astype(np.int64)]
    return _stacked(digits[chosen], images)


@lru_cache(maxsize=2)
def _digits(split: Split) -> tuple[Bytes, list[Whole]]:
    """Return handwritten digits, uint8 (n, 32, 32, 3), and the positions of each."""
    digits = read_digits(split)
    return digits.images, [np.flatnonzero(digits.labels == label) for label in range(CLASSES)]


def _stacked(upper: Bytes, lower: Bytes) -> Bytes:
    """Return images (n, 32, 32, 3) of two, each squeezed to half its height by averaging pairs of rows."""
    halves = [(image[:, 0::2].astype(np.uint16) + image[:, 1::2] + 1) // 2 for image in (upper, lower)]
    return np.concatenate(halves, axis=1).astype(np.uint8)

"""Corruptions of images of any size, at strengths scaled from those that were chosen for 32 x 32 images.

These are not the corruptions of CIFAR-10-C, nor those of ImageNet-C: their names begin with `scaled_`, and
no figure on one belongs beside a figure on another. With r = (shorter side) / 32, lengths in pixels grow by
r, so that an image seen at one size looks equally blurred. Deviations of noise grow by the square root of r:
by r they would clip most values of large images, and unchanged they would average out over the pixels of an
edge. What is no length and no noise stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shiftcast.data.corruptions.blur import SIDE
from shiftcast.data.corruptions.geometric import Bytes
from shiftcast.data.corruptions.registry import TRANSFORMS
from shiftcast.data.corruptions.streams import Floats, Words, streams, uniform
from shiftcast.data.corruptions.weather import plasma, veil
from shiftcast.errors import InvalidInputError

PREFIX = "scaled_"
USED = (1, 3, 5)
"""Severities that a model is shown."""

_SCALES: dict[str, Callable[[Any, float], Any]] = {
    "gaussian_noise": lambda deviation, r: deviation * r**0.5,
    "gaussian_blur": lambda pixels, r: pixels * r,
    "contrast": lambda factor, _: factor,
    "fog": lambda strength, _: strength,
    "shot_noise": lambda photons, r: max(round(photons / r), 1),
    "brightness": lambda added, _: added,
    "speckle_noise": lambda deviation, r: deviation * r**0.5,
    "saturate": lambda strength, _: strength,
    "impulse_noise": lambda share, r: min(share * r**0.5, 1.0),
    "pixelate": lambda factor, r: factor ** (r**0.5),
}
SCALED = tuple(_SCALES)
"""Types in the order in which they are taken; the first four are of all four kinds."""


def scaled_sets(types: int) -> list[tuple[str, int]]:
    """Return the type and severity of each set that is made of the first `types` types.

    Raises
    ------
    InvalidInputError
        If there are not so many.
    """
    if not 1 <= types <= len(SCALED):
        raise InvalidInputError(
            f"corrupt: expected how many of {len(SCALED)} types to use, from 1, got {types}"
        )
    return [(name, severity) for name in SCALED[:types] for severity in USED]


def corrupt_scaled(images: Bytes, name: str, severity: int, index: NDArray[np.int64]) -> Bytes:
    """Alter images of any size by one type at one severity.

    Parameters
    ----------
    images
        uint8 (n, H, W, 3), each side at least 2.
    name
        One of `SCALED`.
    severity
        1 to 5.
    index
        Position of each image in its set (n,), at least 0: all that its random numbers depend on beside
        the version, name and severity.

    Returns
    -------
    uint8 (n, H, W, 3); an image's result depends on its own row only.
    """
    transform, (height, width) = TRANSFORMS[name], images.shape[1:3]
    strength = _SCALES[name](transform.strengths[severity - 1], min(height, width) / SIDE)
    noise = transform.kind == "noise"
    if noise and height % 2 and width % 2:  # normal variates are made in pairs
        images = np.pad(images, ((0, 0), (0, 1), (0, 0), (0, 0)), mode="edge")
    words = streams(PREFIX + name, severity, index, images[0].size if noise else transform.words)
    if name == "fog":
        return _fog(images, strength, words)
    return transform.apply(images, strength, words)[:, :height]


def _fog(images: Bytes, strength: tuple[float, float], words: Words) -> Bytes:
    """Lay the clouds of 32 x 32 images over larger ones, enlarged."""
    thickness, decay = strength
    size = images.shape[2], images.shape[1]
    clouds: Floats = np.stack(
        [
            np.asarray(Image.fromarray(cloud.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
            for cloud in plasma(uniform(words), decay)
        ]
    ).astype(np.float64)
    return veil(images, thickness, np.clip(clouds, 0.0, 1.0))

"""Geometric shifts of our own making, with Pillow; not part of the published CIFAR-10-C.

Pure functions on images and parameters: which angle an image gets is decided in `corruptions`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]


def border_colour(images: Bytes) -> Bytes:
    """Return each image's median border colour per channel.

    Parameters
    ----------
    images
        uint8 (n, H, W, 3), H and W at least 2.

    Returns
    -------
    uint8 (n, 3): the lower median over the outermost ring of pixels, so that a value that occurs
    is returned and nothing is rounded.
    """
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    ring = np.sort(np.concatenate(sides, axis=1), axis=1)
    colours: Bytes = ring[:, (ring.shape[1] - 1) // 2]
    return colours


def rotate(images: Bytes, angles: NDArray[np.float64]) -> Bytes:
    """Rotate each image about its centre, bilinear, size kept.

    Parameters
    ----------
    images
        uint8 (n, H, W, 3).
    angles
        Degrees (n,), counter-clockwise.

    Returns
    -------
    uint8 (n, H, W, 3). What comes from outside the image is filled with its median border colour
    (`border_colour`): black on digits, a plausible background on photographs, where black corners
    would be an edge that no photograph has.
    """
    rotated = np.empty_like(images)
    colours = border_colour(images)
    for i, (image, angle) in enumerate(zip(images, angles, strict=True)):
        red, green, blue = colours[i].tolist()
        turned = Image.fromarray(image).rotate(
            float(angle), resample=Image.Resampling.BILINEAR, fillcolor=(red, green, blue)
        )
        rotated[i] = np.asarray(turned)
    return rotated

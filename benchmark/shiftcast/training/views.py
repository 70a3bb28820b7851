"""Eight fixed views of images, each a small change that leaves the class what it is."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.v2 import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms.v2 import functional as change

SHIFT = 2
"""Pixels of a shift."""
ZOOM = 0.9
ANGLE = 10.0
"""Degrees of a rotation."""


def views_of(pixels: Tensor) -> Iterator[Tensor]:
    """Yield eight views of images: float32 (n, H, W, 3), in grey levels.

    They are the mirror image, a shift by two pixels to the right, one down, 0.9 times the size, rotations
    by ten degrees either way, grey, and the mirror image shifted to the left and up. What comes into view
    at the border is the image's own reflection; interpolation is bilinear.

    Parameters
    ----------
    pixels
        uint8 (n, H, W, 3).
    """
    images = pixels.permute(0, 3, 1, 2).float()
    mirrored = change.horizontal_flip(images)
    for view in (
        mirrored,
        _shifted(images, right=SHIFT, down=0),
        _shifted(images, right=0, down=SHIFT),
        _turned(images, 0.0, ZOOM),
        _turned(images, ANGLE, 1.0),
        _turned(images, -ANGLE, 1.0),
        change.rgb_to_grayscale(images, num_output_channels=3),
        _shifted(mirrored, right=-SHIFT, down=-SHIFT),
    ):
        # Of its own memory, since normalising changes it in place; rows of pixels as before.
        yield view.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)


def _shifted(images: Tensor, right: int, down: int) -> Tensor:
    """Return images moved by whole pixels."""
    height, width = images.shape[-2:]
    padded = pad(images, (SHIFT, SHIFT, SHIFT, SHIFT), mode="reflect")
    top, left = SHIFT - down, SHIFT - right
    return padded[..., top : top + height, left : left + width]


def _turned(images: Tensor, angle: float, scale: float) -> Tensor:
    """Return images turned about their centre and scaled."""
    height, width = images.shape[-2:]
    # Room for the corners of a turned image, which the crop then cuts off.
    margin = min(height, width) // 4
    padded = pad(images, (margin, margin, margin, margin), mode="reflect")
    turned = change.affine(
        padded,
        angle=angle,
        translate=[0, 0],
        scale=scale,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    cropped: Tensor = change.center_crop(turned, [height, width])
    return cropped

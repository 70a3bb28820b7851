"""Colours, encodings and warps at CIFAR strengths, on images uint8 (n, 32, 32, 3) with words (n, w)."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from shiftcast.data.corruptions.blur import SIDE, stored
from shiftcast.data.corruptions.geometric import Bytes, rotate
from shiftcast.data.corruptions.streams import Floats, Words, uniform

ELASTIC_WORDS = 6 + 2 * SIDE * SIDE


def contrast(images: Bytes, strength: float, _words: Words) -> Bytes:
    """Shrink values towards the image's mean of each channel; truncated.

    In integers, because truncation after rounding error would depend on the machine: with the
    strength in twentieths p, floor((p x + (20 - p) mean) / 20) is exact.
    """
    twentieths = round(strength * 20)
    pixels = images.shape[1] * images.shape[2]
    total = images.sum(axis=(1, 2), keepdims=True, dtype=np.int64)
    blended = twentieths * pixels * images.astype(np.int64) + (20 - twentieths) * total
    shrunk: Bytes = (blended // (20 * pixels)).astype(np.uint8)
    return shrunk


def brightness(images: Bytes, strength: float, _words: Words) -> Bytes:
    """Raise the value of HSV (the highest channel); hue and saturation stay."""
    values = images / 255.0
    highest = values.max(axis=-1, keepdims=True)
    raised = np.minimum(highest + strength, 1.0)
    black = highest == 0
    return stored(np.where(black, raised, values * raised / np.where(black, 1.0, highest)))


def saturate(images: Bytes, strength: tuple[float, float], _words: Words) -> Bytes:
    """Multiply the saturation of HSV and add to it; grey, which has no hue, turns to red."""
    factor, plus = strength
    values = images / 255.0
    highest = values.max(axis=-1, keepdims=True)
    below = highest - values
    deepest = below.max(axis=-1, keepdims=True)
    saturation = np.divide(deepest, highest, out=np.zeros_like(highest), where=highest > 0)
    changed = np.clip(saturation * factor + plus, 0.0, 1.0)
    red = np.broadcast_to([0.0, 1.0, 1.0], below.shape).copy()
    hue = np.divide(below, deepest, out=red, where=deepest > 0)
    return stored(highest * (1 - changed * hue))


def pixelate(images: Bytes, strength: float, _words: Words) -> Bytes:
    """Shrink by box averaging to int(32 * strength) pixels a side and enlarge again."""
    height, width = images.shape[1:3]
    small = (int(width * strength), int(height * strength))
    box = Image.Resampling.BOX
    return _each(images, lambda image: image.resize(small, box).resize((width, height), box))


def jpeg_compression(images: Bytes, strength: int, _words: Words) -> Bytes:
    """Encode as JPEG at a quality and decode again; Pillow's default (4:2:0) subsampling."""

    def recode(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=strength, subsampling="4:2:0")
        return Image.open(stream)

    return _each(images, recode)


def elastic_transform(images: Bytes, strength: tuple[float, float, float], words: Words) -> Bytes:
    """Move three points of the image at random (an affine map), then each pixel along a smooth field.

    Both steps sample linearly, beyond the edge a mirror image: the first without and the second with
    the outermost pixels repeated.
    """
    amount, sigma, jitter = strength
    draws = 2 * uniform(words) - 1
    near, far = SIDE // 2 - SIDE // 3, SIDE // 2 + SIDE // 3
    corners = np.array([[far, far], [far, near], [near, near]], dtype=np.float64)
    moved = corners + jitter * draws[:, :6].reshape(-1, 3, 2)
    affine = np.linalg.solve(np.concatenate([moved, np.ones((len(moved), 3, 1))], axis=2), corners)
    field = draws[:, 6:].reshape(-1, 2, SIDE, SIDE)
    shifts = amount * gaussian_filter(field, (0, 0, sigma, sigma), mode="reflect", truncate=3.0)
    rows, columns = np.indices((SIDE, SIDE)).astype(np.float64)
    places = np.stack([columns, rows, np.ones((SIDE, SIDE))], axis=-1)
    warped = np.empty(images.shape)
    for row, image in enumerate(images / 255.0):
        across, down = np.moveaxis(places @ affine[row], -1, 0)
        sources = np.stack([rows + shifts[row, 1], columns + shifts[row, 0]])
        for channel in range(3):
            turned = map_coordinates(image[..., channel], [down, across], order=1, mode="mirror")
            warped[row, ..., channel] = map_coordinates(turned, sources, order=1, mode="reflect")
    return stored(warped)


def rotation(images: Bytes, strength: float, words: Words) -> Bytes:
    """Rotate by the angle, clockwise or counter-clockwise by a fair coin for each image."""
    sign: Floats = np.where(words[:, 0] >> np.uint64(63) == 1, 1.0, -1.0)
    return rotate(images, strength * sign)


def _each(images: Bytes, change: Callable[[Image.Image], Image.Image]) -> Bytes:
    changed = np.empty_like(images)
    for i, image in enumerate(images):
        changed[i] = np.asarray(change(Image.fromarray(image)))
    return changed

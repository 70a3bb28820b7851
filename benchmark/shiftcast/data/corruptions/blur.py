"""Blurs at CIFAR strengths, on images uint8 (n, 32, 32, 3) with random words (n, w)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate, gaussian_filter, zoom

from shiftcast.data.corruptions.geometric import Bytes
from shiftcast.data.corruptions.streams import Floats, Words, uniform

SIDE = 32


def stored(values: Floats) -> Bytes:
    """Return values in [0, 1] as bytes, clipped and truncated as the published arrays are.

    What is a whole number but for rounding errors counts as that number: truncating it would depend
    on the machine.
    """
    return (np.clip(values, 0.0, 1.0) * 255.0 + 1e-6).astype(np.uint8)


def smoothed(images: Floats, sigma: float) -> Floats:
    """Return images (n, H, W) or (n, H, W, C) under a normal kernel cut at four sigma; edges are repeated."""
    sigmas = (0.0, sigma, sigma, 0.0)[: images.ndim]
    result: Floats = gaussian_filter(images, sigmas, mode="nearest", truncate=4.0)
    return result


def gaussian_blur(images: Bytes, strength: float, _words: Words) -> Bytes:
    """Smooth with a normal kernel of standard deviation `strength` pixels."""
    return stored(smoothed(images / 255.0, strength))


def glass_blur(images: Bytes, strength: tuple[float, int, int], words: Words) -> Bytes:
    """Smooth, let pixels take the place of a neighbour, smooth again.

    The published code means to swap pixels, but its two assignments share memory, so that a pixel
    is copied over its neighbour, from the last row and column back to the third. Each comes from one
    place further up, left, both or neither (equally often), which has not been changed yet.
    """
    sigma, reach, rounds = strength
    blurred = stored(smoothed(images / 255.0, sigma))
    inner = SIDE - 2 * reach
    coins = uniform(words).reshape(len(images), -1, 2)[:, : rounds * inner * inner]
    steps = (coins * 2 * reach).astype(np.int64).reshape(len(images), rounds, inner, inner, 2) - reach
    rows, columns = np.indices((SIDE, SIDE))[:, 2 * reach :, 2 * reach :]
    pictures = np.arange(len(images))[:, None, None]
    for turn in range(rounds):
        moved = blurred[pictures, rows + steps[:, turn, ..., 0], columns + steps[:, turn, ..., 1]]
        blurred[:, 2 * reach :, 2 * reach :] = moved
    return stored(smoothed(blurred / 255.0, sigma))


def defocus_blur(images: Bytes, strength: tuple[float, float], _words: Words) -> Bytes:
    """Smooth with a disk of a radius (pixels) whose edge is softened by a normal kernel of three taps."""
    kernel = _disk(*strength)
    return stored(correlate(images / 255.0, kernel[None, :, :, None], mode="mirror"))


def _disk(radius: float, softness: float) -> Floats:
    reach = int(radius) + 1
    across, down = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    disk = (across**2 + down**2 <= radius**2).astype(np.float64)
    tap = np.exp(-0.5 / softness**2)
    taps = np.array([tap, 1.0, tap]) / (1 + 2 * tap)
    soft: Floats = correlate(disk / disk.sum(), taps[:, None] * taps, mode="constant")
    return soft


def motion_blur(images: Bytes, strength: tuple[int, float], words: Words) -> Bytes:
    """Smear along a line of its own angle in -45 to 45 degrees for each image; rounded."""
    angles = 90 * uniform(words)[:, 0] - 45
    return np.floor(smeared(images, strength, angles) + 0.5 + 1e-6).astype(np.uint8)


def smeared(images: NDArray[np.generic], strength: tuple[int, float], angles: Floats) -> Floats:
    """Return images smeared along a line, as ImageMagick's MotionBlurImage does.

    Parameters
    ----------
    images
        (n, H, W) or (n, H, W, C).
    strength
        Radius and standard deviation in pixels: half a normal kernel of 2 radius + 1 taps, on the
        pixels nearest to the line; edges are repeated.
    angles
        Degrees (n,), clockwise from pointing right.
    """
    radius, sigma = strength
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    radians = np.deg2rad(angles)[:, None, None]
    pictures = np.arange(len(images))[:, None, None]
    rows, columns = np.indices(images.shape[1:3])
    result = np.zeros(images.shape)
    for tap, weight in zip(taps.tolist(), weights, strict=True):
        across = np.ceil(tap * np.cos(radians) - 0.5).astype(np.int64)
        down = np.ceil(tap * np.sin(radians) - 0.5).astype(np.int64)
        source = np.clip(rows + down, 0, SIDE - 1), np.clip(columns + across, 0, SIDE - 1)
        result += weight * images[pictures, source[0], source[1]]
    return result


def zoom_blur(images: Bytes, strength: float, _words: Words) -> Bytes:
    """Average the image with itself zoomed by 1, 1.01, … up to `strength`."""
    values = images / 255.0
    factors = np.arange(1, strength, 0.01)
    total = values.copy()
    for factor in factors:
        total += zoomed(values, float(factor))
    return stored(total / (len(factors) + 1))


def zoomed(images: Floats, factor: float) -> Floats:
    """Return the middle of images (n, 32, 32) or (n, 32, 32, C), enlarged linearly."""
    matrix, channels = _zoom_matrix(factor), images.shape[3:]
    rows = np.einsum("ij,njkc->nikc", matrix, images.reshape(*images.shape[:3], -1), optimize=True)
    both: Floats = np.einsum("ij,nkjc->nkic", matrix, rows, optimize=True)
    return both.reshape(*images.shape[:3], *channels)


@lru_cache(maxsize=64)
def _zoom_matrix(factor: float) -> Floats:
    """Return the matrix (32, 32) that cuts out and enlarges one axis: of two, each is enlarged by itself."""
    inside = int(np.ceil(SIDE / factor))
    first = (SIDE - inside) // 2
    enlarged = zoom(np.eye(inside), (factor, 1), order=1)
    over = (len(enlarged) - SIDE) // 2
    matrix = np.zeros((SIDE, SIDE))
    matrix[:, first : first + inside] = enlarged[over : over + SIDE]
    return matrix

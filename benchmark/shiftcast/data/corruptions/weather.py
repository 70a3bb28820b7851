"""Weather at CIFAR strengths, on images uint8 (n, 32, 32, 3) with random words (n, w)."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from shiftcast.data.corruptions.blur import SIDE, smeared, stored, zoomed
from shiftcast.data.corruptions.geometric import Bytes
from shiftcast.data.corruptions.streams import Floats, Words, normal, uniform
from shiftcast.errors import needs_extra

GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luma (ITU-R BT.601)."""

FOG_WORDS = 3 * (1 + 4 + 16 + 64 + 256)
FROST_WORDS = 4
SNOW_WORDS = SIDE * SIDE + 1

RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32)

FROST_SIDE = 256
FROST_PANES = np.array(
    [[84, 146, 164], [203, 206, 214], [176, 186, 200], [138, 152, 166], [112, 122, 136]], dtype=np.float64
)
"""Mean colour of the five panes of frost."""
FROST_CONTRAST = np.array([18, 17, 19, 22, 35], dtype=np.float64)
"""Standard deviation of each pane's brightness, in grey levels."""


def fog(images: Bytes, strength: tuple[float, float], words: Words) -> Bytes:
    """Add a cloud made by the diamond-square algorithm, and keep each image's highest value."""
    thickness, decay = strength
    return veil(images, thickness, plasma(uniform(words), decay))


def veil(images: Bytes, thickness: float, clouds: Floats) -> Bytes:
    """Add clouds (n, H, W) in [0, 1] to images (n, H, W, 3), and keep each image's highest value."""
    values = images / 255.0
    highest = values.max(axis=(1, 2, 3), keepdims=True)
    veiled = values + thickness * clouds[..., None]
    return stored(veiled * highest / (highest + thickness))


def plasma(draws: Floats, decay: float) -> Floats:
    """Return clouds (n, 32, 32) in [0, 1] from uniforms (n, 1023), by the diamond-square algorithm.

    Starts from corners at 0 on a torus; the random part of each finer step is `decay` squared times
    smaller.
    """
    clouds = np.zeros((len(draws), SIDE, SIDE))
    step, amplitude, used = SIDE, 100.0, 0

    def mean_of(four: Floats) -> Floats:
        nonlocal used
        count = four[0].size
        noise = (2 * draws[:, used : used + count] - 1).reshape(four.shape)
        used += count
        wobbled: Floats = four / 4 + amplitude**2 * noise
        return wobbled

    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        clouds[:, half::step, half::step] = mean_of(pairs + np.roll(pairs, -1, axis=2))
        middles, corners = clouds[:, half::step, half::step], clouds[:, ::step, ::step]
        upright = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        level = middles + np.roll(middles, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        clouds[:, ::step, half::step] = mean_of(upright)
        clouds[:, half::step, ::step] = mean_of(level)
        step, amplitude = half, amplitude / decay
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    highest: Floats = clouds.max(axis=(1, 2), keepdims=True)
    return clouds / highest


Snow = tuple[float, float, float, float, int, float, float]
"""Flakes: mean, deviation, size, least value; smear: radius, deviation; share of the image."""


def snow(images: Bytes, strength: Snow, words: Words) -> Bytes:
    """Brighten towards grey and add flakes that fall in two opposite directions."""
    mean, spread, size, least, radius, sigma, share = strength
    values = images / 255.0
    flakes = mean + spread * normal(words[:, : SIDE * SIDE]).reshape(-1, SIDE, SIDE)
    flakes = zoomed(flakes, size)
    flakes[flakes < least] = 0
    angles = 90 * uniform(words[:, SIDE * SIDE]) - 135
    falling = np.floor(smeared(stored(flakes), (radius, sigma), angles) + 0.5 + 1e-6) / 255.0
    grey = (values @ GREY)[..., None] * 1.5 + 0.5
    brighter = share * values + (1 - share) * np.maximum(values, grey)
    return stored(brighter + (falling + falling[:, ::-1, ::-1])[..., None])


def frost(images: Bytes, strength: tuple[float, float], words: Words) -> Bytes:
    """Lay a piece of one of five panes of frost over each image.

    The published textures are photographs; these panes are made (`_crystals`) with colours and
    contrasts like theirs.
    """
    share, thickness = strength
    crystals = _crystals()
    draws = uniform(words)
    pane = (draws[:, 0] * len(FROST_PANES)).astype(np.int64)
    top, left = ((draws[:, k] * FROST_SIDE).astype(np.int64)[:, None] for k in (1, 2))
    rows = ((top + np.arange(SIDE)) % FROST_SIDE)[:, :, None]
    columns = ((left + np.arange(SIDE)) % FROST_SIDE)[:, None, :]
    piece = crystals[rows, columns]
    piece = np.where((draws[:, 3] < 0.5)[:, None, None], piece, piece.transpose(0, 2, 1))
    layer = FROST_PANES[pane][:, None, None, :] + (FROST_CONTRAST[pane][:, None, None] * piece)[..., None]
    return stored((share * images + thickness * np.clip(layer, 0, 255)) / 255.0)


@cache
def _crystals() -> Floats:
    """Return a periodic texture (256, 256) of needles in clumps, mean 0 and variance 1, in steps of 1/32.

    White noise is smeared along lines whose direction changes slowly over the pane, at two sizes;
    ridges stand where the result crosses zero.
    """
    seed = int.from_bytes(hashlib.sha256(b"shiftcast frost").digest()[:8], "little")
    random = np.random.Philox(key=seed)
    shape = (FROST_SIDE, FROST_SIDE)

    def noise() -> Floats:
        words: NDArray[np.uint64] = np.asarray(random.random_raw(FROST_SIDE**2), dtype=np.uint64)
        return normal(words.reshape(FROST_SIDE, FROST_SIDE))

    def slow(sigma: float) -> Floats:
        blurred: Floats = gaussian_filter(noise(), sigma, mode="wrap")
        blurred /= blurred.std()
        return blurred

    rows, columns = np.indices(shape)
    texture = np.zeros(shape)
    for reach, weight in ((9, 1.0), (5, 0.7)):
        angle = np.arctan2(slow(4.0), slow(4.0))
        grain, needles = gaussian_filter(noise(), 0.5, mode="wrap"), np.zeros(shape)
        for step in range(-reach, reach + 1):
            shifted = (
                (rows + np.rint(step * np.sin(angle)).astype(np.int64)) % FROST_SIDE,
                (columns + np.rint(step * np.cos(angle)).astype(np.int64)) % FROST_SIDE,
            )
            needles += np.exp(-0.5 * (2 * step / reach) ** 2) * grain[shifted]
        needles /= needles.std()
        texture += weight * (needles + 1.2 * np.abs(needles))
    texture += 0.8 * slow(12.0)
    texture = (texture - texture.mean()) / texture.std()
    stepped: Floats = np.rint(np.clip(texture, -3, 3) * 32) / 32
    return stepped


def spatter(images: Bytes, strength: tuple[float, float, float, float, float, int], words: Words) -> Bytes:
    """Splash water (thin drops with edges) or, at the higher severities, mud on the lens."""
    mean, spread, sigma, least, amount, muddy = strength
    values = images / 255.0
    liquid = mean + spread * normal(words).reshape(-1, SIDE, SIDE)
    liquid = gaussian_filter(liquid, (0, sigma, sigma), mode="nearest", truncate=4.0)
    liquid[liquid < least] = 0
    if muddy:
        mud = gaussian_filter((liquid > least).astype(np.float64), (0, amount, amount), mode="nearest")
        mud[mud < 0.8] = 0
        brown = np.array([63, 42, 20]) / 255.0
        return stored(values * (1 - mud[..., None]) + brown * mud[..., None])
    # Above 1, at severity 3, bytes begin anew from 0: so it is in the published arrays.
    drops = np.stack([_drops(image) for image in (liquid * 255).astype(np.int64).astype(np.uint8)])
    turquoise = np.array([175, 238, 238]) / 255.0
    return stored(values + amount * drops[..., None] * turquoise)


def _drops(liquid: Bytes) -> Floats:
    """Return how much water each pixel shows (32, 32), in [0, 1]: most where a drop's edge is near."""
    with needs_extra("train"):
        import cv2

    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    edges = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(edges, cv2.CV_8U, RELIEF)
    water: Floats = np.multiply(liquid, cv2.blur(relief, (3, 3)), dtype=np.float64)
    highest = float(water.max())
    return water / highest if highest > 0 else water

"""Image corruptions at CIFAR strengths, each image with a random stream of its own.

Strengths and semantics are those of the published CIFAR-10-C generator (Hendrycks and Dietterich,
"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019;
`make_cifar_c.py`), the random numbers are not: the arrays made here are a dataset of our own and
never the published CIFAR-10-C. `rotation` is ours altogether.

Random numbers come from Philox, keyed by (generator version, name, severity) and counted by image
position, so any subset of images equals that slice of the whole, in any order, and a new
transform changes no byte of the others. Only Philox's raw words are used, which numpy promises to
keep; normal variates are made here, because numpy may change `Generator.standard_normal`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shiftcast.data.geometric import Bytes, rotate
from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.files import canonical_json

GENERATOR_VERSION: int = 1
"""Raised whenever a transform's bytes change; part of every stream's key."""

SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)

SHAPE = (32, 32, 3)
"""Height, width and channels: the strengths are those chosen for 32 x 32 images."""

VALUES = 32 * 32 * 3

CHUNK = 512
"""Images transformed at a time: bounds the memory taken by random words (about 12 MB)."""

Words = NDArray[np.uint64]
Apply = Callable[[Bytes, float, Words], Bytes]


@dataclass(frozen=True)
class Transform:
    """One way to alter images, with its five strengths.

    Parameters
    ----------
    name
        What it is registered and seeded as.
    kind
        "corruption" (published type) or "geometric" (ours).
    strengths
        The parameter at severity 1 to 5.
    unit
        What the parameter is.
    words
        Random 64-bit words that each image gets.
    apply
        Pure function of images uint8 (n, 32, 32, 3), strength and words (n, `words`), to images
        of the same shape. An image's result depends on its own row only.
    """

    name: str
    kind: Literal["corruption", "geometric"]
    strengths: tuple[float, float, float, float, float]
    unit: str
    words: int
    apply: Apply


def uniform(words: Words) -> NDArray[np.float64]:
    """Return uniforms in [0, 1) from the 53 upper bits of random words, same shape."""
    upper: NDArray[np.float64] = (words >> np.uint64(11)).astype(np.float64)
    return upper * 2.0**-53


def normal(words: Words) -> NDArray[np.float64]:
    """Return standard normals from random words (n, even), same shape, by Box and Muller (1958)."""
    first, second = np.split(uniform(words), 2, axis=1)
    radius = np.sqrt(-2.0 * np.log1p(-first))  # 1 - first lies in (0, 1], so the logarithm is finite
    angle = 2.0 * np.pi * second
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _gaussian_noise(images: Bytes, strength: float, words: Words) -> Bytes:
    """Add normal noise to values in [0, 1]; stored by truncation, as the published arrays are."""
    noisy = images / 255.0 + strength * normal(words).reshape(images.shape)
    return (np.clip(noisy, 0.0, 1.0) * 255.0).astype(np.uint8)


def _impulse_noise(images: Bytes, strength: float, words: Words) -> Bytes:
    """Set a share of the values (each channel by itself) to 0 or 255, equally often."""
    draw = uniform(words).reshape(images.shape)
    peppered = np.where(draw < strength / 2, np.uint8(0), images)
    return np.where((draw >= strength / 2) & (draw < strength), np.uint8(255), peppered)


def _contrast(images: Bytes, strength: float, _words: Words) -> Bytes:
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


def _pixelate(images: Bytes, strength: float, _words: Words) -> Bytes:
    """Shrink by box averaging to int(32 * strength) pixels a side and enlarge again."""
    height, width = images.shape[1:3]
    small = (int(width * strength), int(height * strength))
    box = Image.Resampling.BOX
    return _each(images, lambda image: image.resize(small, box).resize((width, height), box))


def _jpeg_compression(images: Bytes, strength: float, _words: Words) -> Bytes:
    """Encode as JPEG at a quality and decode again; Pillow's default (4:2:0) subsampling."""

    def recode(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=round(strength))
        return Image.open(stream)

    return _each(images, recode)


def _rotation(images: Bytes, strength: float, words: Words) -> Bytes:
    """Rotate by the angle, clockwise or counter-clockwise by a fair coin for each image."""
    sign = np.where(words[:, 0] >> np.uint64(63) == 1, 1.0, -1.0)
    return rotate(images, strength * sign)


def _each(images: Bytes, change: Callable[[Image.Image], Image.Image]) -> Bytes:
    changed = np.empty_like(images)
    for i, image in enumerate(images):
        changed[i] = np.asarray(change(Image.fromarray(image)))
    return changed


TRANSFORMS: dict[str, Transform] = {
    transform.name: transform
    for transform in (
        Transform(
            name="gaussian_noise",
            kind="corruption",
            strengths=(0.04, 0.06, 0.08, 0.09, 0.10),
            unit="standard deviation, of a range of 1",
            words=VALUES,
            apply=_gaussian_noise,
        ),
        Transform(
            name="impulse_noise",
            kind="corruption",
            strengths=(0.01, 0.02, 0.03, 0.05, 0.07),
            unit="share of values replaced",
            words=VALUES,
            apply=_impulse_noise,
        ),
        Transform(
            name="contrast",
            kind="corruption",
            strengths=(0.75, 0.5, 0.4, 0.3, 0.15),
            unit="factor on the distance from the channel mean",
            words=0,
            apply=_contrast,
        ),
        Transform(
            name="pixelate",
            kind="corruption",
            strengths=(0.95, 0.9, 0.85, 0.75, 0.65),
            unit="factor on the side length",
            words=0,
            apply=_pixelate,
        ),
        Transform(
            name="jpeg_compression",
            kind="corruption",
            strengths=(80, 65, 58, 50, 40),
            unit="JPEG quality",
            words=0,
            apply=_jpeg_compression,
        ),
        Transform(
            name="rotation",
            kind="geometric",
            strengths=(10, 20, 30, 40, 50),
            unit="degrees, either way",
            words=1,
            apply=_rotation,
        ),
    )
}
"""Every transform by name. The order carries no meaning."""


def corrupt(images: Bytes, name: str, severity: int, index: NDArray[Any]) -> Bytes:
    """Alter images by one transform at one severity.

    Parameters
    ----------
    images
        uint8 (n, 32, 32, 3).
    name
        A key of `TRANSFORMS`.
    severity
        1 to 5.
    index
        Integers (n,), at least 0: each image's position in its base dataset, which is all that its
        random numbers depend on beside version, name and severity.

    Returns
    -------
    uint8 (n, 32, 32, 3). For any selection s,
    `corrupt(images[s], name, severity, index[s])` equals `corrupt(images, name, severity, index)[s]`.

    Raises
    ------
    UnknownNameError
        If no transform has that name.
    InvalidInputError
        If an array has another type, shape or length, or the severity is outside 1..5.
    """
    if name not in TRANSFORMS:
        raise UnknownNameError("transform", name, TRANSFORMS)
    transform = TRANSFORMS[name]
    _check_severity(severity)
    _check_images(images)
    positions = _checked_index(index, len(images))
    strength = transform.strengths[severity - 1]
    result = np.empty_like(images, order="C")
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        words = streams(name, severity, positions[part], transform.words)
        result[part] = transform.apply(np.ascontiguousarray(images[part]), strength, words)
    return result


def streams(name: str, severity: int, index: NDArray[np.int64], count: int) -> Words:
    """Return the first `count` random words of each image's stream, uint64 (n, count).

    The Philox key is the first 128 bits of SHA-256 over (version, name, severity) as canonical
    JSON. The image's position is the third of the four counter words, so that each stream has
    2**128 blocks before it would meet the next.
    """
    text = canonical_json([GENERATOR_VERSION, name, int(severity)])
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u8").astype(np.uint64)
    words = np.empty((len(index), count), dtype=np.uint64)
    if count:
        for row, position in zip(words, index.tolist(), strict=True):
            counter = np.array([0, 0, position, 0], dtype=np.uint64)
            row[:] = np.random.Philox(key=key, counter=counter).random_raw(count)
    return words


def _check_severity(severity: int) -> None:
    integer = isinstance(severity, int | np.integer) and not isinstance(severity, bool)
    if not integer or severity not in SEVERITIES:
        raise InvalidInputError(f"severity: expected an integer from 1 to 5, got {severity!r}")


def _check_images(images: Bytes) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        came = getattr(images, "dtype", type(images).__name__)
        raise InvalidInputError(f"images: expected a uint8 array, got {came}")
    if images.ndim != 4 or images.shape[1:] != SHAPE:
        raise InvalidInputError(f"images: expected shape (n, 32, 32, 3), got {images.shape}")


def _checked_index(index: NDArray[Any], n: int) -> NDArray[np.int64]:
    positions = np.asarray(index)
    if not np.issubdtype(positions.dtype, np.integer):
        raise InvalidInputError(f"index: expected integers, got dtype {positions.dtype}")
    if positions.shape != (n,):
        raise InvalidInputError(
            f"index: expected a position for each image, shape ({n},), got {positions.shape}"
        )
    if n and positions.min() < 0:
        raise InvalidInputError(f"index: expected positions of at least 0, got {int(positions.min())}")
    return positions.astype(np.int64)

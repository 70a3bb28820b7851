"""Image corruptions at CIFAR strengths, each image with a random stream of its own.

Strengths and semantics are those of the published CIFAR-10-C generator (Hendrycks and Dietterich,
"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019;
`make_cifar_c.py`), the random numbers are not: the arrays made here are a dataset of our own and
never the published CIFAR-10-C. The panes of `frost` are made, not photographed. `rotation` is ours
altogether, and `jpeg_75` is one encoding without severities.

A stream is keyed by transform and severity and counted by image position (`streams`), so any subset
of images equals that slice of the whole, and a new transform changes no byte of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shiftcast.data.corruptions import blur as blurs
from shiftcast.data.corruptions import digital, weather
from shiftcast.data.corruptions import noise as noises
from shiftcast.data.corruptions.geometric import Bytes
from shiftcast.data.corruptions.streams import GENERATOR_VERSION, Words, streams
from shiftcast.errors import InvalidInputError, UnknownNameError

__all__ = ["CORRUPTIONS", "GENERATOR_VERSION", "SEVERITIES", "TRANSFORMS", "Transform", "corrupt"]

SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)

SHAPE = (32, 32, 3)
"""Height, width and channels: the strengths are those chosen for 32 x 32 images."""

VALUES = 32 * 32 * 3

CHUNK = 512
"""Images transformed at a time: bounds the memory taken by random words (about 12 MB)."""

Apply = Callable[[Bytes, Any, Words], Bytes]


@dataclass(frozen=True)
class Transform:
    """One way to alter images, with its strengths.

    Parameters
    ----------
    name
        What it is registered and seeded as.
    kind
        "noise", "blur", "weather" or "digital" (published types), "geometric" or "encoding" (ours).
    strengths
        The parameter, or tuple of parameters, at each severity from 1.
    words
        Random 64-bit words that each image gets.
    apply
        Pure function of images uint8 (n, 32, 32, 3), strength and words (n, `words`), to images
        of the same shape. An image's result depends on its own row only.
    """

    name: str
    kind: Literal["noise", "blur", "weather", "digital", "geometric", "encoding"]
    strengths: tuple[Any, ...]
    words: int
    apply: Apply

    @property
    def severities(self) -> tuple[int, ...]:
        """Severities that it has: 1 to 5, or 1 alone."""
        return SEVERITIES[: len(self.strengths)]


# Above each is what its strengths are.
_ALL = (
    # standard deviation, of a range of 1
    Transform("gaussian_noise", "noise", (0.04, 0.06, 0.08, 0.09, 0.10), VALUES, noises.gaussian_noise),
    # photons for full brightness
    Transform("shot_noise", "noise", (500, 250, 100, 75, 50), VALUES, noises.shot_noise),
    # share of values replaced
    Transform("impulse_noise", "noise", (0.01, 0.02, 0.03, 0.05, 0.07), VALUES, noises.impulse_noise),
    # standard deviation, as a share of the value
    Transform("speckle_noise", "noise", (0.06, 0.1, 0.12, 0.16, 0.2), VALUES, noises.speckle_noise),
    # standard deviation in pixels
    Transform("gaussian_blur", "blur", (0.4, 0.6, 0.7, 0.8, 1.0), 0, blurs.gaussian_blur),
    # radius of the disk and softness of its edge, in pixels
    Transform(
        "defocus_blur",
        "blur",
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        0,
        blurs.defocus_blur,
    ),
    # standard deviation in pixels, reach of a move, rounds of moves
    Transform(
        "glass_blur",
        "blur",
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        2 * 2 * 30 * 30,
        blurs.glass_blur,
    ),
    # radius and standard deviation in pixels
    Transform(
        "motion_blur", "blur", ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)), 1, blurs.motion_blur
    ),
    # end of the range of zoom factors
    Transform("zoom_blur", "blur", (1.06, 1.11, 1.16, 1.21, 1.26), 0, blurs.zoom_blur),
    # flakes: mean, deviation, size, least value; smear: radius, deviation; share of the image
    Transform(
        "snow",
        "weather",
        (
            (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
        ),
        weather.SNOW_WORDS,
        weather.snow,
    ),
    # share of the image, share of the frost
    Transform(
        "frost",
        "weather",
        ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        weather.FROST_WORDS,
        weather.frost,
    ),
    # thickness, decay of detail
    Transform(
        "fog",
        "weather",
        ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        weather.FOG_WORDS,
        weather.fog,
    ),
    # liquid: mean, deviation, smoothing, least value; amount of water or smoothing of mud; mud?
    Transform(
        "spatter",
        "weather",
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1.0, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        32 * 32,
        weather.spatter,
    ),
    # added to the value of HSV, of a range of 1
    Transform("brightness", "digital", (0.05, 0.1, 0.15, 0.2, 0.3), 0, digital.brightness),
    # factor on the distance from the channel mean
    Transform("contrast", "digital", (0.75, 0.5, 0.4, 0.3, 0.15), 0, digital.contrast),
    # factor on the saturation of HSV and what is added
    Transform(
        "saturate",
        "digital",
        ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
        0,
        digital.saturate,
    ),
    # amount and smoothness of the field, reach of the affine map, in pixels
    Transform(
        "elastic_transform",
        "digital",
        (
            (0.0, 0.0, 2.56),
            (1.6, 6.4, 2.24),
            (2.56, 1.92, 1.92),
            (3.2, 1.28, 1.6),
            (3.2, 0.96, 0.96),
        ),
        digital.ELASTIC_WORDS,
        digital.elastic_transform,
    ),
    # factor on the side length
    Transform("pixelate", "digital", (0.95, 0.9, 0.85, 0.75, 0.65), 0, digital.pixelate),
    # JPEG quality
    Transform("jpeg_compression", "digital", (80, 65, 58, 50, 40), 0, digital.jpeg_compression),
    # degrees, either way
    Transform("rotation", "geometric", (10, 20, 30, 40, 50), 1, digital.rotation),
    # JPEG quality
    Transform("jpeg_75", "encoding", (75,), 0, digital.jpeg_compression),
)

TRANSFORMS: dict[str, Transform] = {transform.name: transform for transform in _ALL}
"""Every transform by name. The order carries no meaning."""

CORRUPTIONS: tuple[str, ...] = tuple(
    one.name for one in _ALL if one.kind in ("noise", "blur", "weather", "digital")
)
"""The 19 published types."""


def corrupt(images: Bytes, name: str, severity: int, index: NDArray[Any]) -> Bytes:
    """Alter images by one transform at one severity.

    Parameters
    ----------
    images
        uint8 (n, 32, 32, 3).
    name
        A key of `TRANSFORMS`.
    severity
        1 to 5 (1 for what has no severities).
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
        If an array has another type, shape or length, or the transform has no such severity.
    """
    if name not in TRANSFORMS:
        raise UnknownNameError("transform", name, TRANSFORMS)
    transform = TRANSFORMS[name]
    _check_severity(transform, severity)
    _check_images(images)
    positions = _checked_index(index, len(images))
    strength = transform.strengths[severity - 1]
    result = np.empty_like(images, order="C")
    # Any size of chunk gives the same bytes: an image depends on its own words alone.
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        words = streams(name, severity, positions[part], transform.words)
        result[part] = transform.apply(np.ascontiguousarray(images[part]), strength, words)
    return result


def _check_severity(transform: Transform, severity: int) -> None:
    integer = isinstance(severity, int | np.integer) and not isinstance(severity, bool)
    if not integer or severity not in transform.severities:
        last = transform.severities[-1]
        expected = f"an integer from 1 to {last}" if last > 1 else f"1, the only one of {transform.name}"
        raise InvalidInputError(f"severity: expected {expected}, got {severity!r}")


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

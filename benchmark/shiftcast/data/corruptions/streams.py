"""Random numbers of images: one counter-based stream for each transform, severity and image.

Random numbers come from Philox, keyed by (generator version, name, severity) and counted by image
position, so any subset of images equals that slice of the whole, in any order, and a new
transform changes no byte of the others. Only Philox's raw words are used, which numpy promises to
keep; variates are made here, because numpy may change those of `Generator`.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr

from shiftcast.util.hashing import canonical_json

GENERATOR_VERSION: int = 1
"""Raised whenever a transform's bytes change; part of every stream's key."""

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]


def streams(
    name: str, severity: int, index: NDArray[np.int64], count: int, version: int | str = GENERATOR_VERSION
) -> Words:
    """Return the first `count` random words of each image's stream, uint64 (n, count).

    The Philox key is the first 128 bits of SHA-256 over (version, name, severity) as canonical
    JSON. The image's position is the third of the four counter words, so that each stream has
    2**128 blocks before it would meet the next.
    """
    text = canonical_json([version, name, int(severity)])
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u8").astype(np.uint64)
    words = np.empty((len(index), count), dtype=np.uint64)
    if count:
        for row, position in zip(words, index.tolist(), strict=True):
            counter = np.array([0, 0, position, 0], dtype=np.uint64)
            row[:] = np.random.Philox(key=key, counter=counter).random_raw(count)
    return words


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


def poisson(means: Floats, words: Words) -> NDArray[np.int64]:
    """Return Poisson variates from random words, same shape, by inverting the distribution function.

    Parameters
    ----------
    means
        Mean of each variate, of the shape of `words`; few different ones (each costs a table).
    words
        Random words.
    """
    levels, level = np.unique(means, return_inverse=True)
    draws, variates = uniform(words).ravel(), np.empty(means.size, dtype=np.int64)
    order = np.argsort(level.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(level.ravel(), minlength=len(levels)))
    for mean, places in zip(levels, np.split(order, ends[:-1]), strict=True):
        counts = np.arange(int(mean + 12 * np.sqrt(mean)) + 24)  # beyond lies less than 2**-53
        variates[places] = np.searchsorted(pdtr(counts, mean), draws[places], side="right")
    return variates.reshape(means.shape)

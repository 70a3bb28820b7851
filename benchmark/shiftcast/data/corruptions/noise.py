"""Noise at CIFAR strengths, on images uint8 (n, 32, 32, 3) with random words (n, w)."""

from __future__ import annotations

import numpy as np

from shiftcast.data.corruptions.geometric import Bytes
from shiftcast.data.corruptions.streams import Words, normal, poisson, uniform


def gaussian_noise(images: Bytes, strength: float, words: Words) -> Bytes:
    """Add normal noise to values in [0, 1]; stored by truncation, as the published arrays are."""
    noisy = images / 255.0 + strength * normal(words).reshape(images.shape)
    return (np.clip(noisy, 0.0, 1.0) * 255.0).astype(np.uint8)


def speckle_noise(images: Bytes, strength: float, words: Words) -> Bytes:
    """Add normal noise in proportion to each value; truncated."""
    noisy = images / 255.0 * (1.0 + strength * normal(words).reshape(images.shape))
    return (np.clip(noisy, 0.0, 1.0) * 255.0).astype(np.uint8)


def shot_noise(images: Bytes, strength: int, words: Words) -> Bytes:
    """Count photons: Poisson with a mean of `strength` times the value in [0, 1]; truncated."""
    photons = poisson(images / 255.0 * strength, words.reshape(images.shape))
    return np.minimum(photons * 255 // strength, 255).astype(np.uint8)


def impulse_noise(images: Bytes, strength: float, words: Words) -> Bytes:
    """Set a share of the values (each channel by itself) to 0 or 255, equally often."""
    draw = uniform(words).reshape(images.shape)
    peppered = np.where(draw < strength / 2, np.uint8(0), images)
    return np.where((draw >= strength / 2) & (draw < strength), np.uint8(255), peppered)

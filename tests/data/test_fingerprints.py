"""The fingerprint is the hash of the arrays and of nothing else."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from shiftcast.data import fingerprint
from shiftcast.errors import InvalidInputError

IMAGES = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)


def test_is_sha256_of_pixels_then_labels():
    pixels = bytes(range(72))
    assert fingerprint(IMAGES) == hashlib.sha256(pixels).hexdigest()
    labels = struct.pack("<2q", 7, 258)
    assert fingerprint(IMAGES, np.array([7, 258])) == hashlib.sha256(pixels + labels).hexdigest()


def test_memory_layout_and_integer_type_do_not_matter():
    planes = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    expected = fingerprint(IMAGES, np.array([1, 2]))
    assert fingerprint(planes, np.array([1, 2], dtype=">i4")) == expected
    assert fingerprint(np.asfortranarray(IMAGES), np.array([1, 2], dtype=np.uint8)) == expected


def test_order_and_labels_matter():
    digests = {
        fingerprint(IMAGES),
        fingerprint(IMAGES[::-1]),
        fingerprint(IMAGES, np.array([0, 1])),
        fingerprint(IMAGES, np.array([1, 0])),
    }
    assert len(digests) == 4


@pytest.mark.parametrize("images", [IMAGES.astype(float), IMAGES[0]])
def test_other_images_are_refused(images):
    with pytest.raises(InvalidInputError, match="images: expected uint8"):
        fingerprint(images)


@pytest.mark.parametrize("labels", [np.zeros(2), np.zeros(3, int), np.zeros((2, 1), int)])
def test_other_labels_are_refused(labels):
    with pytest.raises(InvalidInputError, match="labels: expected integers"):
        fingerprint(IMAGES, labels)

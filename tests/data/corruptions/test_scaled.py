"""Corruptions of images of any size."""

import numpy as np
import pytest
from PIL import Image

from shiftcast.data.corruptions.registry import corrupt
from shiftcast.data.corruptions.scaled import SCALED, USED, corrupt_scaled, scaled_sets
from shiftcast.errors import InvalidInputError


def images(side, n=3):
    """Smooth images, the same at every size."""
    random = np.random.RandomState(0).randint(40, 216, (n, 12, 12, 3)).astype(np.uint8)
    size, filter_ = (side, side), Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(one).resize(size, filter_)) for one in random])


@pytest.mark.parametrize("name", SCALED)
def test_any_size_and_any_part_of_the_images(name):
    for shape in ((8, 9), (7, 9), (64, 48)):
        given = np.random.RandomState(1).randint(0, 256, (4, *shape, 3)).astype(np.uint8)
        changed = corrupt_scaled(given, name, 3, np.arange(4))
        assert changed.shape == given.shape
        assert changed.dtype == np.uint8
        assert (changed != given).any() or (name == "gaussian_blur" and min(shape) < 32)
        np.testing.assert_array_equal(corrupt_scaled(given[2:], name, 3, np.array([2, 3])), changed[2:])


@pytest.mark.parametrize("name", ["gaussian_blur", "contrast", "brightness", "saturate", "pixelate"])
def test_what_draws_nothing_is_the_published_one_at_32_pixels(name):
    given = images(32)
    for severity in USED:
        expected = corrupt(given, name, severity, np.arange(3))
        np.testing.assert_array_equal(corrupt_scaled(given, name, severity, np.arange(3)), expected)


def test_lengths_grow_with_the_side_and_noise_with_its_root():
    small, large = images(32), images(128)
    drawn = [
        corrupt_scaled(one, "gaussian_noise", 1, np.arange(3)) - one.astype(float) for one in (small, large)
    ]
    assert drawn[1].std() / drawn[0].std() == pytest.approx(2, abs=0.1)
    blurred = [corrupt_scaled(one, "gaussian_blur", 5, np.arange(3)).astype(float) for one in (small, large)]
    shrunk = blurred[1].reshape(3, 32, 4, 32, 4, 3).mean(axis=(2, 4))
    assert np.abs(shrunk - blurred[0]).mean() < 0.2 * np.abs(blurred[0] - small).mean()


def test_as_many_types_as_there_are():
    assert scaled_sets(1) == [("gaussian_noise", 1), ("gaussian_noise", 3), ("gaussian_noise", 5)]
    assert len(scaled_sets(len(SCALED))) == 3 * len(SCALED)
    with pytest.raises(InvalidInputError, match="how many of 10 types"):
        scaled_sets(0)

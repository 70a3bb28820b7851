"""Corruptions: streams, strengths and stored bytes.

`golden.npz` holds what version 1 makes of two synthetic images. After raising `GENERATOR_VERSION`
make it again with `python tests/data/test_corruptions.py`.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import kstest

from shiftcast.data import GENERATOR_VERSION, SEVERITIES, TRANSFORMS, Transform, corrupt
from shiftcast.data.corruptions.registry import CHUNK, CORRUPTIONS
from shiftcast.data.corruptions.streams import normal, streams, uniform
from shiftcast.errors import InvalidInputError, UnknownNameError

GOLDEN = Path(__file__).with_name("golden.npz")
GOLDEN_INDEX = np.array([0, 9999])
GOLDEN_SEVERITIES = (1, 5)


def synthetic(n):
    """Return n patterned images (n, 32, 32, 3), made by integer arithmetic: gradients and stripes."""
    image, row, column, channel = np.ogrid[:n, :32, :32, :3]
    smooth = 4 * row * (channel + 1) // 2 + 3 * column + 17 * image
    stripes = 60 * ((row + column * (image + 1)) // 5 % 2)
    return ((smooth + stripes) % 256).astype(np.uint8)


IMAGES = synthetic(40)
INDEX = np.arange(40)
GREY = np.full((200, 32, 32, 3), 128, np.uint8)


def distance(images, changed):
    return np.abs(changed.astype(float) - images).mean()


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(TRANSFORMS)),
    severity=st.sampled_from(SEVERITIES),
    chosen=st.lists(st.integers(0, 39), max_size=6),
)
def test_any_selection_equals_that_slice_of_the_whole(name, severity, chosen):
    severity = min(severity, len(TRANSFORMS[name].strengths))
    whole = corrupt(IMAGES, name, severity, INDEX)
    part = corrupt(IMAGES[chosen], name, severity, INDEX[chosen])
    assert part.dtype == np.uint8
    assert (part == whole[chosen]).all()


def test_chunks_leave_no_seams():
    images = np.repeat(IMAGES, 14, axis=0)[: CHUNK + 3]
    index = np.arange(len(images)) + 77
    whole = corrupt(images, "gaussian_noise", 2, index)
    tail = corrupt(images[CHUNK - 2 :], "gaussian_noise", 2, index[CHUNK - 2 :])
    assert (whole[CHUNK - 2 :] == tail).all()


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        (name, severity)
        for name, one in sorted(TRANSFORMS.items())
        for severity in GOLDEN_SEVERITIES
        if severity in one.severities
    ],
)
def test_golden_slices_hold(name, severity):
    assert GENERATOR_VERSION == 1
    with np.load(GOLDEN, allow_pickle=False) as golden:
        expected = golden[f"{name}-{severity}"].astype(int)
    difference = np.abs(corrupt(synthetic(2), name, severity, GOLDEN_INDEX) - expected)
    # Across machines: one grey level, on a thousandth of the values.
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


def test_images_severities_and_transforms_have_different_noise():
    words = [
        streams(name, severity, np.array([position]), 8).tobytes()
        for name in TRANSFORMS
        for severity in SEVERITIES
        for position in (0, 1, 2, 9999)
    ]
    assert len(set(words)) == len(words)
    noise = corrupt(GREY[:50], "gaussian_noise", 5, np.arange(50)).reshape(50, -1)
    correlation = np.corrcoef(noise)[np.triu_indices(50, 1)]
    assert np.abs(correlation).max() < 0.09  # five standard errors of 3,072 values


def test_a_registry_addition_changes_no_byte(monkeypatch):
    before = {name: corrupt(IMAGES, name, one.severities[-1], INDEX) for name, one in TRANSFORMS.items()}
    others = dict(TRANSFORMS)
    extra = Transform("aaa_first", "digital", (1, 2, 3, 4, 5), 5, lambda images, *_: images)
    for name in list(TRANSFORMS):
        monkeypatch.delitem(TRANSFORMS, name)
    monkeypatch.setitem(TRANSFORMS, extra.name, extra)
    for name in reversed(others):
        monkeypatch.setitem(TRANSFORMS, name, others[name])
    assert (corrupt(IMAGES, "aaa_first", 1, INDEX) == IMAGES).all()
    for name, expected in before.items():
        assert (corrupt(IMAGES, name, others[name].severities[-1], INDEX) == expected).all()


def test_streams_are_the_documented_philox():
    key = np.frombuffer(hashlib.sha256(b'[1,"rotation",4]').digest()[:16], "<u8")
    expected = np.random.Philox(key=key.astype(np.uint64), counter=123 << 128).random_raw(6)
    assert (streams("rotation", 4, np.array([123]), 6)[0] == expected).all()


def test_extreme_words_give_finite_variates():
    words = np.array([[0, 2**64 - 1, 0, 2**64 - 1]], dtype=np.uint64)
    assert uniform(words).min() == 0
    assert uniform(words).max() < 1
    assert np.isfinite(normal(words)).all()


def test_normals_are_normal():
    values = normal(streams("gaussian_noise", 1, np.arange(20), 3072)).ravel()
    assert kstest(values, "norm").pvalue > 1e-3
    half = values.reshape(20, 2, 1536)
    assert abs(np.corrcoef(half[:, 0].ravel(), half[:, 1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize(
    "name",
    [
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "speckle_noise",
        "gaussian_blur",
        "contrast",
        "brightness",
        "jpeg_compression",
        "fog",
    ],
)
def test_severity_is_monotone(name):
    """Of the other types the published settings are known not to be: they are left as they are."""
    distances = [distance(IMAGES, corrupt(IMAGES, name, severity, INDEX)) for severity in SEVERITIES]
    assert distances[0] > 0
    assert (np.diff(distances) > 0).all()


@pytest.mark.parametrize(("severity", "strength"), list(enumerate((0.04, 0.06, 0.08, 0.09, 0.10), 1)))
def test_gaussian_noise_has_the_published_strength(severity, strength):
    noisy = corrupt(GREY, "gaussian_noise", severity, np.arange(200)).astype(float)
    assert noisy.std() / 255 == pytest.approx(strength, rel=0.01)
    # Truncation, as in the published arrays, lowers the mean by half a grey level.
    assert noisy.mean() == pytest.approx(127.5, abs=0.15)


@pytest.mark.parametrize(("severity", "amount"), list(enumerate((0.01, 0.02, 0.03, 0.05, 0.07), 1)))
def test_impulse_noise_replaces_the_published_share(severity, amount):
    noisy = corrupt(GREY, "impulse_noise", severity, np.arange(200))
    values = noisy.size
    error = 5 * np.sqrt(amount / 2 / values)
    assert (noisy == 0).mean() == pytest.approx(amount / 2, abs=error)
    assert (noisy == 255).mean() == pytest.approx(amount / 2, abs=error)
    assert set(np.unique(noisy)) == {0, 128, 255}
    # Each channel by itself: whole pixels are almost never replaced.
    assert (noisy != 128).all(axis=3).mean() < amount / 10


@pytest.mark.parametrize(("severity", "factor"), list(enumerate((0.75, 0.5, 0.4, 0.3, 0.15), 1)))
def test_contrast_shrinks_towards_the_mean_of_each_channel(severity, factor):
    means = IMAGES.mean(axis=(1, 2), keepdims=True)
    exact = (IMAGES - means) * factor + means
    changed = corrupt(IMAGES, "contrast", severity, INDEX)
    below = exact - changed
    assert below.min() > -1e-9
    assert below.max() < 1


def test_contrast_leaves_a_flat_image_as_it_is():
    assert (corrupt(GREY, "contrast", 5, np.arange(200)) == GREY).all()


@pytest.mark.parametrize(("severity", "side"), list(enumerate((30, 28, 27, 24, 20), 1)))
def test_pixelate_leaves_side_by_side_blocks(severity, side):
    changed = corrupt(IMAGES[:3], "pixelate", severity, INDEX[:3])
    for image, original in zip(changed, IMAGES, strict=False):
        small = Image.fromarray(original).resize((side, side), Image.Resampling.BOX)
        assert (np.asarray(small.resize((32, 32), Image.Resampling.BOX)) == image).all()


@pytest.mark.parametrize(("severity", "quality"), list(enumerate((80, 65, 58, 50, 40), 1)))
def test_jpeg_has_the_published_quality(severity, quality):
    stream = io.BytesIO()
    Image.fromarray(IMAGES[7]).save(stream, "JPEG", quality=quality)
    changed = corrupt(IMAGES[7:8], "jpeg_compression", severity, INDEX[7:8])
    assert (changed[0] == np.asarray(Image.open(stream))).all()


def test_rotation_turns_either_way_by_the_stated_angle():
    # A bright bar from the centre to the right; where its mass lies gives the angle.
    image = np.zeros((200, 32, 32, 3), np.uint8)
    image[:, 15:17, 16:30] = 255
    row, column = np.mgrid[:32, :32] - 15.5
    for severity, degrees in zip(SEVERITIES, (10, 20, 30, 40, 50), strict=True):
        turned = corrupt(image, "rotation", severity, np.arange(200))[..., 0].astype(float)
        angles = np.degrees(np.arctan2(-(turned * row).sum(axis=(1, 2)), (turned * column).sum(axis=(1, 2))))
        assert np.abs(np.abs(angles) - degrees).max() < 2
        assert 65 < (angles > 0).sum() < 135


def test_rotation_fills_with_the_median_border_colour():
    image = np.full((1, 32, 32, 3), (200, 100, 50), np.uint8)
    image[:, 8:24, 8:24] = 0
    turned = corrupt(image, "rotation", 5, np.array([0]))[0]
    assert turned[0, 0].tolist() == turned[31, 31].tolist() == [200, 100, 50]


def test_the_input_is_left_alone():
    images = IMAGES.copy()
    for name, one in TRANSFORMS.items():
        corrupt(images, name, one.severities[-1], INDEX)
    assert (images == IMAGES).all()


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_no_images_and_other_memory_orders_work(name):
    assert corrupt(IMAGES[:0], name, 1, INDEX[:0]).shape == (0, 32, 32, 3)
    planes = np.ascontiguousarray(IMAGES[:4].transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    severity = TRANSFORMS[name].severities[-1]
    assert (
        corrupt(planes, name, severity, INDEX[:4]) == corrupt(IMAGES[:4], name, severity, INDEX[:4])
    ).all()


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="did you mean gaussian_noise"):
        corrupt(IMAGES, "gausian_noise", 1, INDEX)


@pytest.mark.parametrize("severity", [0, 6, -1, 2.0, True, "1"])
def test_other_severities_are_refused(severity):
    with pytest.raises(InvalidInputError, match="severity: expected an integer from 1 to 5"):
        corrupt(IMAGES, "contrast", severity, INDEX)


@pytest.mark.parametrize(
    "images", [IMAGES / 255, IMAGES.astype(np.int64), IMAGES[0], IMAGES[:, :28, :28], IMAGES[..., :1], [[1]]]
)
def test_other_images_are_refused(images):
    with pytest.raises(InvalidInputError, match="images: expected"):
        corrupt(images, "contrast", 1, INDEX[: len(images)])


@pytest.mark.parametrize("index", [INDEX[:-1], INDEX - 1, INDEX.astype(float), INDEX[:, None]])
def test_other_indices_are_refused(index):
    with pytest.raises(InvalidInputError, match="index: expected"):
        corrupt(IMAGES, "contrast", 1, index)


def test_what_has_one_severity_refuses_others():
    with pytest.raises(InvalidInputError, match="severity: expected 1, the only one of jpeg_75, got 2"):
        corrupt(IMAGES, "jpeg_75", 2, INDEX)


def test_nineteen_types_are_the_published_ones():
    assert len(CORRUPTIONS) == 19
    assert not {"rotation", "jpeg_75"} & set(CORRUPTIONS)
    assert all(TRANSFORMS[name].severities == SEVERITIES for name in CORRUPTIONS)


if __name__ == "__main__":
    slices = {
        f"{name}-{severity}": corrupt(synthetic(2), name, severity, GOLDEN_INDEX)
        for name, one in TRANSFORMS.items()
        for severity in GOLDEN_SEVERITIES
        if severity in one.severities
    }
    np.savez_compressed(GOLDEN, allow_pickle=False, **slices)

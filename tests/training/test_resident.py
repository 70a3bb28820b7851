"""The resident loader against slow loops over single images."""

import numpy as np
import pytest
import torch

from shiftcast.errors import InvalidInputError
from shiftcast.training.resident import Augmentation, Draws, ResidentImages, channel_statistics, epoch_seed

MEAN, STD = (100.0, 120.0, 140.0), (50.0, 60.0, 70.0)
SEEDS = {"order_seed": 1, "augmentation_seed": 2, "epoch": 0}
PLAIN = Augmentation(MEAN, STD)


@pytest.fixture
def images():
    return np.random.RandomState(0).randint(0, 256, (50, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def data(images):
    return ResidentImages(images, np.arange(50))


def whole_epoch(data, batch_size=16, **options):
    seeds = {name: options.pop(name, value) for name, value in SEEDS.items()}
    batches = list(data.batches(batch_size, Augmentation(MEAN, STD, **options), **seeds))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def slow_image(image, top, left, flip, centre, padding, cutout):
    """One image the plain way: pad, crop, mirror, normalise, blank; float (3, 32, 32)."""
    padded = np.zeros((32 + 2 * padding, 32 + 2 * padding, 3), np.uint8)
    padded[padding : padding + 32, padding : padding + 32] = image
    pixels = padded[top : top + 32, left : left + 32]
    if flip:
        pixels = pixels[:, ::-1]
    values = (pixels.astype(np.float64) - MEAN) / STD
    for row in range(32):
        for column in range(32):
            inside = [
                0 <= at - (c - cutout // 2) < cutout for at, c in zip((row, column), centre, strict=True)
            ]
            if all(inside):
                values[row, column] = 0
    return values.transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("padding", "flip", "cutout"), [(0, False, 0), (4, False, 0), (0, True, 0), (0, False, 8), (3, True, 5)]
)
def test_augmentation_equals_the_slow_reference(data, images, padding, flip, cutout):
    found, labels = whole_epoch(data, epoch=3, crop_padding=padding, flip=flip, cutout=cutout)
    draws = Draws.of_epoch(50, 32, 32, padding, 2, 3)
    expected = [
        slow_image(
            images[label],
            *(int(v) for v in values[:2]),
            flip and bool(values[2]),
            values[3].tolist(),
            padding,
            cutout,
        )
        for label, *values in zip(labels.tolist(), *draws, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_reflected_padding_is_numpys(data, images):
    found, labels = whole_epoch(data, epoch=1, crop_padding=3, crop_fill="reflect")
    draws = Draws.of_epoch(50, 32, 32, 3, 2, 1)
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
    expected = [
        (padded[label, top : top + 32, left : left + 32].transpose(2, 0, 1) - np.reshape(MEAN, (3, 1, 1)))
        / np.reshape(STD, (3, 1, 1))
        for label, top, left in zip(labels, draws.top, draws.left, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_alternating_flips_show_both_sides_in_two_epochs(data):
    epochs = []
    for epoch in range(3):
        found, labels = whole_epoch(data, epoch=epoch, flip="alternating")
        epochs.append(found[labels.argsort()])
    plain, labels = whole_epoch(data)
    plain = plain[labels.argsort()]
    mirrored = [(found == plain.flip(3)).all(dim=(1, 2, 3)) for found in epochs]
    assert 10 < mirrored[0].sum() < 40
    assert torch.equal(mirrored[0], ~mirrored[1])
    assert torch.equal(epochs[0], epochs[2])


def test_smaller_images_are_torchs(data):
    found, _ = whole_epoch(data, resolution=20)
    whole, _ = whole_epoch(data)
    expected = torch.nn.functional.interpolate(whole, size=(20, 20), mode="bilinear", antialias=True)
    assert found.shape == (50, 3, 20, 20)
    assert found[:16].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected)
    assert torch.equal(whole_epoch(data, resolution=32)[0], whole)


def test_order_is_a_permutation_and_changes_with_the_epoch(data):
    orders = [whole_epoch(data, epoch=epoch)[1].tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_any_epoch_can_be_replayed_alone(data, images):
    options = {"crop_padding": 4, "flip": True, "cutout": 8}
    epochs = [whole_epoch(data, epoch=epoch, **options) for epoch in range(4)]
    replayed = whole_epoch(ResidentImages(images, np.arange(50)), epoch=3, **options)
    assert all(torch.equal(a, b) for a, b in zip(epochs[3], replayed, strict=True))


def test_seeds_are_independent(data):
    options = {"crop_padding": 4}
    base = whole_epoch(data, **options)
    assert torch.equal(whole_epoch(data, **options, augmentation_seed=9)[1], base[1])
    assert not torch.equal(whole_epoch(data, **options, augmentation_seed=9)[0], base[0])
    assert not torch.equal(whole_epoch(data, **options, order_seed=9)[1], base[1])
    assert len({epoch_seed(s, e, p) for s in range(9) for e in range(9) for p in "ab"}) == 162


def test_crops_and_flips_take_every_value():
    draws = Draws.of_epoch(5000, 32, 32, 4, 0, 0)
    assert set(draws.top.tolist()) == set(draws.left.tolist()) == set(range(9))
    assert 0.47 < draws.flip.float().mean() < 0.53
    assert abs(np.corrcoef(draws.top, draws.left)[0, 1]) < 0.05


def test_cutout_blanks_a_clipped_square():
    white = ResidentImages(np.full((200, 32, 32, 3), 255, np.uint8), np.zeros(200, np.int64))
    blanked = (whole_epoch(white, cutout=8)[0] == 0).all(dim=1)
    rows, columns = blanked.any(dim=2).sum(dim=1), blanked.any(dim=1).sum(dim=1)
    assert torch.equal(blanked.sum(dim=(1, 2)), rows * columns)
    assert rows.max() == columns.max() == 8
    assert rows.min() >= 4


def test_batches_are_float32_channels_last(data):
    x, y = next(data.batches(16, PLAIN, **SEEDS))
    assert (x.shape, x.dtype, y.dtype) == ((16, 3, 32, 32), torch.float32, torch.int64)
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("n", "sizes"), [(48, [16] * 3), (50, [16] * 3 + [2]), (49, [16, 16, 17]), (5, [5]), (1, [1])]
)
def test_last_batch_is_kept_and_never_a_single_image(n, sizes):
    data = ResidentImages(np.zeros((n, 8, 8, 3), np.uint8), np.zeros(n, np.int64))
    assert data.batch_sizes(16) == sizes
    assert [len(y) for _, y in data.batches(16, PLAIN, **SEEDS)] == sizes


def test_statistics(images):
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, images.std(axis=(0, 1, 2)), rtol=1e-12)
    assert channel_statistics(np.full((2, 4, 4, 3), 7, np.uint8)) == ((7.0,) * 3, (1.0,) * 3)


def test_read_only_arrays_are_taken(images):
    images.flags.writeable = False
    assert len(ResidentImages(images, np.arange(50))) == 50


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 3)), np.zeros(2, int), "images: expected uint8"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.zeros(2, int), r"images: .*got uint8 \(2, 3, 4, 4\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0, int), "images"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3, int), r"labels: expected whole numbers \(2,\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2), "labels.*float64"),
    ],
)
def test_refusals(images, labels, message):
    with pytest.raises(InvalidInputError, match=message):
        ResidentImages(images, labels)

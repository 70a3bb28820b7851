"""RandAugment against torchvision's, mixup and CutMix by hand, and the choice of images and labels."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from shiftcast.cards.recipe import RandAugmentSpec, Recipe
from shiftcast.errors import TrainingError
from shiftcast.training.augment import Mixing, RandAugment, noisy, operations, training_set
from shiftcast.training.loop import derive_seeds
from shiftcast.training.resident import Augmentation, ResidentImages, epoch_seed, normalise

RECIPE = Recipe(
    name="tiny",
    title="",
    epochs=4,
    batch_size=16,
    optimiser="adamw",
    learning_rate=0.002,
    weight_decay=0.01,
    schedule="one-cycle",
)
SEEDS = derive_seeds("x", "tiny", 0)
SPEC = RandAugmentSpec(operations=2, magnitude=9)


def change(**values):
    return RECIPE.model_copy(update=values)


@pytest.fixture(scope="module")
def images():
    """Smooth images: noise enlarged, so that no operation leaves them as they are."""
    small = np.random.RandomState(0).randint(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    return small.repeat(4, axis=1).repeat(4, axis=2) // 2 + 100


@pytest.fixture(scope="module")
def data(images):
    return ResidentImages(images, np.arange(60) % 4)


def streams():
    _, state, position, *_ = np.random.get_state()  # noqa: NPY002 - the stream that timm draws from
    return state.tolist(), position, torch.get_rng_state().tolist()


# RandAugment


@pytest.mark.parametrize("magnitude", [9, 20])
def test_operations_are_torchvisions(images, magnitude):
    """Every outcome of torchvision's transform on an image is one of ours, and the other way round."""
    image = torch.from_numpy(images[0]).permute(2, 0, 1).contiguous()
    transform = v2.RandAugment(num_ops=1, magnitude=magnitude)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = {bytes(transform(image).numpy()) for _ in range(600)}
    found = {
        bytes(operation(image[None])[0].numpy())
        for sign in (1, -1)
        for operation in operations(magnitude, sign, 32, 32)
    }
    assert found == expected
    assert len(found) == 23  # five operations without a sign, nine with two


def test_a_batch_gets_what_its_images_get_alone(images):
    augment = RandAugment(60, SPEC, seed=1, epoch=2)
    place = slice(20, 60)
    found = augment(torch.from_numpy(images[place]), place)
    for position, image in zip(range(20, 60), found, strict=True):
        expected = torch.from_numpy(images[position : position + 1]).permute(0, 3, 1, 2)
        for kind, negative in zip(augment.kinds[:, position], augment.negative[:, position], strict=True):
            expected = operations(9, -1 if negative else 1, 32, 32)[kind](expected)
        assert torch.equal(image, expected[0].permute(1, 2, 0)), position


def test_operations_are_drawn_for_each_image_and_epoch_from_the_seed_alone():
    before = streams()
    drawn = [RandAugment(5000, SPEC, seed, epoch) for seed, epoch in [(1, 0), (1, 1), (2, 0), (1, 0)]]
    assert streams() == before
    kinds = [augment.kinds for augment in drawn]
    assert torch.equal(kinds[0], kinds[3])
    assert not torch.equal(kinds[0], kinds[1])
    assert not torch.equal(kinds[0], kinds[2])
    counts = torch.bincount(kinds[0].flatten(), minlength=14)
    assert len(counts) == 14
    assert counts.min() > 10000 / 14 * 0.8
    assert 0.47 < drawn[0].negative.float().mean() < 0.53
    assert (kinds[0][0] == kinds[0][1]).float().mean() < 0.1


def test_batches_are_changed_between_crop_and_normalisation(data, images):
    mean, std = data.statistics
    seen = []

    def darker(pixels, place):
        seen.append(place)
        return pixels // 2

    augmentation = Augmentation(mean, std, change=darker)
    batches = list(data.batches(25, augmentation, order_seed=1, augmentation_seed=2, epoch=0))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(epoch_seed(1, 0, "order")))
    assert seen == [slice(0, 25), slice(25, 50), slice(50, 60)]
    expected = normalise(torch.from_numpy(images)[order] // 2, mean, std)
    assert torch.equal(torch.cat([x for x, _ in batches]), expected)


# Mixup and CutMix


def batch(count):
    random = torch.Generator().manual_seed(count)
    images = torch.randn(count, 3, 32, 32, generator=random).contiguous(memory_format=torch.channels_last)
    return images, torch.arange(count) % 4


def one_hot(labels, smoothing=0.0):
    return torch.eye(4)[labels] * (1 - smoothing) + smoothing / 4


@pytest.mark.parametrize("count", [6, 7])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixup_by_hand(count, smoothing):
    images, labels = batch(count)
    given = images.clone()
    mixed, targets = Mixing(change(mixup=5.0, label_smoothing=smoothing), 4, seed=5)(images, labels, step=3)
    random = np.random.RandomState(divmod(epoch_seed(5, 3, "mixup"), 2**32))
    random.rand()  # timm asks first whether to mix at all
    share = random.beta(5.0, 5.0)
    assert 0.05 < share < 0.95
    partner = [5, 4, 3, 2, 1, 0]
    hot = one_hot(labels, smoothing)
    assert torch.allclose(mixed[:6], share * given[:6] + (1 - share) * given[partner], atol=1e-6)
    assert torch.allclose(targets[:6], share * hot[:6] + (1 - share) * hot[partner], atol=1e-6)
    assert torch.equal(mixed[6:], given[6:])
    assert torch.allclose(targets[6:], hot[6:], atol=1e-6)
    assert torch.equal(images, given)
    assert mixed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("count", [6, 7])
def test_cutmix_swaps_a_square_and_weighs_by_its_area(count):
    images, labels = batch(count)
    mixing = Mixing(change(cutmix=1.0), 4, seed=5)
    shares = []
    for step in range(20):
        mixed, targets = mixing(images, labels, step)
        swapped = (mixed != images).any(dim=1)
        assert torch.equal(mixed[:6][swapped[:6, None].expand(6, 3, 32, 32)], _partners(images, swapped[:6]))
        share = 1 - swapped[0].float().mean()
        assert torch.allclose(targets[0], share * one_hot(labels)[0] + (1 - share) * one_hot(labels)[5])
        assert not swapped[6:].any()
        assert torch.equal(targets[6:], one_hot(labels)[6:])
        shares.append(share)
    assert min(shares) < 0.3
    assert max(shares) > 0.7


def _partners(images, swapped):
    return images[:6].flip(0)[swapped[:, None].expand(6, 3, 32, 32)]


def test_with_both_alphas_each_batch_gets_one_of_the_two():
    images, labels = batch(8)
    mixing = Mixing(change(mixup=1.0, cutmix=1.0), 4, seed=0)
    changed = [(mixing(images, labels, step)[0] != images).float().mean() for step in range(40)]
    whole = sum(share == 1 for share in changed)
    assert 10 < whole < 30


def test_a_single_image_is_not_mixed():
    images, labels = batch(1)
    mixed, targets = Mixing(change(mixup=1.0, label_smoothing=0.2), 4, seed=0)(images, labels, 0)
    assert torch.equal(mixed, images)
    assert torch.allclose(targets, one_hot(labels, 0.2))


def test_mixing_draws_from_seed_and_step_alone():
    images, labels = batch(8)
    before = streams()
    first, other, later = (
        Mixing(change(mixup=1.0, cutmix=1.0), 4, seed)(images, labels, step)[1]
        for seed, step in [(0, 7), (1, 7), (0, 8)]
    )
    assert streams() == before
    np.random.rand()  # noqa: NPY002
    assert torch.equal(Mixing(change(mixup=1.0, cutmix=1.0), 4, 0)(images, labels, 7)[1], first)
    assert not torch.equal(first, other)
    assert not torch.equal(first, later)


# Which images and labels


def test_without_a_reason_the_images_are_those_given(data):
    assert training_set(data, RECIPE, SEEDS) is data


def test_a_part_is_stratified_and_has_statistics_of_its_own(data):
    part = training_set(data, change(train_share=0.4), SEEDS)
    assert np.bincount(part.labels).tolist() == [6, 6, 6, 6]
    assert len(np.unique(part.images.numpy(), axis=0)) == 24
    own = part.images.numpy().astype(float)
    np.testing.assert_allclose(part.statistics[0], own.mean(axis=(0, 1, 2)))
    assert part.statistics != data.statistics
    where = [int((data.images == image).all(dim=(1, 2, 3)).nonzero()) for image in part.images]
    assert torch.equal(part.labels, data.labels[where])


def test_a_part_is_that_of_its_run(data):
    recipe = change(train_share=0.5)
    first, again = (training_set(data, recipe, SEEDS).images for _ in range(2))
    other = training_set(data, recipe, derive_seeds("x", "tiny", 1)).images
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(training_set(data, change(train_share=1.0), SEEDS).images, data.images)


def test_a_part_of_less_than_two_images_is_refused(data):
    with pytest.raises(TrainingError, match=r"tiny: train_share = 0\.02 of 60 images leaves 1; expected two"):
        training_set(data, change(train_share=0.02), SEEDS)


@pytest.mark.parametrize(("share", "wrong"), [(0.4, 0.36), (1.0, 0.9)])
def test_noise_draws_labels_from_all_classes(share, wrong):
    labels = np.arange(20000) % 10
    found = noisy(labels, 10, share, seed=2**60 + 1)
    assert np.mean(found != labels) == pytest.approx(wrong, abs=0.01)
    table = np.zeros((10, 10))
    np.add.at(table, (labels, found), 1 / 2000)
    expected = (1 - share) * np.eye(10) + share / 10
    np.testing.assert_allclose(table, expected, atol=0.03)
    assert np.array_equal(labels, np.arange(20000) % 10)


def test_noise_is_that_of_its_run_and_leaves_the_images(data):
    recipe = change(label_noise=0.5)
    first, again = (training_set(data, recipe, SEEDS) for _ in range(2))
    other = training_set(data, recipe, derive_seeds("x", "tiny", 1))
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, other.labels)
    assert first.images is data.images
    assert first.statistics == data.statistics
    assert 10 <= (first.labels != data.labels).sum() <= 30
    assert torch.equal(data.labels, torch.arange(60) % 4)


def test_noise_falls_on_the_chosen_part(data):
    clean = training_set(data, change(train_share=0.5), SEEDS)
    both = training_set(data, change(train_share=0.5, label_noise=1.0), SEEDS)
    assert torch.equal(both.images, clean.images)
    assert both.statistics == clean.statistics
    assert 15 <= (both.labels != clean.labels).sum() <= 30


def test_halves_share_no_image_and_are_the_same_for_every_run():
    labels = np.arange(60) % 3
    images = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    data = ResidentImages(images, labels)
    parts = {}
    for half in ("first", "second"):
        recipe = RECIPE.model_copy(update={"train_half": half})
        one, two = (training_set(data, recipe, derive_seeds("x", "tiny", seed)) for seed in (0, 1))
        assert np.array_equal(one.source, two.source)
        assert np.bincount(one.labels.numpy()).tolist() == [10, 10, 10]
        parts[half] = set(one.source[:, 0, 0, 0].tolist())
    assert parts["first"] | parts["second"] == set(range(60))
    assert not parts["first"] & parts["second"]
    few = RECIPE.model_copy(update={"train_half": "first", "train_share": 0.5})
    chosen = training_set(data, few, derive_seeds("x", "tiny", 0))
    assert len(chosen) == 15
    assert set(chosen.source[:, 0, 0, 0].tolist()) <= parts["first"]

"""Images in, networks trained and evaluated."""

import math

import numpy as np
import pytest

from shiftcast.data import corrupt
from shiftcast.training.evaluate import Network, evaluate
from shiftcast.training.loop import derive_seeds, seeded_model, train
from shiftcast.training.resident import Augmentation, ResidentImages
from shiftcast.workspace import find_workspace
from support.workspaces import SPEED_RECIPE

BATCH, STEPS = 128, 3
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)


def images(n):
    return np.random.RandomState(0).randint(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def resident(n):
    data = ResidentImages(images(n), np.arange(n) % 10)
    _ = data.statistics
    return data


def test_resident_epoch(timed):
    data = resident(5000)
    augmentation = Augmentation(MEAN, STD, crop_padding=4, flip=True)
    seeds = {"order_seed": 0, "augmentation_seed": 0, "epoch": 0}
    work = lambda: sum(len(y) for _, y in data.batches(256, augmentation, **seeds))  # noqa: E731
    assert timed(work) > 0


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_training_steps(timed, name):
    card, seeds = find_workspace().architecture(name), derive_seeds(name, "speed", 0)
    model, data = seeded_model(card, 10, seeds.weights), resident(BATCH * STEPS)
    epochs = timed(lambda: train(model, card, data, SPEED_RECIPE, seeds, "cpu"))
    assert math.isfinite(epochs[-1].loss)


def test_evaluation(timed):
    card = find_workspace().architecture("test_resnet")
    model, sets = seeded_model(card, 10, 0), {"a": images(700), "b": images(300)}
    found = timed(lambda: evaluate(Network(model, card, MEAN, STD, "cpu"), sets, batch_size=500))
    assert [len(one) for one in found.values()] == [700, 300]


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "elastic_transform", "fog"])
def test_corruption(timed, name):
    clean, index = images(50), np.arange(50)
    assert timed(lambda: corrupt(clean, name, 3, index)).shape == clean.shape

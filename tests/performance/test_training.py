"""What the loop adds to the arithmetic that any training needs."""

import time

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from made_up import SPEED_RECIPE
from shiftcast.cards import ArchitectureCard
from shiftcast.training.loop import build_optimiser, derive_seeds, seeded_model, train
from shiftcast.training.resident import ResidentImages

BATCH, STEPS, ROUNDS = 128, 16, 4
SEEDS = derive_seeds("test_resnet", "speed", 0)
CARD = ArchitectureCard(
    name="test_resnet",
    timm="test_resnet",
    family="resnet",
    title="",
    citation="",
    parameters=373658,
    feature_map=[96, 1, 1],
    allow_collapse="as the repository's card",
)


@pytest.fixture(scope="module")
def data():
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (BATCH * STEPS, 32, 32, 3), dtype=np.uint8)
    resident = ResidentImages(images, random.randint(0, 10, len(images)))
    _ = resident.statistics  # computed once a suite, not once an epoch
    return resident


def ours(data):
    """Train one epoch and return images/s."""
    model = seeded_model(CARD, 10, SEEDS.weights)
    start = time.perf_counter()
    train(model, CARD, data, SPEED_RECIPE, SEEDS, "cpu")
    return len(data) / (time.perf_counter() - start)


def bare(data):
    """Take as many steps on one batch that lies ready and return images/s."""
    model = seeded_model(CARD, 10, SEEDS.weights)
    optimiser = build_optimiser(model, SPEED_RECIPE)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = data.labels[:BATCH]
    start = time.perf_counter()
    for _ in range(STEPS):
        loss = cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return len(data) / (time.perf_counter() - start)


def test_epoch(benchmark, data):
    benchmark.extra_info["images"] = len(data)
    benchmark.pedantic(ours, args=(data,), rounds=3, warmup_rounds=1)


def test_at_least_nine_tenths_of_a_bare_loop(data):
    ours(data), bare(data)
    speeds = [(ours(data), bare(data)) for _ in range(ROUNDS)]
    best = [max(column) for column in zip(*speeds, strict=True)]
    print(f"{best[0]:,.0f} against {best[1]:,.0f} images/s: {best[0] / best[1]:.2f}")  # noqa: T201
    assert best[0] / best[1] >= 0.9

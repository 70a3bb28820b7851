"""The real image sets, where they are: loaded, of the known edition, as their cards say.

They are looked for in SHIFTCAST_DATA. With SHIFTCAST_REQUIRE_REAL_DATA set, absence is a failure.
"""

import os

import numpy as np
import pytest

from shiftcast.data import fingerprint
from shiftcast.data.label_views import read_label_views
from shiftcast.data.loading import load_dataset, load_suite
from shiftcast.errors import MissingDataError
from shiftcast.workspace import Workspace, data_folder
from support import REPOSITORY

pytestmark = pytest.mark.real_data

WORKSPACE = Workspace(REPOSITORY, REPOSITORY)
STORED = sorted(
    name
    for name, card in WORKSPACE.datasets.items()
    if card.layout in ("arrays", "cifar10-binary") and (card.fingerprint or card.editions)
)


def load(name):
    try:
        return load_dataset(WORKSPACE.dataset(name), data_folder())
    except MissingDataError:
        if os.environ.get("SHIFTCAST_REQUIRE_REAL_DATA"):
            raise
        pytest.skip(f"{name} is not on this machine (SHIFTCAST_DATA)")


@pytest.mark.parametrize("name", STORED)
def test_a_set_is_an_edition_that_its_card_knows(name):
    card, images = WORKSPACE.dataset(name), load(name)
    assert images.images.shape == (card.n, 32, 32, 3)
    assert card.edition(fingerprint(images.images, images.labels)) in {"publisher", *card.editions}
    assert (images.labels is None) == (card.labels == "withheld")


def test_cifar10_has_its_published_balance_and_means():
    train, test = load("cifar10-train"), load("cifar10-test")
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert train.images.mean(axis=(0, 1, 2)) == pytest.approx([125.307, 122.950, 113.865], abs=0.01)


def test_the_smoke_suite_is_about_these_arrays():
    load("cifar10-train"), load("cinic10-imagenet")
    data = load_suite(WORKSPACE, WORKSPACE.suite("cifar10-smoke"), data_folder())
    assert data.edition == ""
    assert len(data.train) == 10_000
    assert data.sets["blind-a"].labels is None
    assert len(data.sets["cifar10-c-regenerated/contrast-3"]) == 1380
    assert sum(name.startswith("cifar10-c-regenerated/") for name in data.sets) == 19


def test_other_peoples_labels_are_about_these_images():
    images, card = load("cifar10-test"), WORKSPACE.dataset("cifar10-test")
    views = read_label_views(card, data_folder(), images.labels)
    if not views and not os.environ.get("SHIFTCAST_REQUIRE_REAL_DATA"):
        pytest.skip("no labels of other people are on this machine (SHIFTCAST_DATA)")
    found = {name: (int(view.kept.sum()), view.differs) for name, view in views.items()}
    assert found == {"corrected": (9964, 18), "human-majority": (10000, 79), "human-shares": (10000, 79)}
    assert views["human-shares"].accuracy(images.labels) == pytest.approx(0.9523, abs=1e-4)

"""What tests make up: workspaces, run folders that no training has made, and a recipe to time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shiftcast.cards.architecture import card_hash
from shiftcast.cards.recipe import Recipe, recipe_hash
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.data.fingerprints import DatasetUsed
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import StoredSet, encode_predictions
from shiftcast.runs.record import Epoch, Measured, RunRecord, Seeds, TargetResult
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace
from support import REPOSITORY

ARRAYS_CARD = """
title = "t"
description = "d"
layout = "arrays"
path = "tiny"
files = ["images.npy", "labels.npy"]
classes = ["a", "b"]
n = 12
shift = "natural"
citation = "c"
licence = "l"
obtain = "o"
[[downloads]]
file = "tiny.tar.gz"
urls = ["{url}"]
members = ["tiny/*"]
"""
"""The card of a dataset of twelve images in arrays, to be had at one address."""
SPEED_RECIPE = Recipe(
    name="speed",
    title="",
    epochs=1,
    batch_size=128,
    optimiser="sgd",
    learning_rate=0.01,
    weight_decay=5e-4,
    schedule="one-cycle",
    crop_padding=4,
    flip=True,
)
"""One epoch with crops and flips, for figures of speed and memory."""

TINY_SUITE = """
version = 1
title = "Tiny"
description = "A suite of seconds."
headline = "ConfusionPartition"

[source]
train = "digits-train"
test = "digits-test"
train_images = 120

[[targets]]
dataset = "digits-shifted"
transforms = ["gaussian_noise", "contrast", "rotation"]
severities = [2, 5]
images = 100

[[runs]]
architectures = ["test_resnet", "test_vit", "test_convnext"]
recipe = "tiny"
seeds = [0, 1]

[reference]
members = ["test_byobnet", "test_efficientnet", "test_resnet"]
reserves = ["test_nfnet"]
recipe = "tiny"
seed = 100
"""

TINY_RECIPE = """
title = "Two epochs"
epochs = 2
batch_size = 32
optimiser = "adamw"
learning_rate = 0.002
weight_decay = 0.01
schedule = "one-cycle"
crop_padding = 2
"""
CARDS = ("test_*", "knn_*", "random_*", "starnet_s050")
"""The architectures of a workspace that a test makes: those of the suites that tests make, and one besides.
All of them, nearly two hundred, would take longer to copy and to read than most tests take."""


def make_workspace(root: Path) -> Workspace:
    """Return a workspace with the repository's datasets, `CARDS`, suite `tiny` and recipe `tiny`."""
    shutil.copytree(REPOSITORY / "datasets", root / "datasets")
    (root / "architectures").mkdir(parents=True)
    for path in (path for names in CARDS for path in (REPOSITORY / "architectures").glob(f"{names}.toml")):
        shutil.copy(path, root / "architectures")
    for folder, text in (("suites", TINY_SUITE), ("recipes", TINY_RECIPE)):
        place = root / "benchmark" / folder
        place.mkdir(parents=True)
        (place / "tiny.toml").write_text(text)
    return Workspace(root, root)


def write_made_up(
    workspace: Workspace,
    suite: Suite,
    folder: Path,
    role: str,
    key: RunKey,
    stored: Mapping[str, StoredSet],
    datasets: Mapping[str, DatasetUsed],
    edition: str = "",
    feature_scores: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> RunRecord:
    """Write a run with these sets into its place in the suite's results folder; return its record."""
    card = workspace.architecture(key.architecture)
    recipe = workspace.resolved_recipe(key.architecture, key.recipe)
    predictions = encode_predictions(dict(stored))
    record = RunRecord(
        suite=suite.name,
        suite_version=suite.version,
        edition=edition,
        role=role,
        key=key,
        family=card.family,
        card_hash=card_hash(card),
        recipe_hash=recipe_hash(recipe),
        recipe=recipe,
        seeds=Seeds(derivation="made up", weights=1, order=2, augmentation=3),
        source=suite.source.test,
        datasets=dict(datasets),
        targets={name: TargetResult(n=len(s.logits), accuracy=s.accuracy) for name, s in stored.items()},
        epochs=[Epoch(loss=1.0, accuracy=0.5, learning_rate=0.1)],
        parameters=card.parameters,
        device="cpu",
        precision=card.precision,
        threads=1,
        packages={"numpy": np.__version__},
        git=None,
        source_hash="0" * 64,
        predictions_sha256=sha256(predictions),
        feature_scores=feature_scores or {},
        measured=Measured(train_seconds=1, evaluate_seconds=1, images_per_second=1, peak_memory_mib=1),
    )
    RunFolder(folder / key.path).write(record, predictions)
    return record

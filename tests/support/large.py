"""A results tree of a hundred runs on thirty shifts, made up, for figures of speed and memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from shiftcast.data.fingerprints import DatasetUsed
from shiftcast.data.sampling import base_index
from shiftcast.runs.outputs import store_logits
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace
from support import REPOSITORY
from support.workspaces import write_made_up

CLASSES, MEMBERS, RESERVES, RECIPE = 10, 8, 2, "plain-8"
TRANSFORMS = [
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "saturate",
    "shot_noise",
    "snow",
    "spatter",
    "speckle_noise",
    "zoom_blur",
]

CARD = """
title = "Made up {k}"
description = "Labels alone."
layout = "labels"
path = "made-up"
files = ["{k}.npy"]
classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
n = {n}
shift = "natural"
citation = "Nobody."
licence = "None"
obtain = "Make it up."
fingerprint = "{digest}"
"""
SUITE = """
version = 1
title = "Large"
description = "Made-up predictions of many models on many shifts."
headline = "ConfusionPartition"

[source]
train = "cifar10-train"
test = "cifar10-test"

{targets}
[[targets]]
dataset = "cifar10-c-regenerated"
transforms = [{transforms}]
severities = [3]
images = {n}

[[runs]]
architectures = [{architectures}]
recipe = "{recipe}"
seeds = [{seeds}]

[reference]
members = [{members}]
reserves = [{reserves}]
recipe = "{recipe}"
seed = 100
"""


def make_large(
    root: Path, architectures: int = 50, seeds: int = 2, natural: int = 11, images: int = 2000
) -> Workspace:
    """Write a workspace whose suite `large` has all its runs; return it.

    Parameters
    ----------
    root
        Where.
    architectures, seeds
        Scored runs: the product of both.
    natural
        Natural shifts, beside nineteen synthetic ones.
    images
        Images of each shift; the in-distribution set has 10,000.
    """
    shutil.copytree(REPOSITORY / "architectures", root / "architectures")
    shutil.copytree(REPOSITORY / "datasets", root / "datasets")
    shutil.copytree(REPOSITORY / "benchmark" / "recipes", root / "benchmark" / "recipes")
    (root / "benchmark" / "suites").mkdir()
    known = Workspace(root, root).architectures
    first = {card.family: name for name, card in sorted(known.items(), reverse=True)}
    reference = sorted(first.values())[: MEMBERS + RESERVES]
    scored = [name for name in sorted(known) if name not in reference][:architectures]

    labels = {f"natural-{k}": np.random.RandomState(k).randint(CLASSES, size=images) for k in range(natural)}
    for name, own in labels.items():
        digest = sha256(own.astype("<i8").tobytes())
        (root / "datasets" / f"{name}.toml").write_text(CARD.format(k=name, n=images, digest=digest))
    (root / "benchmark" / "suites" / "large.toml").write_text(
        SUITE.format(
            targets="\n".join(f'[[targets]]\ndataset = "{name}"\n' for name in labels),
            transforms=_quoted(TRANSFORMS),
            n=images,
            architectures=_quoted(scored),
            seeds=", ".join(map(str, range(seeds))),
            members=_quoted(reference[:MEMBERS]),
            reserves=_quoted(reference[MEMBERS:]),
            recipe=RECIPE,
        )
    )
    workspace = Workspace(root, root)
    labels = {"cifar10-test": np.random.RandomState(99).permutation(10_000) % CLASSES, **labels}
    for target in workspace.suite("large").unfolded_targets():
        if target.derived:
            labels[target.id] = labels["cifar10-test"][base_index(target, labels["cifar10-test"], 0)]
    _write_runs(workspace, labels)
    return workspace


def _write_runs(workspace: Workspace, labels: dict[str, np.ndarray]) -> None:
    """Write every run: images have a difficulty that all models share, and models a skill of their own."""
    suite = workspace.suite("large")
    keys = [("scored", key) for key in suite.scored_runs()]
    keys += [("reference", key) for key in suite.reference_runs()]
    shared = {}
    for place, (name, own) in enumerate(labels.items()):
        random = np.random.RandomState(place)
        noise = random.normal(size=(len(own), CLASSES)).astype(np.float32)
        margin = random.uniform(0, 5, len(own)) * (1 if name == "cifar10-test" else random.uniform(0.3, 0.9))
        noise[np.arange(len(own)), own] += margin
        shared[name] = noise
    random = np.random.RandomState(7)
    pool = random.normal(size=(4_000_000 + CLASSES * max(map(len, labels.values())))).astype(np.float32)
    for role, key in keys:
        skill, stored = 0.8 + 0.4 * random.uniform(), {}
        for name, common in shared.items():
            start = random.randint(4_000_000)
            logits = skill * common + pool[start : start + common.size].reshape(common.shape)
            stored[name] = store_logits(name, logits, labels[name])
        used = {
            name: DatasetUsed(fingerprint="0" * 64, edition="publisher", n=len(one.logits))
            for name, one in stored.items()
        }
        write_made_up(workspace, suite, workspace.results() / suite.name, role, key, stored, used)


def _quoted(names) -> str:
    return ", ".join(f'"{name}"' for name in names)

"""Write the example of the documentation: outputs of a stored network, as `shiftcast estimate` reads them.

    .venv/bin/python docs/scripts/example_predictions.py [FOLDER]

The network is a ResNet of suite `cifar10-cpu`. `val.npz` holds its logits and labels on CIFAR-10's test
images, `prod.npz` its logits on photographs of CINIC-10, and `ensemble.npz` the probabilities of the suite's
reference ensemble on both. `labelled.csv` holds what `shiftcast sample` draws, 200 images, and their labels.
Only `results/` is read: no images, no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import shiftcast
from shiftcast.runs.folder import RunFolder
from shiftcast.util.arrays import softmax
from shiftcast.workspace import find_workspace

SUITE = "cifar10-cpu"
RUN = "resnet10_w64/cpu-long/seed-0"
SOURCE, TARGET = "cifar10-test", "cinic10-imagenet"


def write_example(folder: Path) -> None:
    """Write the four files into a folder."""
    workspace = find_workspace(Path(__file__).parents[2])
    suite = workspace.suite(SUITE)
    runs = workspace.results(suite) / SUITE
    _, sets = RunFolder(runs / RUN).read()
    np.savez(folder / "val.npz", logits=sets[SOURCE].logits, labels=sets[SOURCE].labels)
    np.savez(folder / "prod.npz", logits=sets[TARGET].logits)
    reference = suite.reference
    paths = [runs / name / reference.recipe / f"seed-{reference.seed}" for name in reference.members]
    members = [RunFolder(path).read()[1] for path in paths]
    stacked = {
        key: np.stack([softmax(member[name].logits.astype(np.float64)) for member in members])
        for key, name in (("source", SOURCE), ("target", TARGET))
    }
    np.savez(folder / "ensemble.npz", **{key: array.astype(np.float32) for key, array in stacked.items()})
    files = (folder / "val.npz", folder / "prod.npz")
    drawn = shiftcast.sample(*files, 200, ensemble=folder / "ensemble.npz")
    drawn["label"] = sets[TARGET].labels[drawn["row"]]
    drawn.to_csv(folder / "labelled.csv", index=False)


if __name__ == "__main__":
    write_example(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

"""A logits-only suite in a workspace of its own, and what made-up models say on its sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shiftcast.runs.folder import RunFolder
from shiftcast.submission.create import import_run, make_claim
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace

ZOO_SUITE = """
version = 1
title = "Zoo"
description = "Models of others on sets whose images nobody here has."
headline = "ATC-MC"

[source]
test = "zoo-test"

[[targets]]
dataset = "zoo-street"

[[targets]]
dataset = "zoo-night"
level = "optional"
"""
ZOO_CARD = """
title = "Labels alone"
description = "Made up."
layout = "labels"
path = "zoo"
files = ["{name}.npy"]
classes = ["cat", "dog", "emu", "fox"]
n = {n}
shift = "{shift}"
citation = "Nobody."
licence = "None"
obtain = "Make it up."
fingerprint = "{digest}"
"""
ZOO_SETS = {"zoo-test": ("none", 240), "zoo-street": ("natural", 160), "zoo-night": ("natural", 120)}


class Zoo:
    """A logits-only suite in a workspace of its own, and what made-up models say on its sets."""

    def __init__(self, root: Path, data: Path, images: int | None = None) -> None:
        """Write cards and labels; `images` is the size of every set, None for sizes of their own."""
        self.root, self.data = root, data
        self.labels = {}
        for place, (name, (shift, n)) in enumerate(ZOO_SETS.items()):
            n = images or n
            labels = np.random.RandomState(place).randint(0, 4, n)
            self.labels[name] = labels
            (data / "zoo").mkdir(parents=True, exist_ok=True)
            np.save(data / "zoo" / f"{name}.npy", labels)
            digest = sha256(labels.astype("<i8").tobytes())
            card = ZOO_CARD.format(name=name, n=n, shift=shift, digest=digest)
            (root / "datasets" / f"{name}.toml").write_text(card)
        self.write()

    def write(self, extra: str = "") -> None:
        """Write the suite with further keys."""
        (self.root / "benchmark" / "suites" / "zoo.toml").write_text(ZOO_SUITE + extra)

    @property
    def workspace(self) -> Workspace:
        """The cards as they are now."""
        return Workspace(self.root, self.root)

    @property
    def results(self) -> Path:
        return self.root / "results"

    def logits(self, seed: int, skill: float = 1.5) -> dict[str, np.ndarray]:
        """Logits (n, 4) on every set; the later a set, the worse."""
        random, found = np.random.RandomState(seed), {}
        for place, (name, labels) in enumerate(self.labels.items()):
            found[name] = random.normal(size=(len(labels), 4)).astype(np.float32)
            found[name][np.arange(len(labels)), labels] += skill / (1 + 0.5 * place)
        return found

    def classes(self, seed: int, skill: float = 1.5) -> dict[str, np.ndarray]:
        """Class indices (n,) on every set."""
        return {name: one.argmax(axis=1) for name, one in self.logits(seed, skill).items()}

    def submit(self, name: str, sets: dict[str, np.ndarray], family: str = "net", seed: int = 0) -> RunFolder:
        """Submit outputs as a run."""
        file = self.root / f"{name}.npz"
        np.savez(file, **sets)
        claim = make_claim(self.workspace, name, seed, family, None, "")
        return import_run(self.workspace, self.workspace.suite("zoo"), file, claim, self.results).place

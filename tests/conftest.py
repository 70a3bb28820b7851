"""Workspaces, runs and predictions that tests make for themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from made_up import make_workspace, write_made_up
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.data.loading import SuiteData, edition_tag, load_suite
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import results_folder
from shiftcast.runs.outputs import store_logits
from shiftcast.runs.record import RunRecord
from shiftcast.submission.create import import_run, make_claim
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")  # no test depends on how fast the machine is


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints of a test stay in its own folder."""
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace of its own, as `make_workspace` makes it."""
    return make_workspace(tmp_path / "workspace")


@dataclass(frozen=True)
class Template:
    """What one suite `tiny` is made of: its arrays, and made-up runs of all that it names."""

    workspace: Workspace
    data: SuiteData
    results: Path

    @property
    def suite(self) -> Suite:
        return self.workspace.suite("tiny")

    @cached_property
    def runs(self) -> Path:
        """The suite's folder, its runs written the first time that it is asked for."""
        write_runs(self.workspace, self.data, self.results)
        return results_folder(self.results, self.suite, "")


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """What tests get copies of, never the thing itself."""
    folder = tmp_path_factory.mktemp("template")
    workspace = make_workspace(folder / "workspace")
    data = load_suite(workspace, workspace.suite("tiny"), folder)
    return Template(workspace, data, folder / "results")


@pytest.fixture
def tiny_data(workspace: Workspace, tmp_path: Path, tiny_template: Template) -> SuiteData:
    """The arrays of suite `tiny`."""
    suite = workspace.suite("tiny")
    if suite == tiny_template.suite:
        return deepcopy(tiny_template.data)
    return load_suite(workspace, suite, tmp_path)  # a module's own suite `tiny`


MakeResults = Callable[..., Path]


@pytest.fixture
def make_results(workspace: Workspace, tiny_data: SuiteData, tiny_template: Template) -> MakeResults:
    """Write made-up runs for every run of suite `tiny`; return the results folder.

    Each model gets a skill of its own; every image has a difficulty that all models share and that
    grows under shift, so that estimators have something to find.
    """

    def make(skip: tuple[str, ...] = ()) -> Path:
        suite = workspace.suite("tiny")
        results = workspace.results(suite)
        if suite == tiny_template.suite:
            copy_runs(tiny_template, results, skip)
        else:
            write_runs(workspace, tiny_data, results, skip)
        return results

    return make


def all_runs(suite: Suite) -> list[tuple[str, RunKey]]:
    scored = [("scored", key) for key in suite.scored_runs()]
    return scored + [("reference", key) for key in suite.reference_runs()]


def write_runs(workspace: Workspace, data: SuiteData, results: Path, skip: tuple[str, ...] = ()) -> None:
    for number, (role, key) in enumerate(all_runs(workspace.suite("tiny"))):
        if str(key) not in skip:
            write_run(workspace, data, results, key, role, number)


def copy_runs(template: Template, results: Path, skip: tuple[str, ...]) -> None:
    """Copy runs that `write_runs` has written; files are new ones, with times of their own."""
    folder = results_folder(results, template.suite, "")
    for _, key in all_runs(template.suite):
        if str(key) not in skip:
            place = folder / key.path
            place.mkdir(parents=True, exist_ok=True)
            for path in (template.runs / key.path).iterdir():
                shutil.copyfile(path, place / path.name)


def write_run(
    workspace: Workspace, data: SuiteData, results: Path, key: RunKey, role: str, number: int
) -> RunRecord:
    suite = workspace.suite("tiny")
    stored = {}
    for position, (name, images) in enumerate(data.sets.items()):
        shared = np.random.RandomState(position)
        own = np.random.RandomState(1000 + 100 * number + position)
        n = len(images)
        margin = (2.0 + 0.2 * number) * shared.uniform(0.0 if position else 0.3, 1.5, n)
        logits = own.normal(size=(n, 10)) + shared.normal(size=(n, 10))
        logits[np.arange(n), images.labels] += 1.5 * margin
        stored[name] = store_logits(name, logits, images.labels)
    folder = results_folder(results, suite, "")
    scores = {name: feature_scores(1 - (one.accuracy or 0)) for name, one in stored.items()}
    edition = edition_tag(suite, data.used)
    return write_made_up(workspace, suite, folder, role, key, stored, data.used, edition, scores)


def feature_scores(distance: float) -> dict[str, dict[str, float]]:
    """Return what an evaluation would write: farther sets are less dispersed, each part a bit apart."""
    return {
        f"{fitted}/{part}": {"Dispersion": 2 - distance - 0.01 * place, "FrechetDistance": distance}
        for place, (fitted, part) in enumerate([("all", "all"), *product("AB", repeat=2)])
    }


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

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self.data = root, data
        self.labels = {}
        for place, (name, (shift, n)) in enumerate(ZOO_SETS.items()):
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


@pytest.fixture
def zoo(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    """A logits-only suite without any run."""
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "data"))
    return Zoo(workspace.root, tmp_path / "data")

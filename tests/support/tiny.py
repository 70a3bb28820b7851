"""Made-up runs of suite `tiny`, written to a results folder or copied from a template."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from shiftcast.cards.suite import RunKey, Suite
from shiftcast.data.loading import SuiteData, edition_tag
from shiftcast.runs.layout import results_folder
from shiftcast.runs.outputs import store_logits
from shiftcast.runs.record import RunRecord
from shiftcast.workspace import Workspace
from support.workspaces import write_made_up


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

"""Workspaces, runs and predictions that tests make for themselves."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import settings

from shiftcast.board.tables import SuiteScores
from shiftcast.data.loading import SuiteData, load_suite
from shiftcast.workspace import Workspace
from support import SLOW, TESTS
from support.quick_boards import draw_nothing, use_few_estimators
from support.scores import build
from support.tiny import Template, copy_runs, write_runs
from support.workspaces import make_workspace
from support.zoo import Zoo

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")  # no test depends on how fast the machine is


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Have each process of tests compute in one thread: there is one for every core already."""
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{name}_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of these folders and files."""
    slow = [TESTS / name for name in SLOW]
    for item in items:
        if any(item.path.is_relative_to(path) for path in slow):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints of a test stay in its own folder; output has no width but what a test gives it."""
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace of its own, as `make_workspace` makes it."""
    return make_workspace(tmp_path / "workspace")


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


@pytest.fixture
def zoo(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    """A logits-only suite without any run."""
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "data"))
    return Zoo(workspace.root, tmp_path / "data")


@pytest.fixture(scope="session")
def make_scores() -> Callable[..., SuiteScores]:
    """Make a suite's scores of seeded random numbers."""
    return build


@pytest.fixture(scope="session")
def scores() -> SuiteScores:
    """A suite's scores of seeded random numbers."""
    return build()


@pytest.fixture
def few_estimators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards of few estimators, for tests that are not about them."""
    use_few_estimators(monkeypatch)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards whose pictures are not drawn, for tests that do not look at them."""
    draw_nothing(monkeypatch)

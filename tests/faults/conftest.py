"""The harness, and a server of the dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import faults.harness
import faults.states


@pytest.fixture(scope="session")
def harness() -> ModuleType:
    """How commands are killed and what they leave is compared."""
    return faults.harness


@pytest.fixture(scope="session")
def states() -> ModuleType:
    """What commands start from."""
    return faults.states


@pytest.fixture(scope="session")
def url(states: ModuleType) -> Iterator[str]:
    """The address of a server of a dataset."""
    with states.served() as address:
        yield address


@pytest.fixture(scope="session")
def forge(harness: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The process that runs commands."""
    with harness.Forge(tmp_path_factory.mktemp("forge")) as started:
        yield started


@pytest.fixture
def start(forge: Any, states: ModuleType, url: str) -> Callable[[str], Path]:
    """Fill the folder in which commands run with what one of them starts from; return it."""

    def fill(name: str) -> Path:
        shutil.rmtree(forge.folder, ignore_errors=True)
        states.prepare(name, forge.folder, url)
        return Path(forge.folder)

    return fill


@pytest.fixture(scope="session")
def known() -> dict[str, dict[str, str]]:
    """What commands leave, by name, as far as it is known."""
    return {}


@pytest.fixture
def undisturbed(
    harness: ModuleType, states: ModuleType, forge: Any, start: Callable[[str], Path], known: dict[str, Any]
) -> Callable[[str], dict[str, str]]:
    """Return what a command leaves where nothing goes wrong; the first time, it is run."""

    def run(name: str) -> dict[str, str]:
        if name not in known:
            folder = start(name)
            assert forge.run(states.COMMANDS[name])["code"] == 0, forge.said.read_text()
            known[name] = harness.snapshot(folder)
        return dict(known[name])

    return run

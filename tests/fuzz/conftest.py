"""The readers that are fuzzed."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(scope="session")
def fuzzing() -> SimpleNamespace:
    """What `readers.py` holds."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("readers.py"))))


@pytest.fixture(scope="session")
def readers(fuzzing: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Every reader by name."""
    found: Mapping[str, Any] = fuzzing.make_readers(tmp_path_factory.mktemp("readers"))
    return found

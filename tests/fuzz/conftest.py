"""The readers that are fuzzed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fuzz.readers import Reader, make_readers


@pytest.fixture(scope="session")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Reader]:
    """Every reader by name."""
    return make_readers(tmp_path_factory.mktemp("readers"))

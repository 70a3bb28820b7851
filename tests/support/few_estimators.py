"""Boards of few estimators, for tests that are not about them: all of them take seconds a board."""

from __future__ import annotations

import pytest

from shiftcast.estimators import official_estimators

QUICK = ("NoShift", "AC", "ATC-MC", "ConfusionPartition", "AgreementShift", "ALine-S", "Entropy", "MeanShift")
"""Estimators of every track that take next to no time."""


def use_few_estimators(patch: pytest.MonkeyPatch) -> None:
    """Score boards, candidates' rivals and registers with these alone."""
    chosen = {name: one for name, one in official_estimators().items() if name in QUICK}
    for module in ("board.assemble", "board.candidate", "blind.register"):
        patch.setattr(f"shiftcast.{module}.official_estimators", lambda: dict(chosen))

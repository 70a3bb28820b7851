"""Boards that are made in little time, for tests that are about neither estimators nor pictures."""

from __future__ import annotations

import pytest

from shiftcast.estimators import official_estimators
from shiftcast.leaderboard.figures.picture import Picture

QUICK = ("NoShift", "AC", "ATC-MC", "ConfusionPartition", "AgreementShift", "ALine-S", "Entropy", "MeanShift")
"""Estimators of every track that take next to no time."""


def use_few_estimators(patch: pytest.MonkeyPatch) -> None:
    """Score boards, candidates' rivals and registers with few estimators: all take seconds a board."""
    chosen = {name: one for name, one in official_estimators().items() if name in QUICK}
    for module in ("board.assemble", "board.candidate", "blind.register"):
        patch.setattr(f"shiftcast.{module}.official_estimators", lambda: dict(chosen))


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Let pictures hold nothing but the hash of their data: to draw one takes half a second."""

    def draw(picture: Picture) -> str:
        return f'<!-- data-sha256: {picture.hash} -->\n<svg font=""/>\n'

    patch.setattr("shiftcast.leaderboard.figures.draw.draw", draw)

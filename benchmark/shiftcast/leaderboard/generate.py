"""The leaderboard as files: made from scores, written atomically, and checked for drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shiftcast.scores import SuiteScores


def generate(all_scores: Sequence[SuiteScores], results: Path, out: Path) -> dict[Path, str]:
    """Return the text of every file of the leaderboard by its path relative to the root."""
    raise NotImplementedError


def write(files: Mapping[Path, str], root: Path) -> None:
    """Write the files below `root` atomically."""
    raise NotImplementedError


def check(files: Mapping[Path, str], root: Path) -> list[str]:
    """Return the lines that say how the files below `root` differ; empty when they do not."""
    raise NotImplementedError


def tidy_csv(scores: SuiteScores) -> str:
    """Return the table of predictions as CSV."""
    raise NotImplementedError

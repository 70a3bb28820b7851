"""Which suites have stored runs, and whether a run still is what its suite asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.workspace import Workspace


def results_folder(results: Path, suite: Suite, edition: str) -> Path:
    """Return the folder of a suite's runs: `SUITE/`, or `SUITE@EDITION/` for other arrays."""
    return results / (f"{suite.name}@{edition}" if edition else suite.name)


def stored_suites(workspace: Workspace, results: Path) -> list[tuple[Suite, str]]:
    """Return each suite and edition that has a folder in `results`, in order of name.

    Raises
    ------
    RunError
        If a folder holds runs of a suite that has no card.
    InvalidInputError
        If there is none.
    """
    found = []
    for folder in sorted(path for path in results.glob("*") if path.is_dir()):
        name, _, edition = folder.name.partition("@")
        if name in workspace.suites:
            found.append((workspace.suites[name], edition))
        elif any(folder.glob("*/*/seed-*/run.json")):
            raise RunError(
                f"{folder}: holds runs of a suite {name!r}, which has no file in "
                f"{workspace.root / 'benchmark/suites'}; add the suite or move the folder away"
            )
    if not found:
        raise InvalidInputError(f"{results}: holds no results; make some with: shiftcast run quickstart")
    return found


SHAPE = "SUITE/ARCHITECTURE/RECIPE/seed-N"


SEED = re.compile(r"seed-(0|[1-9][0-9]{0,8})")


RUNS_BELOW = ("*/*/*/seed-*", "*/*/seed-*", "*/seed-*", "seed-*")
"""Where runs are below the folder of results, of a suite, of an architecture and of a recipe."""


RUN_FILES = ("run.json", "predictions.safetensors")


@dataclass(frozen=True)
class Place:
    """A run's folder.

    Parameters
    ----------
    path
        The folder.
    label
        Name of the folder of its suite: `SUITE`, or `SUITE@EDITION`.
    key
        Which run it should hold.
    """

    path: Path
    label: str
    key: RunKey

"""Which suites have stored runs, and whether a run still is what its suite asks for."""

from __future__ import annotations

from pathlib import Path

from shiftcast.cards import RunKey, Suite, card_hash, recipe_hash
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs import RunRecord
from shiftcast.workspace import Workspace


def results_folder(results: Path, suite: Suite, edition: str) -> Path:
    """Return the folder of a suite's runs: `SUITE/`, or `SUITE@EDITION/` for other arrays."""
    return results / (f"{suite.name}@{edition}" if edition else suite.name)


def staleness(record: RunRecord, workspace: Workspace, suite: Suite, key: RunKey, role: str) -> str:
    """Return why a run no longer is what the suite asks for, or an empty string.

    A stale run is listed, never ranked, and trained again only on request.
    """
    recipe = workspace.resolved_recipe(key.architecture, key.recipe)
    checks = {
        "it belongs to another run": (record.suite, record.key) == (suite.name, key),
        "its suite has another version now": record.suite_version == suite.version,
        "its role has changed": record.role == role,
        "its architecture card has changed": record.card_hash
        == card_hash(workspace.architecture(key.architecture)),
        "its recipe has changed": record.recipe_hash == recipe_hash(recipe),
    }
    return next((reason for reason, holds in checks.items() if not holds), "")


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

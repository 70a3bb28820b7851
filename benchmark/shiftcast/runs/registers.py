"""What stands in the registers of blind sets: predictions and estimates, each line hashed into the next.

`shiftcast.blind.register` writes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shiftcast.cards.dataset import DatasetCard
from shiftcast.errors import RunError
from shiftcast.runs.layout import register_path
from shiftcast.util.hashing import sha256


def read_register(results: Path, name: str) -> list[dict[str, Any]]:
    """Return the lines of a set's register, oldest first.

    Raises
    ------
    RunError
        If a line is no JSON object, or does not carry the hash of the line before it.
    """
    path = register_path(results, name)
    if not path.exists():
        return []
    entries, before = [], ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            chained = entry["before"] == sha256(before.encode())
            entries.append({key: entry[key] for key in entry if key != "before"} | {"time": entry["time"]})
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: line {number} is not an entry of a register: {error!r}") from error
        if not chained:
            raise RunError(f"{path}: line {number} does not follow from the one before: the file was edited")
        before = line
    return entries


def registered_estimators(results: Path, suite: str, card: DatasetCard) -> set[str]:
    """Return the estimators whose estimates for a suite were registered before a set was opened.

    Parameters
    ----------
    results
        The folder that holds the registers.
    suite
        A suite's name, with `@EDITION` where the runs have one.
    card
        The card of an opened set.
    """
    return {
        entry["estimator"]
        for entry in read_register(results, card.name)
        if entry["kind"] == "estimates" and entry["suite"] == suite and entry["time"] <= (card.opening or "")
    }

"""Registers of what was predicted about blind sets, as chains of hashes: `results/blind/NAME.jsonl`.

A line for every prediction and every estimate, each with the hash of the line before it, so that nothing
can be slipped in later. What stands at the end is guarded by whoever keeps copies of it, as git does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from shiftcast.cards.base import SELF_REPORTED
from shiftcast.cards.dataset import DatasetCard
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.estimators import Estimator, official_estimators
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import label_of, recorded_folders, register_path
from shiftcast.runs.outputs import StoredSet
from shiftcast.util.files import write_atomic
from shiftcast.util.hashing import canonical_json, hash_of, sha256, source_hash
from shiftcast.util.locks import locked
from shiftcast.util.text import now
from shiftcast.workspace import Workspace


def withheld_card(workspace: Workspace, name: str) -> DatasetCard:
    """Return the card of a set whose labels are withheld; `InvalidInputError` for any other."""
    card = workspace.dataset(name)
    if card.labels != "withheld":
        raise InvalidInputError(
            f"{name}: its labels are given; only a set whose labels are withheld can be blind"
        )
    return card


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
            raise RunError(f"{path}: line {number} is no entry of a register: {error!r}") from error
        if not chained:
            raise RunError(f"{path}: line {number} does not follow from the one before: the file was edited")
        before = line
    return entries


def open_names(workspace: Workspace) -> list[str]:
    """Return the names of the sets that are still blind."""
    return [
        name
        for name, card in workspace.datasets.items()
        if card.labels == "withheld" and not (card.seal and card.seal.opened)
    ]


def register_all(
    workspace: Workspace, results: Path, names: Iterable[str]
) -> list[tuple[str, dict[str, int]]]:
    """Register what every suite and edition says about each set; return names and new lines by kind."""
    from shiftcast.board.assemble import score_results

    tables = [
        scores.table.assign(suite=label_of(scores.suite.name, scores.edition))
        for scores in (score_results(workspace, results) if recorded_folders(results) else [])
    ]
    table = pd.concat(tables) if tables else pd.DataFrame(columns=["target", "suite", "estimator"])
    return [(name, register(workspace, results, name, table[table["target"] == name])) for name in names]


def register(workspace: Workspace, results: Path, name: str, estimates: pd.DataFrame) -> dict[str, int]:
    """Append what is new about a blind set to its register; return the new lines by kind.

    Parameters
    ----------
    workspace, results
        Where the card and the runs are.
    name
        A dataset whose labels are withheld and not yet opened.
    estimates
        Rows of `SuiteScores.table` about this target.

    Raises
    ------
    InvalidInputError
        If the set was opened: what is registered now was not made blind.
    """
    card = withheld_card(workspace, name)
    if card.seal is not None and card.seal.opened:
        raise InvalidInputError(f"{name}: was opened on {card.seal.opened}; nothing more can be registered")
    path = register_path(results, name)
    with locked(path.with_suffix(".lock"), lambda _: None):
        known = {hash_of(_identity(entry)) for entry in read_register(results, name)}
        fresh = [
            entry
            for entry in [*_prediction_entries(results, name), *_estimate_entries(estimates)]
            if hash_of(_identity(entry)) not in known
        ]
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for entry in fresh:
            before = sha256(lines[-1].encode()) if lines else sha256(b"")
            lines.append(canonical_json({**entry, "time": now(), "before": before}))
        if fresh:
            write_atomic(path, "\n".join(lines) + "\n")
    kinds = [entry["kind"] for entry in fresh]
    return {kind: kinds.count(kind) for kind in ("predictions", "estimates")}


def _identity(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes an entry another one: not when it was written, nor by which version of the code."""
    return {key: value for key, value in entry.items() if key not in ("time", "before", "code")}


def _prediction_entries(results: Path, name: str) -> Iterable[dict[str, Any]]:
    for place in runs_with(results, name):
        record, sets = place.read()
        digest = logits_hash(sets[name])
        yield {
            "kind": "predictions",
            "suite": label_of(record.suite, record.edition),
            "run": str(record.key),
            "sha256": digest,
        }


def _estimate_entries(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    ours = official_estimators()
    keys = ["architecture", "recipe", "seed", "protocol"]
    for key, rows in table.groupby(["suite", "estimator"], sort=True):
        suite, estimator = map(str, cast("tuple[str, str]", key))
        values = [
            [*(str(row[key]) for key in keys), *(f"{row[key]:.9f}" for key in ("predicted", "low", "high"))]
            for row in rows.sort_values(keys).to_dict("records")
        ]
        yield {
            "kind": "estimates",
            "suite": suite,
            "estimator": estimator,
            "configuration": _configuration(ours.get(estimator)),
            "rows": len(values),
            "sha256": hash_of(values),
            "code": source_hash(),
        }


def _configuration(estimator: Estimator | None) -> str:
    return "" if estimator is None else repr(estimator)


def logits_hash(stored: StoredSet) -> str:
    """Return the SHA-256 of a set's stored logits."""
    return sha256(np.ascontiguousarray(stored.logits).tobytes())


def runs_with(results: Path, name: str) -> list[RunFolder]:
    """Return the folders of all runs of ours that were evaluated on a set; self-reported ones are not."""
    runs = [RunFolder(path) for path in recorded_folders(results) if path.parent.name != SELF_REPORTED]
    return [run for run in runs if name in run.read_record().targets]

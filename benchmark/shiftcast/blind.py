"""Blind sets: labels are committed to before, predictions registered, and both opened once.

Sealing puts a salted hash of withheld labels into the set's card. Registering appends to
`results/blind/NAME.jsonl` a line for every prediction and every estimate about the set, each with the
hash of the line before it, so that nothing can be slipped in later. Opening checks the revealed labels
against the commitment and fills in the accuracies; everything registered before was made blind.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from shiftcast.cards import DatasetCard
from shiftcast.data.layouts import checked_labels, load_npy, require_files
from shiftcast.data.locks import locked
from shiftcast.errors import InvalidInputError, RunError, WorkspaceError
from shiftcast.estimators import Estimator, official_estimators
from shiftcast.files import canonical_json, hash_of, sha256, source_hash, write_atomic
from shiftcast.predictions import Integers
from shiftcast.runs import (
    RunFolder,
    RunRecord,
    StoredSet,
    TargetResult,
    decode_predictions,
    encode_predictions,
    true_ranks,
)
from shiftcast.workspace import EMBEDDED, Workspace

SALT_BYTES = 32


def commitment(salt: bytes, labels: Integers) -> str:
    """Return the SHA-256 of a salt followed by labels (n,) as little-endian int64."""
    return hashlib.sha256(salt + np.ascontiguousarray(labels, dtype="<i8").tobytes()).hexdigest()


def now() -> str:
    """Return the time as `2026-01-31T12:00:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def salt_path(labels: Path) -> Path:
    """Return where the salt of a labels file is kept: beside it, and as secret."""
    return labels.with_name(f"{labels.name}.salt")


def card_path(workspace: Workspace, name: str) -> Path:
    """Return a card's file, to be edited; `WorkspaceError` if it is the installed package's."""
    if workspace.root == EMBEDDED:
        raise WorkspaceError(
            "the cards in use are those of the installed package, which are read-only; run this in a "
            "checkout of the repository, or name one with --workspace"
        )
    return workspace.root / "datasets" / f"{name}.toml"


def seal(workspace: Workspace, name: str, labels: Path) -> str:
    """Commit to the labels of a blind set; return the commitment.

    The card gains `[seal]`; the salt is written beside the labels. Whoever loses it cannot open the set.

    Parameters
    ----------
    workspace
        Where the card is; it is edited.
    name
        A dataset whose labels are withheld.
    labels
        `.npy` of integers (n,), in the order of the images.

    Raises
    ------
    InvalidInputError
        If the labels are not withheld, do not fit the card, or the set is sealed already.
    """
    card = _withheld_card(workspace, name)
    if card.seal is not None:
        raise InvalidInputError(
            f"{name}: is sealed already ({card.seal.commitment[:12]}…, {card.seal.sealed}); "
            "a second seal would let labels be chosen after the predictions"
        )
    path, values = card_path(workspace, name), _checked_labels(card, labels)
    salt = secrets.token_bytes(SALT_BYTES)
    _keep_salt(salt_path(labels), salt)
    found = commitment(salt, values)
    text = path.read_text(encoding="utf-8").rstrip("\n")
    write_atomic(path, f'{text}\n\n[seal]\ncommitment = "{found}"\nsealed = "{now()}"\n')
    return found


def _keep_salt(path: Path, salt: bytes) -> None:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)  # for its owner's eyes alone
    except FileExistsError as error:
        raise InvalidInputError(
            f"{path}: is there already; it opens another seal, so move it away first"
        ) from error
    with os.fdopen(handle, "w") as stream:
        stream.write(salt.hex() + "\n")
        stream.flush()
        os.fsync(stream.fileno())


@dataclass(frozen=True)
class Opening:
    """What opening a set came to.

    Parameters
    ----------
    runs
        Runs whose accuracies were filled in now.
    already
        Runs that carried them before.
    predictions, estimates
        Lines about predictions and about estimators that were registered before the set was first opened.
    unregistered
        Runs whose predictions were not registered before.
    """

    runs: list[str]
    already: list[str]
    predictions: int
    estimates: int
    unregistered: list[str]


def open_set(workspace: Workspace, results: Path, name: str, labels: Path) -> Opening:
    """Check revealed labels against the seal and fill in the actual accuracies.

    The card gains the time of the first opening. Opening again with the same labels serves runs that
    came later and changes no other.

    Raises
    ------
    InvalidInputError
        If the set is not sealed, or the labels or the salt are not those that were sealed.
    RunError
        If a run is damaged.
    """
    card = _withheld_card(workspace, name)
    if card.seal is None:
        raise InvalidInputError(
            f"{name}: is not sealed; shiftcast blind seal {name} --labels FILE comes first"
        )
    values = _checked_labels(card, labels)
    if commitment(_salt(labels), values) != card.seal.commitment:
        raise InvalidInputError(
            f"{labels}: with its salt gives another commitment than the card of {name!r} "
            f"({card.seal.commitment[:12]}…): these are not the labels that were sealed; nothing was changed"
        )
    opened = card.seal.opened or _mark_opened(workspace, name)
    entries = [entry for entry in read_register(results, name) if entry["time"] <= opened]
    registered = {entry["sha256"] for entry in entries if entry["kind"] == "predictions"}
    filled, already, unregistered = [], [], []
    for place in _runs_with(results, name):
        record, sets = _read_run(place, name)
        run = f"{_label(record)}/{record.key}"
        if _logits_hash(sets[name]) not in registered:
            unregistered.append(run)
        if sets[name].true_rank is not None:
            already.append(run)
            continue
        _fill(place, record, sets, name, values)
        filled.append(run)
    kinds = [entry["kind"] for entry in entries]
    return Opening(filled, already, kinds.count("predictions"), kinds.count("estimates"), unregistered)


def _mark_opened(workspace: Workspace, name: str) -> str:
    """Write the time of opening into the card, before any run holds an answer; return it."""
    path, opened = card_path(workspace, name), now()
    text = path.read_text(encoding="utf-8")
    marked, count = re.subn(r"(?m)^\[seal\].*$", rf'\g<0>\nopened = "{opened}"', text, count=1)
    if count != 1:
        raise InvalidInputError(f"{path}: has no line [seal] to write the time of opening under")
    write_atomic(path, marked)
    return opened


def _read_run(place: RunFolder, name: str) -> tuple[RunRecord, dict[str, StoredSet]]:
    """Read a run; one that was killed while its answers were filled in is as it was before."""
    try:
        return place.read()
    except RunError:
        record, data = place.read_record(), place.predictions_path.read_bytes()
        sets = decode_predictions(data, str(place.predictions_path))
        if name in sets:
            sets[name] = replace(sets[name], true_rank=None)
        if sha256(encode_predictions(sets)) != record.predictions_sha256:
            raise
        return record, sets


def _fill(
    place: RunFolder, record: RunRecord, sets: Mapping[str, StoredSet], name: str, labels: Integers
) -> None:
    logits = sets[name].logits
    if len(logits) != len(labels):
        raise RunError(
            f"{place.path}: {name}: holds {len(logits)} images, but there are {len(labels)} labels"
        )
    opened = replace(sets[name], true_rank=true_ranks(logits, labels))
    predictions = encode_predictions({**sets, name: opened})
    targets = {**record.targets, name: TargetResult(n=len(logits), accuracy=opened.accuracy)}
    changed = record.model_copy(update={"targets": targets, "predictions_sha256": sha256(predictions)})
    place.write(changed, predictions)


def _label(record: RunRecord) -> str:
    return f"{record.suite}@{record.edition}" if record.edition else record.suite


def register_path(results: Path, name: str) -> Path:
    """Return the log of what was predicted about a blind set."""
    return results / "blind" / f"{name}.jsonl"


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


def register_all(workspace: Workspace, results: Path, names: Iterable[str]) -> list[tuple[str, int]]:
    """Register what every suite and edition with results says about each set; return names and new lines."""
    from shiftcast.scoring import score_results

    stored = any(results.glob("*/*/*/seed-*/run.json"))
    tables = [
        scores.table.assign(suite=f"{scores.suite.name}{scores.edition and '@'}{scores.edition}")
        for scores in (score_results(workspace, results) if stored else [])
    ]
    table = pd.concat(tables) if tables else pd.DataFrame(columns=["target", "suite", "estimator"])
    return [(name, register(workspace, results, name, table[table["target"] == name])) for name in names]


def register(workspace: Workspace, results: Path, name: str, estimates: pd.DataFrame) -> int:
    """Append what is new about a blind set to its register; return the number of lines.

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
    card = _withheld_card(workspace, name)
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
    return len(fresh)


def _identity(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes an entry another one: not when it was written, nor by which version of the code."""
    return {key: value for key, value in entry.items() if key not in ("time", "before", "code")}


def _prediction_entries(results: Path, name: str) -> Iterable[dict[str, Any]]:
    for place in _runs_with(results, name):
        record, sets = place.read()
        digest = _logits_hash(sets[name])
        yield {"kind": "predictions", "suite": _label(record), "run": str(record.key), "sha256": digest}


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


def _logits_hash(stored: StoredSet) -> str:
    return sha256(np.ascontiguousarray(stored.logits).tobytes())


def _runs_with(results: Path, name: str) -> list[RunFolder]:
    places = [RunFolder(path.parent) for path in sorted(results.glob("*/*/*/seed-*/run.json"))]
    return [place for place in places if name in place.read_record().targets]


def _withheld_card(workspace: Workspace, name: str) -> DatasetCard:
    card = workspace.dataset(name)
    if card.labels != "withheld":
        raise InvalidInputError(
            f"{name}: its labels are given; only a set whose labels are withheld can be blind"
        )
    return card


def _checked_labels(card: DatasetCard, path: Path) -> Integers:
    require_files([path])
    array = load_npy(path)
    labels = checked_labels(path, array, array.size)
    if len(labels) != card.n or labels.max() >= len(card.classes):
        raise InvalidInputError(
            f"{path}: expected {card.n:,} labels from 0 to {len(card.classes) - 1} for {card.name!r}, "
            f"got {len(labels):,} up to {labels.max()}"
        )
    return labels


def _salt(labels: Path) -> bytes:
    path = salt_path(labels)
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"{path}: is missing; the salt written at sealing stands beside the labels"
        ) from error
    except (ValueError, OSError) as error:
        raise InvalidInputError(f"{path}: is not the salt that was written at sealing: {error}") from error

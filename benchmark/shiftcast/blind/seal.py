"""Blind sets: labels are committed to before, predictions registered, and both opened once.

Sealing puts a salted hash of withheld labels into the set's card. Opening checks the revealed labels
against it and fills in the accuracies; what was registered before (`registers`) was made blind.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shiftcast.blind.register import logits_hash, runs_with, withheld_card
from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.readers.layouts import checked_labels, load_npy
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import StoredSet, decode_predictions, encode_predictions, true_ranks
from shiftcast.runs.record import RunRecord, TargetResult
from shiftcast.runs.registers import read_register
from shiftcast.util.files import write_atomic
from shiftcast.util.hashing import sha256
from shiftcast.util.text import now
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace

SALT_BYTES = 32


def commitment(salt: bytes, labels: Integers) -> str:
    """Return the SHA-256 of a salt followed by labels (n,) as little-endian int64."""
    return hashlib.sha256(salt + np.ascontiguousarray(labels, dtype="<i8").tobytes()).hexdigest()


def salt_path(labels: Path) -> Path:
    """Return where the salt of a labels file is kept: beside it, and as secret."""
    return labels.with_name(f"{labels.name}.salt")


def card_path(workspace: Workspace, name: str) -> Path:
    """Return a dataset card's file, to be edited."""
    return workspace.cards_to_write("datasets") / f"{name}.toml"


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
    card = withheld_card(workspace, name)
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


def open_set(
    workspace: Workspace,
    results: Path,
    name: str,
    labels: Path,
    *,
    allow_unregistered: bool = False,
    allow_unsealed: bool = False,
) -> Opening:
    """Check revealed labels against the seal and fill in the actual accuracies.

    The card gains the time of the first opening. Opening again with the same labels serves runs that
    came later and changes no other.

    Parameters
    ----------
    workspace, results
        Where the card and the runs are.
    name
        A sealed set, or with `allow_unsealed` any whose labels are withheld.
    labels
        The file that was sealed, with its salt beside it; of an unsealed set, the labels alone.
    allow_unregistered
        Open for the first time even if there are runs whose predictions were not registered.
    allow_unsealed
        Open a set without a seal: then the project itself does not show that its labels were settled before.

    Raises
    ------
    InvalidInputError
        If the set is not sealed, the labels or the salt are not those that were sealed, or predictions
        have not been registered: after opening they never can be.
    RunError
        If a run is damaged.
    """
    card = withheld_card(workspace, name)
    values = _revealed(card, labels, allow_unsealed)
    if card.opening is None and not allow_unregistered:
        _require_registered(results, name)
    opened = card.opening or _mark_opened(workspace, card)
    entries = [entry for entry in read_register(results, name) if entry["time"] <= opened]
    registered = {entry["sha256"] for entry in entries if entry["kind"] == "predictions"}
    filled, already, unregistered = [], [], []
    for place in runs_with(results, name):
        record, sets = _read_run(place, name)
        run = f"{place.label}/{record.key}"
        if logits_hash(sets[name]) not in registered:
            unregistered.append(run)
        if sets[name].true_rank is not None:
            already.append(run)
            continue
        _fill(place, record, sets, name, values)
        filled.append(run)
    kinds = [entry["kind"] for entry in entries]
    return Opening(filled, already, kinds.count("predictions"), kinds.count("estimates"), unregistered)


def _revealed(card: DatasetCard, labels: Path, allow_unsealed: bool) -> Integers:
    """Return the labels (n,) of a file, held against the card's seal where it has one."""
    name = card.name
    if card.seal is None and not allow_unsealed:
        raise InvalidInputError(
            f"{name}: is not sealed; seal it first (shiftcast blind seal {name} --labels FILE), or open it "
            "with --unsealed: then nothing here shows that its labels were fixed before the predictions"
        )
    values = _checked_labels(card, labels)
    if card.seal is not None and commitment(_salt(labels), values) != card.seal.commitment:
        raise InvalidInputError(
            f"{labels} and its salt do not give the commitment on the card of {name!r} "
            f"({card.seal.commitment[:12]}…): these are not the labels that were sealed; nothing was changed"
        )
    return values


def _require_registered(results: Path, name: str) -> None:
    entries = read_register(results, name)
    known = {entry["sha256"] for entry in entries if entry["kind"] == "predictions"}
    places = [(place, *_read_run(place, name)) for place in runs_with(results, name)]
    left = [f"{run.label}/{r.key}" for run, r, sets in places if logits_hash(sets[name]) not in known]
    if left or not any(entry["kind"] == "estimates" for entry in entries):
        what = f"the predictions of {len(left)} runs ({left[0]}, …)" if left else "no estimate"
        state = "are not registered" if left else "is registered"
        raise InvalidInputError(
            f"{name}: {what} {state}; after opening it is too late. Run first: shiftcast blind register "
            f"{name}; or open it anyway with --unregistered. Nothing was changed"
        )


def _mark_opened(workspace: Workspace, card: DatasetCard) -> str:
    """Write the time of opening into the card, before any run holds an answer; return it."""
    path, opened = card_path(workspace, card.name), now()
    text, line = path.read_text(encoding="utf-8"), f'opened = "{opened}"\n'
    if card.seal is None:
        tables = re.search(r"(?m)^\[", text)
        place = tables.start() if tables else len(text)
    elif header := re.search(r"(?m)^\[seal\].*\n", text):
        place = header.end()
    else:
        raise InvalidInputError(f"{path}: has no line [seal] to write the time of opening under")
    write_atomic(path, text[:place] + line + text[place:])
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


def _checked_labels(card: DatasetCard, path: Path) -> Integers:
    if not path.is_file():
        raise InvalidInputError(
            f"{path}: there is no such file; expected the labels of {card.name!r} as .npy"
        )
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

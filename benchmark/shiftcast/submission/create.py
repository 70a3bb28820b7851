"""Outputs of a model that was trained elsewhere, made a `self-reported` run of a suite.

Nothing is trained and nothing is unpickled. What the sets are and what their labels say is taken from the
suite's complete runs; the datasets are read only for sets that no such run holds.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.base import SELF_REPORTED, explain
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.data.fingerprints import DatasetUsed
from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.intake.outputs import ONE_SET, OUTPUTS, Outputs, open_outputs
from shiftcast.runs.agreement import Known
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import results_folder
from shiftcast.runs.outputs import (
    CLASSES,
    LARGEST_LOGIT,
    PREDICTIONS_LIMIT,
    StoredSet,
    encode_predictions,
    store_classes,
    store_logits,
)
from shiftcast.runs.problems import refusal
from shiftcast.runs.reading import inspect
from shiftcast.runs.record import LONGEST_LINE, Claim, ReportedRecord, TargetResult
from shiftcast.runs.soundness import Inspection, expected_of
from shiftcast.submission.known_sets import known_sets
from shiftcast.util.arrays import (
    LOGITS_REMEDY,
    are_percentages,
    class_indices,
    doubt_about_kind,
    looks_like_probabilities,
    looks_one_hot,
    one_column_hint,
    whole_floats,
)
from shiftcast.util.hashing import sha256
from shiftcast.util.text import count, percent, printable
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace

PACKAGES = ("numpy", "safetensors", "shiftcast")
PREFIX = "logits/"
UNKNOWN_FAMILY = "unknown"
MOST_LOST = 0.01
"""Share of images that storing their logits may put into another class without a word."""
FROM_PROBABILITIES = "np.log(probs).clip(-100), which gives zeros a lower end"
"""Logits of probabilities."""
File = tuple[str, Path]
"""The id of a file's set where it holds a single one, else an empty text; and the file."""


@dataclass(frozen=True, eq=False)
class Imported:
    """What importing a file came to.

    Parameters
    ----------
    place
        Where the run stands.
    record
        Its `run.json`.
    known
        What its logits were held against, by set.
    changed
        Whether anything was written: the same content again is left alone.
    doubts
        A sentence on each likely mistake: what was not read, and outputs that tell nothing.
    """

    place: RunFolder
    record: ReportedRecord
    known: Mapping[str, Known]
    changed: bool
    doubts: Sequence[str] = ()


def make_claim(
    workspace: Workspace, architecture: str, seed: int, family: str | None, parameters: int | None, note: str
) -> Claim:
    """Return what a person says about a model; an architecture card of its name says what they leave out.

    Raises
    ------
    InvalidInputError
        If the name cannot name a folder of results, or a text is not one short printable line.
    """
    card = workspace.architectures.get(architecture)
    if family is None:
        family = card.family if card else UNKNOWN_FAMILY
    if parameters is None and isinstance(card, ArchitectureCard):
        parameters = card.parameters
    if seed < 0:
        raise InvalidInputError(f"seed: expected 0 or more, got {seed}")
    try:
        key = {"architecture": architecture, "recipe": SELF_REPORTED, "seed": seed}
        return Claim.model_validate({"key": key, "family": family, "parameters": parameters, "note": note})
    except ValidationError as error:
        if any("architecture" in item["loc"] for item in error.errors()):
            raise InvalidInputError(
                "architecture: expected at most 64 small letters, digits, '.', '_' and '-', a letter or "
                f"digit first, got {architecture!r}"
            ) from error
        raise InvalidInputError(
            f"{explain(error).replace('key.', '')}. Family and note are one line of at most {LONGEST_LINE} "
            "printable characters"
        ) from error


def import_run(
    workspace: Workspace,
    suite: Suite,
    files: Path | Sequence[File],
    claim: Claim,
    results: Path,
    force: bool = False,
) -> Imported:
    """Check files of logits, or of class indices, and write them as a self-reported run.

    Parameters
    ----------
    workspace, suite
        Where the cards are, and the suite whose sets the logits are of.
    files
        A file with all sets, `.npz`, `.safetensors` or `.csv` (by its column `set`), each called by the set's
        id; or several files, each with the id of its set where it holds one alone. Of each set either logits
        (n, K), floats, or class indices (n,), integers; rows in the order of the dataset (of the subset that
        the suite takes, for derived sets). The in-distribution test set must be there, of the others
        whatever is.
    claim
        What is said about the model.
    results
        The folder that holds `SUITE/`.
    force
        Replace a run of the same name and seed that has other content.

    Raises
    ------
    InvalidInputError
        If the file is refused, or there is such a run already.
    RunError
        If a run that is there is not sound.
    UnknownNameError
        If an array is called like no set of the suite.
    MissingDataError
        If neither a complete run nor the datasets can say what a set is.
    """
    folder = results_folder(results, suite, "")
    place = RunFolder(folder / claim.key.path)
    existing = inspect(place, expected_of(workspace, suite)) if place.record_path.exists() else None
    if existing is not None and existing.problems and not force:
        raise refusal(existing.problems)
    given = [("", files)] if isinstance(files, Path) else list(files)
    known, stored, doubts = _read_sets(workspace, suite, given, folder, claim.key if force else None)
    predictions = encode_predictions(stored)
    if len(predictions) > PREDICTIONS_LIMIT and not suite.scratch:
        raise InvalidInputError(
            f"{given[0][1]}: its outputs take {len(predictions):,} bytes as stored, above the "
            f"{PREDICTIONS_LIMIT:,} that one run may take in results/; leave sets away that the suite "
            "does not require"
        )
    record = _record(suite, claim, stored, known, predictions)
    changed = existing is None or bool(existing.problems) or _differs(existing, record, force)
    if changed:
        place.write(record, predictions)
    return Imported(place, record, known, changed, doubts)


def _read_sets(
    workspace: Workspace, suite: Suite, files: Sequence[File], folder: Path, replaced: RunKey | None
) -> tuple[dict[str, Known], dict[str, StoredSet], list[str]]:
    """Return what is known of each set in the files, the outputs on it as they are stored, and doubts."""
    names = workspace.dataset(suite.source.test).classes
    with ExitStack() as stack:
        sources = [stack.enter_context(open_outputs(file, names)) for _, file in files]
        places = _named(suite, files, [source.names() for source in sources])
        known = known_sets(workspace, suite, folder, list(places), replaced)
        stored, doubts = {}, list[str]()
        for name, (position, key) in places.items():
            outputs = sources[position].read(key, known[name].n, len(names))
            stored[name] = _stored(outputs, known[name], len(names))
            doubts += _doubts(name, outputs.array, stored[name])
        for (_, file), source in zip(files, sources, strict=True):
            if unread := source.unread():
                what = f"{count(len(unread), 'column')} not read: {printable(', '.join(unread), 200)}"
                doubts.append(f"{printable(file.name)}: {what}")
    _refuse_mixture(files, stored)
    return known, stored, doubts


def _doubts(name: str, given: NDArray[Any], stored: StoredSet) -> list[str]:
    """Return a sentence where outputs tell nothing of an image, or storing them loses what they tell."""
    logits = stored.logits
    if len(logits) > 1 and (logits == logits[0]).all():
        return [f"{name}: every image has the same outputs, as they are stored (float16); they tell nothing"]
    lost = 0.0 if stored.hard else float((given.argmax(axis=1) != logits.argmax(axis=1)).mean())
    if lost < MOST_LOST:
        return []
    return [
        f"{name}: stored as float16, {percent(lost)} % of images fall into another class, as their largest "
        "logits become equal: take each row's maximum off, which changes no probability"
    ]


def _record(
    suite: Suite,
    claim: Claim,
    stored: Mapping[str, StoredSet],
    known: Mapping[str, Known],
    predictions: bytes,
) -> ReportedRecord:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return ReportedRecord(
        **dict(claim),
        suite=suite.name,
        suite_version=suite.version,
        source=suite.source.test,
        datasets={name: cast("DatasetUsed", known[name].used) for name in stored},
        targets={name: TargetResult(n=one.n, accuracy=one.accuracy) for name, one in stored.items()},
        packages=versions | {"python": platform.python_version()},
        predictions_sha256=sha256(predictions),
        outputs="classes" if any(one.hard for one in stored.values()) else "logits",
    )


def _differs(existing: Inspection, record: ReportedRecord, force: bool) -> bool:
    """Whether the run that is there is another one; refuse to replace it without `force`."""
    differing = cast("ReportedRecord", existing.record).differences(record)
    if differing and not force:
        raise InvalidInputError(
            f"{existing.folder.path}: holds a run that differs in {', '.join(differing)}; replace it with "
            "--force, or give this one another name or --seed. Nothing was changed"
        )
    return bool(differing)


def _named(suite: Suite, files: Sequence[File], held: Sequence[Sequence[str]]) -> dict[str, tuple[int, str]]:
    """Return by set's id, in the suite's order, which file holds it under which name; or refuse the names.

    Parameters
    ----------
    suite
        The suite.
    files
        Each file, and the id of the set where it holds a single one.
    held
        The names of each one's arrays.
    """
    test = suite.source.test
    known = dict.fromkeys([test, *(target.id for target in suite.unfolded_targets())])
    found: dict[str, tuple[int, str]] = {}
    for place, ((asked, file), keys) in enumerate(zip(files, held, strict=True)):
        for name, key in _of_file(suite, asked, file, keys).items():
            if name not in known:
                raise UnknownNameError(f"set of suite {suite.name}", name, known, str(file))
            if name in found:
                other = files[found[name][0]][1]
                raise InvalidInputError(f"{file}: holds {name!r}, and so does {other}; keep one")
            found[name] = (place, key)
    if test not in found:
        raise InvalidInputError(
            f"{', '.join(str(file) for _, file in files)}: lacks {test!r}, the labelled test set that every "
            f"prediction starts from; it holds {', '.join(found) or 'nothing'}"
        )
    return {name: found[name] for name in known if name in found}


def _of_file(suite: Suite, asked: str, file: Path, keys: Sequence[str]) -> Mapping[str, str]:
    """Return the array of each set that a file holds."""
    if asked:
        offered = [key for key in keys if key in OUTPUTS]
        if len(offered) != 1:
            raise InvalidInputError(
                f"{file}: expected one array, 'logits' (n, K) or 'classes' (n,), of the set {asked!r}; it "
                f"holds {printable(', '.join(keys), 200) or 'nothing'}{_probs_hint(keys)}"
            )
        return {asked: offered[0]}
    if set(keys) & ONE_SET:
        test = suite.source.test
        raise InvalidInputError(
            f"{file}: holds one set ({printable(str(sorted(keys)), 200)}), but not which; name it: "
            f"--predictions {test}={file.name}, or give an array for each set of suite {suite.name!r}, "
            f"called by its id: numpy.savez({file.name!r}, **{{{test!r}: logits, …}}){_probs_hint(keys)}"
        )
    found: dict[str, str] = {}
    for key in keys:
        name = key.removeprefix(PREFIX).removeprefix(CLASSES)
        if name in found:
            raise InvalidInputError(f"{file}: holds {name!r} twice, as {found[name]!r} and {key!r}; keep one")
        found[name] = key
    return found


def _probs_hint(keys: Sequence[str]) -> str:
    """Say how probabilities become logits, where an archive of one set holds the former alone."""
    only = "probs" in keys and not set(keys) & set(OUTPUTS)
    return f"; of probabilities save the logarithm, as 'logits': {FROM_PROBABILITIES}" if only else ""


def _stored(outputs: Outputs, known: Known, classes: int) -> StoredSet:
    """Return the outputs on one set as they are stored, held against what is known of it."""
    what, array = outputs.what, outputs.array
    if outputs.labels is not None and known.labels is not None:
        _check_labels(what, outputs.labels, known.labels)
    if array.ndim == 1 and (array.dtype.kind in "iu" or (len(array) == known.n and whole_floats(array))):
        checked = class_indices(what, array, (known.n,), classes)
        stored = store_classes(checked, classes, known.labels)
    else:
        stored = store_logits(what, _checked(what, array, known.n, classes), known.labels)
    return replace(stored, clusters=known.clusters)


def _check_labels(what: str, given: NDArray[Any], true: Integers) -> None:
    """Refuse rows whose labels, as the file has them, are not those of the set."""
    if given.shape != true.shape:
        raise InvalidInputError(
            f"{what}: its labels are of shape {given.shape}, those of the set {true.shape}"
        )
    if (wrong := np.flatnonzero(given != true)).size:
        raise InvalidInputError(
            f"{what}: its labels differ from those of the set on {wrong.size:,} of {len(true):,} images, the "
            f"first in row {wrong[0]} (from 0): {given[wrong[0]]}, expected {true[wrong[0]]}; rows must be "
            "in the order of the images, classes in the suite's order"
        )


def _refuse_mixture(files: Sequence[File], stored: Mapping[str, StoredSet]) -> None:
    """Refuse class indices of some sets beside logits of others: one model, one kind of output."""
    hard = [name for name, one in stored.items() if one.hard]
    if hard and len(hard) < len(stored):
        soft = next(name for name in stored if name not in hard)
        raise InvalidInputError(
            f"{files[0][1]}: {hard[0]}: these look like class indices, and {soft} holds logits; save the "
            "network's outputs before argmax for each set, or class indices for every set"
        )


def _checked(what: str, array: NDArray[Any], n: int, classes: int) -> NDArray[Any]:
    """Return logits (n, K) as they are, or refuse the array with what to do about it."""
    if array.shape == (n, classes) and array.dtype.kind in "iubf":
        _refuse_counts(what, array)
    if array.dtype.kind in "iub":
        raise InvalidInputError(
            f"{what}: expected logits (floats), got {array.dtype} {array.shape}; these look like class "
            f"indices: save the network's outputs before argmax, or give whole numbers of shape ({n},)"
        )
    if array.dtype.kind != "f":
        raise InvalidInputError(f"{what}: expected logits (floats), got {array.dtype}; save them as float32")
    if array.shape != (n, classes):
        raise InvalidInputError(
            f"{what}: expected {n:,} images and {classes} classes, shape {(n, classes)}, got {array.shape}"
            f"{_shape_hint(array, n, classes)}"
        )
    bad = ~(np.abs(array) <= LARGEST_LOGIT)
    if bad.any():
        where = np.argwhere(bad)[0].tolist()
        raise InvalidInputError(
            f"{what}: {int(bad.sum()):,} logits are not finite or beyond {LARGEST_LOGIT:,.0f} in size, "
            f"the first at index {where} ({array[tuple(where)]}); {_finite_hint(array[tuple(where)])}"
        )
    _refuse_probabilities(what, array)
    return array


def _refuse_counts(what: str, array: NDArray[Any]) -> None:
    """Refuse one-hot rows, and logits that are kept as integers."""
    if looks_one_hot(array):
        raise InvalidInputError(
            f"{what}: expected logits (floats), got {array.dtype} {array.shape}; these look one-hot, a 1 in "
            "each row and else 0: save the network's outputs before argmax, or give class indices: "
            "array.argmax(axis=1)"
        )
    if array.dtype.kind in "iu":
        raise InvalidInputError(
            f"{what}: expected logits (floats), got {array.dtype} {array.shape}; save them as float32: "
            "array.astype('float32')"
        )


def _finite_hint(value: Any) -> str:
    if np.isnan(value):
        return "NaN is not an output: compute the network's outputs for that image again"
    return (
        "take each row's maximum off, which changes no probability, and give logarithms of 0 a lower end "
        "such as -100"
    )


def _shape_hint(array: NDArray[Any], n: int, classes: int) -> str:
    if array.shape == (classes, n):
        return "; transpose it"
    if array.ndim == 2 and array.shape[1] == classes:
        return "; rows are the images in the order of the dataset (of a derived set, the suite's subset)"
    return one_column_hint(array)


def _refuse_probabilities(what: str, array: NDArray[Any]) -> None:
    """Refuse shares and percentages; also those that would only look so as they are stored."""
    sums = array.sum(axis=1, dtype=np.float64)
    shares = looks_like_probabilities(array) or looks_like_probabilities(array.astype(np.float16))
    if shares or are_percentages(array, sums):
        raise InvalidInputError(
            f"{what}: these are probabilities (no row has a value below 0, and each sums to "
            f"{1 if shares else 100}); save the logits, or the probabilities' logarithm: "
            f"{FROM_PROBABILITIES if shares else FROM_PROBABILITIES.replace('probs', 'probs / 100')}"
        )
    if doubt := doubt_about_kind(array):
        raise InvalidInputError(
            f"{what}: logits or probabilities? {doubt}. Of probabilities save the logarithm: "
            f"{FROM_PROBABILITIES}; {LOGITS_REMEDY}"
        )

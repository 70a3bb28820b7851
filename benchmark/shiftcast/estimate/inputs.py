"""A person's own files: predictions in archives or tables, and other models' beside them.

Nothing is sorted: classes are in the order in which the file has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shiftcast.difficulty import check_members
from shiftcast.errors import InvalidInputError
from shiftcast.intake.archives import ARRAYS, UNNAMED, open_archive, read_arrays, require_file, unread
from shiftcast.intake.tables import LABEL, NEAR, TABLES, Table, column_names, near_hint, read_table
from shiftcast.predictions import Kind, Predictions
from shiftcast.util.arrays import (
    LOGITS_REMEDY,
    NOISE,
    SUM_TOLERANCE,
    are_percentages,
    class_indices,
    doubt_about_kind,
    finite,
    looks_like_probabilities,
    rounded_off,
    softmax,
    whole_floats,
)
from shiftcast.util.text import count, printable
from shiftcast.util.types import Floats, Integers

KEYS: dict[str, Kind] = {"logits": "logits", "probs": "probabilities"}
PREFIXES: dict[str, Kind] = {"logit_": "logits", "prob_": "probabilities"}
CLASS_NAMES = "class_names"
"""An array of texts (K,) beside others: what the classes are called, in the order of the columns."""
OF_A_SET, OF_OTHER_MODELS = (*KEYS, "labels", CLASS_NAMES), ("source", "target", CLASS_NAMES)
"""All that is read from an archive."""
LABEL_LIKE = ("label", "labels", "y", "y_true", "target", "class", "truth", "ground_truth")
ONE_PROBABILITY = ("prob", "probability", "proba", "p", "score", "y_prob", "y_score", "prediction")
"""Columns that people give one probability of two classes in."""
SWAPPED = 10
"""This many times more members than images are taken for swapped axes."""


@dataclass(frozen=True, eq=False)
class OwnSet:
    """Predictions read from a file.

    Parameters
    ----------
    predictions
        The predictions, with labels where the file has them of every image.
    classes
        Names of the classes, in the file's order; empty where it does not name them.
    columns
        Other columns of a table, one row an image; slices are cut along them.
    some_labels
        Where only some images are labelled: their classes (n,), -1 for the others.
    """

    predictions: Predictions
    classes: tuple[str, ...] = ()
    columns: pd.DataFrame = field(default_factory=pd.DataFrame)
    some_labels: Integers | None = None


def read_set(path: Path, labelled: bool, labels: Path | None = None) -> OwnSet:
    """Read a person's predictions.

    Parameters
    ----------
    path
        `.npz` or `.safetensors` with `logits` or `probs` (n, K), perhaps `labels` (n,) and `class_names`
        (K,); `.npy` (n, K), whose values must say which of both they are; `.csv` or `.parquet` with a column
        `logit_CLASS` or `prob_CLASS` for each class, and perhaps `label` and others.
    labelled
        Whether every image must have a label. Else those of some may be unknown: -1, NaN, an empty cell or
        the word "unknown".
    labels
        `.npy` of integers (n,), for files that hold none.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or its content is not such predictions.
    """
    kind = require_file(path, (*ARRAYS, *TABLES))
    own = (_read_table if kind in TABLES else _read_archive)(path, labelled)
    if labels is not None:
        if own.predictions.labels is not None:
            raise InvalidInputError(f"{path}: holds labels already; leave {labels} away")
        given = read_arrays(labels, [UNNAMED], [".npy"])[0][UNNAMED]
        own = replace(own, predictions=own.predictions.with_labels(given))
    if labelled and own.predictions.labels is None:
        raise InvalidInputError(
            f"{path}: the source needs 'labels' (n,), integers from 0 (a column 'label' in tables, or "
            f"--labels FILE.npy){_other_label(path, own)}"
        )
    return own


def _other_label(path: Path, own: OwnSet) -> str:
    """Return a hint where a file has a column or an array that may be what is missing."""
    in_table = path.suffix.lower() in TABLES
    what, wanted = ("column", LABEL) if in_table else ("array", "labels")
    names = own.columns.columns if in_table else unread(path, OF_A_SET)
    found = [name for name in names if str(name).lower() in LABEL_LIKE or _is_near(str(name), wanted)]
    return (
        f"; its {what} {str(found[0])!r} is another one: call it {wanted!r} if it is meant" if found else ""
    )


def _is_near(name: str, wanted: str) -> bool:
    return SequenceMatcher(None, name.lower(), wanted).ratio() >= NEAR


def about_unread(path: Path, known: Sequence[str]) -> list[str]:
    """Return a warning where an archive holds arrays that are not read, or a table nearly holds labels."""
    if path.suffix.lower() in TABLES:
        columns = column_names(path)
        like = [name for name in columns if name.lower() in LABEL_LIKE]
        if LABEL in columns or not like:
            return []
        named = f"{printable(path.name)}: no labels are read; its column {printable(repr(like[0]), 80)}"
        return [f"{named} is another one: call it {LABEL!r} if it is meant"]
    names = unread(path, known)
    if not names:
        return []
    return [
        f"{printable(path.name)}: {count(len(names), 'array')} not read: {printable(', '.join(names), 200)}; "
        f"what is read is called {', '.join(known)}"
    ]


def _own(
    path: Path, outputs: NDArray[Any], kind: Kind, labels: Any, labelled: bool, classes: Sequence[str] = ()
) -> OwnSet:
    """Return predictions with labels, of which -1 stands for unknown ones unless all must be known."""
    if kind == "logits":
        _refuse_as_logits(str(path), outputs)
    partly = not labelled and labels is not None and bool((labels == -1).any())
    predictions = Predictions(printable(path.name), outputs, kind, labels=None if partly else labels)
    some = labels if partly and (labels >= 0).any() else None
    return OwnSet(predictions, tuple(classes), some_labels=some)


def _refuse_as_logits(what: str, outputs: NDArray[Any]) -> None:
    """Refuse what is called logits (n, K) but holds probabilities, or may do so."""
    if looks_like_probabilities(outputs):
        raise InvalidInputError(
            f"{what}: what is called logits holds probabilities (every row is in [0, 1] and sums to one); "
            "call it probs (in tables prob_CLASS)"
        )
    if doubt := doubt_about_kind(outputs):
        raise InvalidInputError(
            f"{what}: called logits, but {doubt}. If these are probabilities, call them probs (in tables "
            f"prob_CLASS); {LOGITS_REMEDY}"
        )


def _read_archive(path: Path, labelled: bool) -> OwnSet:
    arrays, held = read_arrays(path, (*OF_A_SET, UNNAMED))
    if UNNAMED in arrays:
        return _own(path, arrays[UNNAMED], _kind_of(path, arrays[UNNAMED]), None, labelled)
    present = [key for key in KEYS if key in arrays]
    if len(present) != 1:
        raise InvalidInputError(
            f"{path}: expected one array named 'logits' or 'probs' (n, K), and 'labels' (n,) where they are "
            f"known; it holds {held}"
        )
    outputs, labels = arrays[present[0]], arrays.get("labels")
    names = _class_names(path, arrays, outputs.shape[1] if outputs.ndim == 2 else 0)
    if labels is not None:
        if outputs.ndim == 2 and labels.shape == outputs.shape[1:] != outputs.shape[:1]:
            raise InvalidInputError(
                f"{path}: {present[0]} {outputs.shape} and labels {labels.shape} fit if rows are images: "
                "give the transpose, array.T"
            )
        if outputs.ndim == 2 and not labelled:
            labels = _some_known(f"{printable(path.name)}: labels", labels, outputs.shape)
    return _own(path, outputs, KEYS[present[0]], labels, labelled, names)


def _kind_of(path: Path, array: NDArray[Any]) -> Kind:
    """Return what a nameless array holds, if its values leave no doubt."""
    if looks_like_probabilities(array.astype(np.float64) if array.dtype.kind in "iu" else array):
        return "probabilities"
    if doubt := doubt_about_kind(array):
        raise InvalidInputError(
            f"{path}: logits or probabilities? {doubt}. Say which: write an .npz file and call them "
            f"'probs' or 'logits'; {LOGITS_REMEDY}"
        )
    return "logits"


def _class_names(path: Path, arrays: dict[str, NDArray[Any]], classes: int) -> tuple[str, ...]:
    if CLASS_NAMES not in arrays:
        return ()
    names = arrays[CLASS_NAMES]
    if names.dtype.kind != "U" or names.shape != (classes,) or len(set(names.tolist())) < classes:
        raise InvalidInputError(
            f"{path}: {CLASS_NAMES}: expected {classes} different texts, got {names.dtype} {names.shape}"
        )
    return tuple(names.tolist())


def _some_known(what: str, given: NDArray[Any], shape: tuple[int, ...]) -> Integers:
    """Return labels (n,), of which -1 or NaN stands for an unknown class, with -1 for it."""
    if given.dtype.kind not in "if":
        return class_indices(what, given, shape[:1], shape[1])
    unknown = np.isnan(given) | (given == -1)
    known = np.where(unknown, 0, given)
    if unknown.any() and whole_floats(known):
        known = known.astype(np.int64)  # beside NaN, and what was filled for it, whole numbers are floats
    return np.where(unknown, -1, class_indices(what, known, shape[:1], shape[1]))


def _read_table(path: Path, labelled: bool) -> OwnSet:
    table = read_table(path)
    found = {prefix: columns for prefix in PREFIXES if (columns := table.starting(prefix))}
    if len(found) != 1:
        raise InvalidInputError(
            f"{path}: expected a column logit_CLASS or prob_CLASS for each class (not both kinds); "
            f"its columns are {table.held}{_mistyped(table) if not found else ''}"
        )
    prefix, columns = next(iter(found.items()))
    outputs = table.numbers(list(columns.values()))
    labels = table.classes(LABEL, list(columns), partly=not labelled) if LABEL in table.frame else None
    own = _own(path, outputs, PREFIXES[prefix], labels, labelled, list(columns))
    rest = [name for name in table.frame.columns if name not in {LABEL, *columns.values()}]
    return replace(own, columns=pd.DataFrame({name: table.texts(name) for name in rest}))


def _mistyped(table: Table) -> str:
    """Return a hint where columns of a table may be outputs called by another name."""
    near = {name: wanted for prefix in PREFIXES for name, wanted in table.nearly(prefix).items()}
    if near:
        name, wanted = next(iter(near.items()))
        return f"; did you mean {printable(wanted, 80)!r} by {printable(name, 80)!r}?"
    numbers = [name for name in ONE_PROBABILITY if name in map(str.lower, map(str, table.frame.columns))]
    if not numbers:
        return ""
    return (
        f"; where {numbers[0]!r} is the probability of one of two classes (predict_proba[:, 1]), write a "
        f"column for each: table['prob_0'], table['prob_1'] = 1 - table[{numbers[0]!r}], "
        f"table[{numbers[0]!r}]"
    )


def about_columns(path: Path, own: OwnSet) -> list[str]:
    """Return a warning on each column of a table that is not read as an output and may be meant as one."""
    if path.suffix.lower() not in TABLES:
        return []
    table = Table(path, own.columns)
    prefix = next(prefix for prefix, kind in PREFIXES.items() if kind == own.predictions.kind)
    return [
        f"{printable(path.name)}: column {printable(name, 80)!r} is not read; call it "
        f"{printable(wanted, 80)!r} if it is a class's output"
        for name, wanted in table.nearly(prefix).items()
    ]


def about_names(source: OwnSet, target: OwnSet) -> list[str]:
    """Return a warning where one of two sets names its classes and the other does not."""
    if bool(source.classes) == bool(target.classes):
        return []
    named, other = (source, target) if source.classes else (target, source)
    return [
        f"only {named.predictions.name} names its classes: those of {other.predictions.name} are taken to be "
        "in the same order "
        f"({printable(', '.join(named.classes[:3]), 80)}{', …' if len(named.classes) > 3 else ''})"
    ]


def in_order(target: OwnSet, classes: tuple[str, ...]) -> OwnSet:
    """Return a set whose columns follow another order of the same class names.

    Raises
    ------
    InvalidInputError
        If it names other classes.
    """
    if not classes or not target.classes or classes == target.classes:
        return target
    own = target.predictions
    if sorted(classes) != sorted(target.classes):
        raise InvalidInputError(
            f"source and target name other classes. Source: {', '.join(classes[:12])}; {own.name}: "
            f"{', '.join(target.classes[:12])}"
        )
    columns = np.array([target.classes.index(name) for name in classes])
    places = np.append(np.argsort(columns), -1)  # that of -1, an unknown label, is -1
    labels, some = (None if old is None else places[old] for old in (own.labels, target.some_labels))
    predictions = replace(own, logits=own.logits[:, columns], labels=labels)
    return replace(target, predictions=predictions, classes=classes, some_labels=some)


def attach(
    source: Predictions, target: Predictions, key: str, path: Path, classes: tuple[str, ...] = ()
) -> tuple[Predictions, Predictions]:
    """Add other models' outputs to source and target.

    Parameters
    ----------
    source, target
        The predictions.
    key
        "reference" (probabilities (M, n, K)), "peers" or "siblings" (predicted classes (Z, n)).
    path
        `.npz` with the arrays `source` and `target`, classes in the order of the source's columns; or in
        that of its own `class_names` (K,).
    classes
        Names of the source's classes in order, where they are known.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, lacks an array, or one does not fit.
    """
    arrays, held = read_arrays(path, OF_OTHER_MODELS, (".npz",))
    if not {"source", "target"} <= set(arrays):
        raise InvalidInputError(f"{path}: expected the arrays 'source' and 'target'; it holds {held}")
    named = _class_names(path, arrays, source.classes)
    if named and classes and sorted(named) != sorted(classes):
        raise InvalidInputError(
            f"{path}: {CLASS_NAMES}: other classes than those of {source.name}: {printable(str(named), 200)}"
        )
    order = np.array([named.index(name) for name in classes]) if named and classes else None
    both = []
    for name, predictions in (("source", source), ("target", target)):
        array = _of_other_models(f"{path}: {name}", key, arrays[name], predictions)
        if order is not None:
            array = array[:, :, order] if key == "reference" else np.argsort(order)[array]
        value: dict[str, Any] = {key: array}
        both.append(replace(predictions, **value))
    if len(arrays["source"]) != len(arrays["target"]):
        raise InvalidInputError(
            f"{path}: source holds {len(arrays['source'])} models and target {len(arrays['target'])}; "
            "give the same ones in the same order"
        )
    return both[0], both[1]


def read_others(path: Path, source: OwnSet) -> list[Predictions]:
    """Read a model's labelled outputs under other shifts, as `shiftcast collect --corrupt` writes them.

    Parameters
    ----------
    path
        `.npz` with `logits/SET` or `probs/SET` (n, K) for each set, its labels as `labels/SET` or, where sets
        are of the same images, `labels` (n,), and perhaps `class_names` (K,). Sets whose names differ in a
        number behind a hyphen are one group: `fog-1` and `fog-3`.
    source
        The model's outputs on the source.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, holds no such set, or one does not fit the source.
    """
    with open_archive(path, (".npz",)) as archive:
        sets = [name for name in archive.names if name.partition("/")[0] in KEYS and name.partition("/")[2]]
        if not sets:
            raise InvalidInputError(
                f"{path}: expected arrays 'logits/SET' or 'probs/SET' (n, K) and 'labels'; it holds "
                f"{archive.held}"
            )
        names = [archive.read(CLASS_NAMES)] if CLASS_NAMES in archive.names else []
        others = []
        for key in sets:
            kind, _, name = key.partition("/")
            of_set = f"labels/{name}" if f"labels/{name}" in archive.names else "labels"
            if of_set not in archive.names:
                raise InvalidInputError(
                    f"{path}: needs 'labels/{printable(name, 80)}' or 'labels', integers from 0"
                )
            what, outputs = f"{printable(path.name)}: {printable(name, 80)}", archive.read(key)
            if kind == "logits":
                _refuse_as_logits(what, outputs)
            group = re.sub(r"-\d+$", "", name)
            one = Predictions(what, outputs, KEYS[kind], labels=archive.read(of_set), group=group)
            classes = _class_names(path, {CLASS_NAMES: names[0]}, one.classes) if names else ()
            others.append(in_order(OwnSet(one, classes), source.classes).predictions)
    return others


def _of_other_models(what: str, key: str, array: NDArray[Any], own: Predictions) -> NDArray[Any]:
    """Return other models' outputs on the images of `own`, or refuse them in the file's own words."""
    classes = key != "reference"
    wanted = (len(own),) if classes else (len(own), own.classes)
    form = "predicted classes (models, images)" if classes else "probabilities (models, images, classes)"
    if array.ndim != len(wanted) + 1 or array.shape[1:] != wanted or not len(array):
        swapped = array.ndim == len(wanted) + 1 and np.swapaxes(array, 0, 1).shape[1:] == wanted
        raise InvalidInputError(
            f"{what}: expected {form}, here (models, {', '.join(map(str, wanted))}) as {own.name} has them; "
            f"got shape {array.shape}" + ("; swap its first two axes: numpy.swapaxes(array, 0, 1)" * swapped)
        )
    return class_indices(what, array, array.shape, own.classes) if classes else _shares(what, array)


def _shares(what: str, array: NDArray[Any]) -> Floats:
    """Return probabilities (M, n, K), each row summing to one, or refuse them by model and image."""
    members = finite(what, array, "(M, n, K)", 3)
    sums = members.sum(axis=2)
    off = np.abs(sums - 1)
    if members.min() >= -NOISE and off.max() <= max(SUM_TOLERANCE, rounded_off(members)):
        members = np.maximum(members, 0.0)
        shares: Floats = members / members.sum(axis=2, keepdims=True)
        return shares
    model, image = (int(place) for place in np.unravel_index(int(off.argmax()), off.shape))
    hint = "If they were rounded, give more digits."
    if members.min() < -NOISE:
        hint = (
            "These look like logits: give their softmax over the last axis (or, for difficulty --ensemble, "
            "an .npz file that calls them 'logits')."
        )
    elif are_percentages(members, sums):
        hint = "These look like percentages: divide them by 100."
    raise InvalidInputError(
        f"{what}: expected probabilities, but values span {members.min():.4g} to {members.max():.4g} and "
        f"those of model {model} for image {image} sum to {sums[model, image]:.6g}. {hint}"
    )


def read_pair(
    source: Path,
    target: Path,
    labels: Path | None = None,
    others: Mapping[str, Path | None] | None = None,
) -> tuple[OwnSet, OwnSet, list[str]]:
    """Read a labelled source and a target, classes in one order; return both and what is doubtful about them.

    Parameters
    ----------
    source, target, labels
        As `read_set` reads them.
    others
        Files with other models' outputs by "reference", "peers" and "siblings", as `attach` reads them.

    Raises
    ------
    InvalidInputError
        If a file cannot be read, or does not fit the others.
    """
    known, unknown = read_set(source, labelled=True, labels=labels), read_set(target, labelled=False)
    doubts = [*about_columns(source, known), *about_columns(target, unknown), *about_names(known, unknown)]
    unknown = in_order(unknown, known.classes)
    known = known if known.classes else replace(known, classes=unknown.classes)
    first, second = known.predictions, unknown.predictions
    given = {key: path for key, path in (others or {}).items() if path is not None}
    for key, path in given.items():
        first, second = attach(first, second, key, path, known.classes)
    files = [(source, OF_A_SET), (target, OF_A_SET), *((path, OF_OTHER_MODELS) for path in given.values())]
    doubts += [text for path, names in files for text in about_unread(path, names)]
    return replace(known, predictions=first), replace(unknown, predictions=second), doubts


def column_of(own: OwnSet, column: str, use: str) -> pd.Series[Any]:
    """Return a column of a table, one entry an image.

    Raises
    ------
    InvalidInputError
        If there is none of that name; `use` says what needs a table.
    """
    if column not in own.columns:
        known = list(map(str, own.columns.columns))
        held = (", ".join(known) or f"none ({use} a .csv or .parquet target)") + near_hint(column, known)
        raise InvalidInputError(f"{own.predictions.name}: has no column {column!r}; it has {held}")
    cells: pd.Series[Any] = own.columns[column]
    return cells


def read_ensemble(path: Path) -> Floats:
    """Read member probabilities (M, n, K) from `.npy` (probabilities) or an archive (`probs` or `logits`).

    Raises
    ------
    InvalidInputError
        If the file cannot be read, holds another array, has far more members than images, or its rows
        are not probabilities.
    """
    arrays, held = read_arrays(path, (*KEYS, UNNAMED))
    if len(arrays) != 1:
        raise InvalidInputError(
            f"{path}: expected one array named 'probs' or 'logits' (M, n, K); it holds {held}"
        )
    key, array = next(iter(arrays.items()))
    members = finite(str(path), array, "(M, n, K)", 3)
    try:
        check_members(members)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    if len(array) >= SWAPPED * array.shape[1]:
        raise InvalidInputError(
            f"{path}: shape {array.shape} means {len(array):,} members on {array.shape[1]:,} images; "
            "are the first two axes swapped? Expected (members, images, classes): numpy.swapaxes(array, 0, 1)"
        )
    if key != "logits":
        return _shares(str(path), members)
    for number, member in enumerate(members):
        _refuse_as_logits(f"{path}: member {number}", member)
    return softmax(members)

"""A person's own files: predictions as `.npz`, `.npy`, `.csv` or `.parquet`, and other models' beside them.

Nothing is unpickled, nothing is sorted: classes are in the order in which the file has them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Kind, Predictions
from shiftcast.util.arrays import SUM_TOLERANCE, are_percentages, class_indices, looks_like_probabilities
from shiftcast.util.types import Integers

KEYS: dict[str, Kind] = {"logits": "logits", "probs": "probabilities"}
PREFIXES: dict[str, Kind] = {"logit_": "logits", "prob_": "probabilities"}
LABEL = "label"
LABEL_LIKE = ("labels", "y", "y_true", "target", "class", "truth", "ground_truth")


@dataclass(frozen=True, eq=False)
class OwnSet:
    """Predictions read from a file.

    Parameters
    ----------
    predictions
        The predictions, with labels where the file has them.
    classes
        Names of the classes, in the file's order; empty where it does not name them.
    columns
        Other columns of a table, one row an image; slices are cut along them.
    """

    predictions: Predictions
    classes: tuple[str, ...] = ()
    columns: pd.DataFrame = field(default_factory=pd.DataFrame)


def read_set(path: Path, labelled: bool, labels: Path | None = None) -> OwnSet:
    """Read a person's predictions.

    Parameters
    ----------
    path
        `.npz` with `logits` or `probs` (n, K) and perhaps `labels` (n,); `.npy` (n, K), taken for
        probabilities where every row is one; `.csv` or `.parquet` with a column `logit_CLASS` or
        `prob_CLASS` for each class, and perhaps `label` and others.
    labelled
        Whether labels must be there.
    labels
        `.npy` of integers (n,), for files that hold none.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or its content is not such predictions.
    """
    _require_file(path, ".npz, .npy, .csv or .parquet")
    readers = {".npy": _read_array, ".csv": _read_table, ".parquet": _read_table}
    own = readers.get(path.suffix.lower(), _read_archive)(path)
    if labels is not None:
        if own.predictions.labels is not None:
            raise InvalidInputError(f"{path}: holds labels already; leave {labels} away")
        own = replace(own, predictions=own.predictions.with_labels(_load_array(labels)))
    if labelled and own.predictions.labels is None:
        raise InvalidInputError(
            f"{path}: the source needs 'labels' (n,), integers from 0 (a column 'label' in tables, or "
            f"--labels FILE.npy){_other_label(own)}"
        )
    return own


def _other_label(own: OwnSet) -> str:
    """Return a hint where a table has a column that may be what is missing."""
    found = [name for name in own.columns.columns if str(name).lower() in LABEL_LIKE]
    return f"; its column {str(found[0])!r} is another one: call it {LABEL!r} if it is meant" if found else ""


def _predictions(path: Path, outputs: NDArray[Any], kind: Kind, labels: Any = None) -> Predictions:
    if kind == "logits" and looks_like_probabilities(outputs):
        raise InvalidInputError(
            f"{path}: what is called logits holds probabilities (every row is in [0, 1] and sums to one); "
            "call it probs (in tables prob_CLASS)"
        )
    return Predictions(name=path.name, logits=outputs, kind=kind, labels=labels)


def _require_file(path: Path, kinds: str) -> None:
    if path.is_dir():
        raise InvalidInputError(f"{path}: is a folder; name a {kinds} file")
    if not path.is_file():
        raise InvalidInputError(f"{path}: there is no such file")


def _load_archive(path: Path, wanted: Collection[str]) -> tuple[dict[str, NDArray[Any]], str]:
    """Return the wanted arrays of an .npz file that it has, and the names of all that it holds."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = ", ".join(archive.files) or "nothing"
            return {key: archive[key] for key in archive.files if key in wanted}, held
    except Exception as error:  # damaged files raise anything
        raise InvalidInputError(f"{path}: cannot be read as an .npz file: {error}") from error


def _read_archive(path: Path) -> OwnSet:
    if not zipfile.is_zipfile(path):
        raise InvalidInputError(
            f"{path}: is not an .npz file; write one with numpy.savez(path, logits=..., labels=...)"
        )
    arrays, held = _load_archive(path, (*KEYS, "labels"))
    present = [key for key in KEYS if key in arrays]
    if len(present) != 1:
        raise InvalidInputError(
            f"{path}: expected one array named 'logits' or 'probs' (n, K), and 'labels' (n,) where they are "
            f"known; it holds {held}"
        )
    key = present[0]
    return OwnSet(_predictions(path, arrays[key], KEYS[key], arrays.get("labels")))


def _load_array(path: Path) -> NDArray[Any]:
    _require_file(path, ".npy")
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except Exception as error:  # damaged files raise anything
        raise InvalidInputError(f"{path}: cannot be read as an .npy file: {error}") from error
    return array


def _read_array(path: Path) -> OwnSet:
    array = _load_array(path)
    kind: Kind = "probabilities" if looks_like_probabilities(array) else "logits"
    return OwnSet(Predictions(name=path.name, logits=array, kind=kind))


def _read_table(path: Path) -> OwnSet:
    try:
        table = pd.read_csv(path) if path.suffix.lower() == ".csv" else _decoded(pd.read_parquet(path))
    except ImportError as error:
        raise InvalidInputError(
            f"{path}: reading Parquet files needs pyarrow; install it with: pip install 'shiftcast[parquet]'"
        ) from error
    except Exception as error:  # damaged files raise anything
        raise InvalidInputError(f"{path}: cannot be read as a table: {error}") from error
    if len(table.columns) == 1 and (other := next((c for c in ";\t|" if c in str(table.columns[0])), "")):
        raise InvalidInputError(f"{path}: its columns are separated by {other!r}; write it with commas")
    found = {p: [c for c in table.columns if str(c).startswith(p)] for p in PREFIXES}
    present = [prefix for prefix, columns in found.items() if columns]
    if len(present) != 1:
        raise InvalidInputError(
            f"{path}: expected a column logit_CLASS or prob_CLASS for each class (not both kinds); "
            f"its columns are {', '.join(map(str, table.columns[:12]))}"
        )
    prefix = present[0]
    if len(table) == 0:
        raise InvalidInputError(f"{path}: holds no rows")
    columns = found[prefix]
    classes = tuple(str(column).removeprefix(prefix) for column in columns)
    try:
        outputs = table[columns].to_numpy(dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"{path}: columns {prefix}…: expected numbers: {error}") from error
    empty = np.argwhere(~np.isfinite(outputs))
    if len(empty):
        row, column = empty[0].tolist()
        raise InvalidInputError(
            f"{path}: row {row} (from 0, below the head), column {columns[column]!r} is empty or not finite; "
            f"{len(empty)} cells are"
        )
    labels = _labels(path, table[LABEL], classes) if LABEL in table else None
    rest = table.drop(columns=[*columns, *([LABEL] if LABEL in table else [])])
    return OwnSet(_predictions(path, outputs, PREFIXES[prefix], labels), classes, rest)


def _decoded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a Parquet file's table, all of whose texts can be read: they are decoded at the first look."""
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name].to_list()
    return table


def _labels(path: Path, column: pd.Series[Any], classes: Sequence[str]) -> Integers:
    """Return class positions: labels are class names, as in the columns, or positions from 0."""
    place = {name: position for position, name in enumerate(classes)}
    if column.isna().any():
        row = int(np.flatnonzero(column.isna())[0])
        raise InvalidInputError(f"{path}: column label: row {row} is empty")
    _refuse_ambiguous(path, column, classes)
    names = column.astype(str)
    unknown = ~names.isin(list(place))
    if not unknown.any():
        return np.array([place[name] for name in names], dtype=np.int64)
    if pd.api.types.is_integer_dtype(column) and column.between(0, len(classes) - 1).all():
        return np.asarray(column, dtype=np.int64)
    row = int(np.flatnonzero(unknown)[0])
    if pd.api.types.is_float_dtype(column) and (column % 1 == 0).all():
        raise InvalidInputError(
            f"{path}: column label: row {row} holds {column.iloc[row]}, a whole number written as a decimal, "
            "as pandas does in a column that once had empty cells; make it integers: "
            "table['label'] = table['label'].astype(int)"
        )
    raise InvalidInputError(
        f"{path}: column label: row {row} holds {str(column.iloc[row])!r}, which is none of the classes that "
        f"the columns name: {', '.join(classes[:12])}"
    )


def _refuse_ambiguous(path: Path, column: pd.Series[Any], classes: Sequence[str]) -> None:
    """Refuse labels that could be positions where the classes are called by other numbers."""
    positions = {str(k) for k in range(len(classes))}
    numbers = all(name.lstrip("-").isdigit() for name in classes)
    if numbers and positions != set(classes) and set(column.astype(str)) <= positions:
        raise InvalidInputError(
            f"{path}: column label: its numbers could be class names ({', '.join(classes[:6])}, …) or "
            "positions from 0; name the classes by words, or by 0, 1, 2, …"
        )


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
    labels = None if own.labels is None else np.argsort(columns)[own.labels]
    return replace(
        target, predictions=replace(own, logits=own.logits[:, columns], labels=labels), classes=classes
    )


def attach(source: Predictions, target: Predictions, key: str, path: Path) -> tuple[Predictions, Predictions]:
    """Add other models' outputs to source and target.

    Parameters
    ----------
    source, target
        The predictions.
    key
        "reference" (probabilities (M, n, K)), "peers" or "siblings" (predicted classes (Z, n)).
    path
        `.npz` with the arrays `source` and `target`.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, lacks an array, or one does not fit.
    """
    _require_file(path, ".npz")
    if not zipfile.is_zipfile(path):
        raise InvalidInputError(f"{path}: expected an .npz file with the arrays 'source' and 'target'")
    arrays, held = _load_archive(path, ("source", "target"))
    if len(arrays) != 2:
        raise InvalidInputError(f"{path}: expected the arrays 'source' and 'target'; it holds {held}")
    both = []
    for name, predictions in (("source", source), ("target", target)):
        value: dict[str, Any] = {key: _of_other_models(f"{path}: {name}", key, arrays[name], predictions)}
        both.append(replace(predictions, **value))
    if len(arrays["source"]) != len(arrays["target"]):
        raise InvalidInputError(
            f"{path}: source holds {len(arrays['source'])} models and target {len(arrays['target'])}; "
            "give the same ones in the same order"
        )
    return both[0], both[1]


def _of_other_models(what: str, key: str, array: NDArray[Any], own: Predictions) -> NDArray[Any]:
    """Return other models' outputs on the images of `own`, or refuse them in the file's own words."""
    classes = key != "reference"
    wanted = (len(own),) if classes else (len(own), own.classes)
    form = "predicted classes (models, images)" if classes else "probabilities (models, images, classes)"
    if array.ndim != len(wanted) + 1 or array.shape[1:] != wanted or not len(array):
        raise InvalidInputError(
            f"{what}: expected {form}, here (models, {', '.join(map(str, wanted))}) as {own.name} has them; "
            f"got shape {array.shape}"
        )
    if classes:
        return class_indices(what, array, array.shape, own.classes)
    if array.dtype.kind not in "fiu":
        raise InvalidInputError(f"{what}: expected numbers, got dtype {array.dtype}")
    sums = array.sum(axis=2, dtype=np.float64)
    bad = ~(np.abs(sums - 1) <= SUM_TOLERANCE) | ~(array >= 0).all(axis=2)
    if bad.any():
        model, image = np.argwhere(bad)[0].tolist()
        hint = " These look like logits: give their softmax over the last axis." if array.min() < 0 else ""
        if are_percentages(array, sums):
            hint = " These look like percentages: divide them by 100."
        raise InvalidInputError(
            f"{what}: expected probabilities, but those of model {model} for image {image} sum to "
            f"{sums[model, image]:.6g} and span {array[model, image].min():.4g} to "
            f"{array[model, image].max():.4g}.{hint}"
        )
    return array

"""Estimates for a person's own predictions: labelled validation outputs and unlabelled production outputs.

Reads `.npz` files; needs no workspace and no torch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import official_estimators
from shiftcast.predictions import Kind, Predictions

KEYS: dict[str, Kind] = {"logits": "logits", "probs": "probabilities"}


def read_predictions(path: Path, labelled: bool) -> Predictions:
    """Read a person's `.npz` file with `logits` or `probs` (n, K) and, for a source, `labels` (n,).

    Parameters
    ----------
    path
        The file.
    labelled
        Whether labels must be there.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or its arrays are not such predictions.
    """
    arrays = _load(path)
    present = [key for key in KEYS if key in arrays]
    if len(present) != 1:
        raise InvalidInputError(
            f"{path}: expected one array named 'logits' or 'probs' (n, K); "
            f"it holds {', '.join(arrays) or 'none of these'}"
        )
    if labelled and "labels" not in arrays:
        raise InvalidInputError(
            f"{path}: the source needs 'labels' (n,), integers from 0; it holds {', '.join(arrays)}"
        )
    key = present[0]
    return Predictions(name=path.name, logits=arrays[key], kind=KEYS[key], labels=arrays.get("labels"))


def _load(path: Path) -> dict[str, NDArray[Any]]:
    if path.is_dir():
        raise InvalidInputError(f"{path}: is a folder; name an .npz file")
    if not path.is_file():
        raise InvalidInputError(f"{path}: there is no such file")
    if not zipfile.is_zipfile(path):
        raise InvalidInputError(
            f"{path}: is not an .npz file; write one with numpy.savez(path, logits=..., labels=...)"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files if key in ("logits", "probs", "labels")}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"{path}: cannot be read as an .npz file: {error}") from error


def estimate_accuracy(source: Predictions, target: Predictions) -> list[dict[str, Any]]:
    """Return one row per T1 estimator, the estimators that need a model's own outputs alone.

    Parameters
    ----------
    source
        Labelled predictions, in distribution.
    target
        Predictions on other images, of the same kind and with the same classes. Labels are ignored.

    Returns
    -------
    list of dict
        `estimator`, `accuracy`, `low`, `high`, `level`, `interval` ("sampling"), `diagnostics`; or
        `estimator` and `skipped` with the reason.

    Raises
    ------
    InvalidInputError
        If one holds logits and the other probabilities, or the class counts differ.
    """
    if source.kind != target.kind:
        raise InvalidInputError(
            f"source {source.name!r} holds {source.kind}, but target {target.name!r} holds {target.kind}; "
            "give both in the same form"
        )
    if source.classes != target.classes:
        raise InvalidInputError(
            f"source {source.name!r} has {source.classes} classes, "
            f"but target {target.name!r} has {target.classes}"
        )
    rows: list[dict[str, Any]] = []
    for name, estimator in official_estimators().items():
        if estimator.track != "T1":
            continue
        try:
            found = estimator.fit(source).predict(target.without_labels())
        except InvalidInputError as error:
            rows.append({"estimator": name, "skipped": str(error)})
            continue
        rows.append(
            {
                "estimator": name,
                "accuracy": found.accuracy,
                "low": found.low,
                "high": found.high,
                "level": found.level,
                "interval": "sampling",
                "diagnostics": dict(found.diagnostics),
            }
        )
    return rows


def summary(source: Predictions, target: Predictions, rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Return the whole answer as one JSON-serialisable mapping."""
    answer: dict[str, Any] = {
        "source": {"name": source.name, "images": len(source), "accuracy": round(source.accuracy, 6)},
        "target": {"name": target.name, "images": len(target)},
        "classes": source.classes,
        "kind": source.kind,
        "estimates": rows,
    }
    if target.labels is not None:
        answer["target"]["accuracy"] = round(target.accuracy, 6)
    return answer

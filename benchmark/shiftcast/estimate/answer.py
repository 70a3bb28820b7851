"""Estimates for a person's own predictions: labelled validation outputs and unlabelled production outputs.

Needs no workspace and no torch; `inputs` reads the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from sklearn.base import clone

from shiftcast.errors import BrokenEstimatorError, InvalidInputError, UnknownNameError, with_line
from shiftcast.estimate.board_errors import BoardErrors
from shiftcast.estimate.inputs import OwnSet
from shiftcast.estimators import Estimator, Outside, load_outside, official_estimators
from shiftcast.predictions import Predictions
from shiftcast.util.types import Integers

FEWEST_IMAGES = 20
"""Labelled source images that a predicted class needs for an estimate of its own."""
EVERY = "all"
MOST_SLICES = 100
"""Different values of a column that slices are cut along, at most."""


def choose_estimators(names: str = EVERY, outside: Outside | None = None) -> dict[str, Estimator]:
    """Return fresh estimators by name: all of them, or those of a comma-separated list.

    Names may be in any case; the name of a class stands for all estimators of the class (ATC for
    ATC-MC and ATC-NE).

    Parameters
    ----------
    names
        "all", or names with commas.
    outside
        What installed packages register; looked up when omitted. What cannot be used of it is left
        out of all, and refused by name.

    Raises
    ------
    UnknownNameError
        If one does not exist.
    BrokenEstimatorError
        If one is registered but cannot be used.
    """
    outside = outside or load_outside()
    known = {**official_estimators(), **outside.estimators}
    if names == EVERY:
        return known
    spelt: dict[str, list[str]] = {}
    for name, estimator in known.items():
        spelt.setdefault(type(estimator).__name__.lower(), []).append(name)
    spelt |= {name.lower(): [name] for name in known}
    asked = [name.strip() for name in names.split(",") if name.strip()]
    wanted = [name for one in asked for name in spelt.get(one.lower(), [one])]
    if EVERY in wanted:
        raise InvalidInputError(
            f"estimators: {EVERY!r} stands alone, got {names!r}; leave it away, or the other names"
        )
    for name in wanted:
        if name in outside.broken and name not in known:
            raise BrokenEstimatorError(f"estimator {outside.broken[name]}")
        if name not in known:
            raise UnknownNameError("estimator", name, known)
    if not wanted:
        raise InvalidInputError(f"estimators: expected {EVERY!r} or names with commas, got {names!r}")
    return {name: known[name] for name in wanted}


def estimate_accuracy(
    source: Predictions,
    target: Predictions,
    estimators: Mapping[str, Estimator] | None = None,
    errors: Mapping[str, BoardErrors] | None = None,
) -> list[dict[str, Any]]:
    """Return one row per estimator: with the smallest known error on the board first, skipped ones last.

    Parameters
    ----------
    source
        Labelled predictions, in distribution.
    target
        Predictions on other images, of the same kind and with the same classes. Labels are ignored.
    estimators
        Named, unfitted estimators; all when omitted.
    errors
        What estimators got wrong on the benchmark, from
        `shiftcast.estimate.board_errors.board_errors`; without it there are sampling intervals alone.

    Returns
    -------
    list of dict
        `estimator`, `track`, `accuracy`, `low`, `high`, `level`, `interval` (what it holds: "sampling",
        or what the estimator says), `diagnostics`; where errors are known, `conformal` (`low`, `high`,
        `level`, `extended`, `learned_on`; None where too few shifts are known) and `board`: of the
        benchmark's natural shifts, `mae` (the mean absolute error of the accuracies predicted there, a
        share), `coverage` (how often such intervals held), `shifts`, `architectures` and `learned_on`; or
        `estimator`, `track` and `skipped` with the reason, and `broken` true where somebody's code failed. A
        doubtful estimate has `flagged`, the reason; one from which its estimator abstains is skipped, and
        `abstained` keeps its `accuracy`, `low`, `high` and `level`.

    Raises
    ------
    InvalidInputError
        If one holds logits and the other probabilities, or the class counts differ.
    """
    check_pair(source, target)
    chosen = choose_estimators() if estimators is None else estimators
    known = errors or {}
    rows = [_row(name, estimator, source, target, known.get(name)) for name, estimator in chosen.items()]
    return sorted(rows, key=_place)


def check_pair(source: Predictions, target: Predictions) -> None:
    """Refuse a source and a target that are not outputs of one kind for the same classes.

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


def _place(row: Mapping[str, Any]) -> tuple[bool, float]:
    error = row.get("board", {}).get("mae")
    return "skipped" in row, inf if error is None else error


def _row(
    name: str, estimator: Estimator, source: Predictions, target: Predictions, errors: BoardErrors | None
) -> dict[str, Any]:
    head = {"estimator": name, "track": estimator.track}
    try:
        found = clone(estimator).fit(source).predict(target.without_labels())
    except BrokenEstimatorError as error:
        return {**head, "skipped": str(error), "broken": True}
    except InvalidInputError as error:
        return {**head, "skipped": _reason(estimator, error)}
    except Exception as error:
        if name in official_estimators():
            raise  # ours: a mistake that must be seen
        return {**head, "skipped": f"its code failed: {with_line(error)}", "broken": True}
    if found.abstains:
        told = {"accuracy": found.accuracy, "low": found.low, "high": found.high, "level": found.level}
        return {**head, "skipped": f"abstains: {found.abstains}", "abstained": told}
    return {
        **head,
        "accuracy": found.accuracy,
        "low": found.low,
        "high": found.high,
        "level": found.level,
        "interval": found.diagnostics.get("interval", "sampling"),
        "diagnostics": dict(found.diagnostics),
        **({"flagged": found.flagged} if found.flagged else {}),
        **({} if errors is None else _from_board(errors, found.accuracy, len(target))),
    }


def _from_board(errors: BoardErrors, accuracy: float, images: int) -> dict[str, Any]:
    ends = errors.interval(accuracy, images)
    conformal = None
    if ends is not None:
        conformal = {
            **dict(zip(("low", "high", "extended"), ends, strict=True)),
            "level": errors.level,
            "learned_on": errors.learned_on,
        }
    board = {
        "mae": errors.mae,
        "coverage": errors.coverage,
        "shifts": len(errors.residuals),
        "architectures": errors.architectures,
        "learned_on": errors.learned_on,
    }
    return {"conformal": conformal, "board": board}


OPTIONS = {
    "reference": "the probabilities of other models: give them with --ensemble",
    "peers": "the predicted classes of other models: give them with --peers",
    "siblings": "the predicted classes of your architecture with other seeds: give them with --siblings",
}


def _reason(estimator: Estimator, error: InvalidInputError) -> str:
    said = str(error)
    for need, option in OPTIONS.items():
        if need in estimator.requires and f"needs {need}, but" in said:
            return f"needs {option} FILE.npz"
    if "others" in estimator.requires and "(others)" in said:
        return (
            "needs labelled sets under other shifts, corrupted copies of the source among them; in Python: "
            "fit(source, others)"
        )
    return said


def by_predicted_class(
    source: Predictions, target: Predictions, names: Sequence[str], estimators: Mapping[str, Estimator]
) -> list[dict[str, Any]]:
    """Return estimates for the target images that the model puts into each class.

    Each estimator is fitted on the source images of the same predicted class, so an answer is that
    class's precision under shift. Estimators that need classes to be mixed, or models beside the
    scored one, answer as they can.

    Returns
    -------
    list of dict
        `class`, `images`, `source_images`, `source_accuracy`, `estimates` as in `estimate_accuracy`;
        `skipped` in place of the last where the source has fewer than 20 images.
    """
    rows = []
    for k in range(source.classes):
        own, there = np.flatnonzero(source.predicted == k), np.flatnonzero(target.predicted == k)
        head: dict[str, Any] = {
            "class": names[k] if names else k,
            "images": len(there),
            "source_images": len(own),
        }
        if len(own) < FEWEST_IMAGES or not len(there):
            few = f"needs {FEWEST_IMAGES} source images put into the class and one target image"
            rows.append({**head, "skipped": few})
            continue
        part = source.select(own)
        found = estimate_accuracy(part, target.select(there), estimators)
        rows.append({**head, "source_accuracy": round(part.accuracy, 6), "estimates": found})
    return rows


def by_slice(
    source: Predictions, target: OwnSet, column: str, estimators: Mapping[str, Estimator]
) -> list[dict[str, Any]]:
    """Return estimates for the target images with each value of a column, largest slice first.

    Raises
    ------
    InvalidInputError
        If the target has no such column, or one with more than 100 different values.
    """
    if column not in target.columns:
        known = ", ".join(map(str, target.columns.columns)) or "none (slices need a .csv or .parquet target)"
        raise InvalidInputError(f"{target.predictions.name}: has no column {column!r}; it has {known}")
    cells = target.columns[column]
    values = cells.astype(object).where(cells.notna() & (cells != ""), "(empty)").map(str).to_numpy(dtype=str)
    names, counts = np.unique(values, return_counts=True)
    if len(names) > MOST_SLICES:
        raise InvalidInputError(
            f"{target.predictions.name}: column {column!r} has {len(names):,} different values, and at most "
            f"{MOST_SLICES} slices are estimated; sort them into bins first (pandas.cut), or take another one"
        )
    rows = []
    for place in np.argsort(-counts, kind="stable"):
        index: Integers = np.flatnonzero(values == names[place])
        part = target.predictions.select(index)
        found = estimate_accuracy(source, part, estimators)
        head: dict[str, Any] = {"slice": str(names[place]), "images": len(index)}
        if part.labels is not None:
            head["actual"] = round(part.accuracy, 6)
        if target.some_labels is not None:
            head |= _so_far(part, target.some_labels[index])
        rows.append({**head, "estimates": found})
    return rows


def _so_far(predictions: Predictions, labels: Integers) -> dict[str, Any]:
    """Return `labelled`, how many images have a label that is not -1, and their accuracy, `actual_so_far`."""
    known = np.flatnonzero(labels >= 0)
    right = predictions.predicted[known] == labels[known]
    return {
        "labelled": len(known),
        **({"actual_so_far": round(float(right.mean()), 6)} if len(known) else {}),
    }


def actual_so_far(target: OwnSet) -> dict[str, Any]:
    """Return what the labels of some images say, `labelled` and `actual_so_far`; nothing without such."""
    return {} if target.some_labels is None else _so_far(target.predictions, target.some_labels)


def summary(source: Predictions, target: Predictions, rows: list[dict[str, Any]]) -> dict[str, Any]:
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

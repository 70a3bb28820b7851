"""Parts of the target, by predicted class and by slice: estimates whose mean, by images, is the answer.

A part's accuracy is the mean chance of its images (`chances`), so that parts of any kind agree with the
whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import hypot, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.chances import Chances
from shiftcast.estimate.inputs import OwnSet, column_of
from shiftcast.predictions import Predictions
from shiftcast.statistics import normal_quantile, wilson
from shiftcast.util.text import count
from shiftcast.util.types import Floats, Integers

FEWEST_IMAGES = 20
"""Target images that a part needs for an estimate and not an interval alone; of a predicted class, source
images as well."""
MOST_SLICES = 100
"""Different values of a column that slices are cut along, at most."""
SLICE_SPREAD = 0.35
"""Standard deviation of a slice's log-odds around its estimate where the whole is known. Learned on mixtures
of shifted sets of CIFAR-10 (photographs, emoji, fog, noise); 0.34 on others (drawings, contrast, blur)."""
CLASS_SPREAD, SPREAD_BY_MIX = 0.25, 1.6
"""The same of a predicted class, and by how much it grows with the distance between the class shares of
source and target: chosen on the same four sets, also resampled to other class shares (80 % intervals then
held in 97, 81 and 65 % of classes for none, moderate and strong changes of shares, the whole being known). On
other sets: 88 to 100 % under corruptions, 80 % on drawings, 55 % on photographs that lack whole classes."""


def by_predicted_class(
    source: Predictions, target: OwnSet, names: Sequence[str], chances: Chances
) -> list[dict[str, Any]]:
    """Return an estimate for the target images that the model puts into each class: its precision there.

    Parameters
    ----------
    source, target
        Labelled predictions, and those that the answer is about.
    names
        Of the classes; positions stand for them where there are none.
    chances
        Of the target's predictions, from the answer on the whole.

    Returns
    -------
    list of dict
        For each class in order `class`, `images`, `share`, `source_images`, `source_share`, `source_accuracy`
        (precision on the source, where it has images), `actual` or `labelled` and `actual_so_far` where
        labels are known, and `accuracy`, `low`, `high` and `level`. Of a class with fewer than 20 images in
        target or source `accuracy` is left out, and one row `(n small classes)` with `pooled` true holds them
        together. The mean of all rows' accuracies, weighted by `images`, is the answer's.
    """
    parts = []
    for k in range(source.classes):
        known = source.predicted == k
        head: dict[str, Any] = {
            "class": names[k] if names else k,
            "source_images": int(known.sum()),
            "source_share": round(float(known.mean()), 6),
        }
        if known.any():
            head["source_accuracy"] = round(float(source.correct[known].mean()), 6)
        parts.append((head, np.flatnonzero(target.predictions.predicted == k), head["source_images"]))
    return _rows("class", parts, target, chances, class_spread(chances))


def class_spread(chances: Chances) -> float:
    """Return the standard deviation of a predicted class's log-odds around its estimate."""
    return CLASS_SPREAD + SPREAD_BY_MIX * chances.class_mix_distance


def by_slice(source: OwnSet, target: OwnSet, column: str, chances: Chances) -> list[dict[str, Any]]:
    """Return an estimate for the target images with each value of a column, largest slice first.

    Rows are as in `by_predicted_class`, with `slice` for `class`; what is of the source stands there where
    the source has the column too.

    Raises
    ------
    InvalidInputError
        If the target has no such column, or one with more than 100 different values.
    """
    values = slice_values(target, column)
    names, counts = np.unique(values, return_counts=True)
    there = _cells(source, column) if column in source.columns else None
    parts = []
    for place in np.argsort(-counts, kind="stable"):
        head: dict[str, Any] = {"slice": str(names[place])}
        if there is not None:
            known = there == names[place]
            head |= {
                "source_images": int(known.sum()),
                "source_share": round(float(known.mean()), 6),
            }
            if known.any():
                head["source_accuracy"] = round(float(source.predictions.correct[known].mean()), 6)
        parts.append((head, np.flatnonzero(values == names[place]), FEWEST_IMAGES))
    return _rows("slice", parts, target, chances, SLICE_SPREAD)


def slice_values(target: OwnSet, column: str) -> NDArray[np.str_]:
    """Return the column (n,), as texts, that slices are cut along.

    Raises
    ------
    InvalidInputError
        If the target has no such column, or one with more than 100 different values.
    """
    name = target.predictions.name
    column_of(target, column, "slices need")
    values = _cells(target, column)
    if (different := len(np.unique(values))) > MOST_SLICES:
        raise InvalidInputError(
            f"{name}: column {column!r} has {different:,} different values, and at most {MOST_SLICES} slices "
            "are estimated; sort them into bins first (pandas.cut), or take another one"
        )
    return values


def _cells(table: OwnSet, column: str) -> NDArray[np.str_]:
    cells = table.columns[column]
    return cells.astype(object).where(cells.notna() & (cells != ""), "(empty)").map(str).to_numpy(dtype=str)


def _rows(
    kind: str,
    parts: Iterable[tuple[dict[str, Any], Integers, int]],
    target: OwnSet,
    chances: Chances,
    spread: float,
) -> list[dict[str, Any]]:
    """Return a row for each part, given as what its row begins with, its images, and source images."""
    rows, small, right = [], [], chances.right
    alone = chances.answer.get("accuracy") is None
    for head, index, known in parts:
        row = {**head, "images": len(index), "share": round(len(index) / len(right), 6)}
        if len(index):
            row |= {**actual_of(target, index), **_estimate(right[index], chances, spread)}
            if min(len(index), known) < FEWEST_IMAGES or alone:
                del row["accuracy"]
                small.append(index)
        else:
            row["skipped"] = f"no target image is in this {kind}"
        rows.append(row)
    if small and not alone:
        index = np.concatenate(small)
        plural = f"{kind}es" if kind == "class" else f"{kind}s"
        name = f"({len(small)} small {kind if len(small) == 1 else plural} together)"
        row = {kind: name, "pooled": True, "images": len(index), "share": round(len(index) / len(right), 6)}
        rows.append(row | actual_of(target, index) | _estimate(right[index], chances, spread))
    return rows


def _estimate(right: Floats, chances: Chances, spread: float) -> dict[str, Any]:
    """Return the accuracy of a part, from the chances of its images, and its interval.

    On log-odds, the interval's arms join, as independent ones, that of the whole's interval, the spread of
    parts around their estimates (none where the part is the whole), and sampling; it is no narrower than
    sampling alone.
    """
    images, whole, answer = len(right), len(chances.right), chances.answer
    level = answer["level"]
    accuracy, z = float(right.mean()), normal_quantile(level)
    centre, middle = (_odds(share) for share in (accuracy, chances.accuracy))
    steady = (images * accuracy + 1) / (images + 2)
    own = hypot(z * spread * sqrt(1 - images / whole), z / sqrt(images * steady * (1 - steady)))
    low = expit(centre - hypot(own, max(middle - _odds(answer["low"]), 0)))
    high = expit(centre + hypot(own, max(_odds(answer["high"]) - middle, 0)))
    first, last = wilson(round(images * accuracy), images, level)
    return {
        "accuracy": round(accuracy, 6),
        "low": round(float(min(low, first, accuracy)), 6),
        "high": round(float(max(high, last, accuracy)), 6),
        "level": level,
    }


def _odds(share: float) -> float:
    return float(logit(min(max(share, 1e-6), 1 - 1e-6)))


def actual_of(target: OwnSet, index: Integers) -> dict[str, Any]:
    """Return what labels say of some images: `actual`, or `labelled` and `actual_so_far`."""
    predictions = target.predictions
    if predictions.labels is not None:
        return {"actual": round(float(predictions.correct[index].mean()), 6)}
    if target.some_labels is None:
        return {}
    labels = target.some_labels[index]
    known = labels >= 0
    right = predictions.predicted[index][known] == labels[known]
    return {"labelled": int(known.sum())} | (
        {"actual_so_far": round(float(right.mean()), 6)} if known.any() else {}
    )


def actual_so_far(target: OwnSet) -> dict[str, Any]:
    """Return what the labels of some images say, `labelled` and `actual_so_far`; nothing without such."""
    return {} if target.some_labels is None else actual_of(target, np.arange(len(target.predictions)))


def sizes_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what a table of parts says of small ones and of the agreement with the whole."""
    note = "The mean of these estimates, weighted by images, is the answer. Intervals include model error."
    small = sum("low" in row and "accuracy" not in row for row in rows)
    if small:
        note += (
            f" {count(small, 'part')} with fewer than {FEWEST_IMAGES} images "
            f"{'has' if small == 1 else 'have'} an interval alone."
        )
    return note

"""Estimates over time: the answer of `shiftcast estimate` for each chunk of a table, and alarms.

An alarm bounds sampling error over all looks together: look k may err with probability alpha / (k (k + 1)),
which sums to alpha, however many looks there are and however they depend on each other (a union bound).
Model error is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import hypot
from typing import Any

import pandas as pd
from scipy.special import betaincinv

from shiftcast.estimate.answer import check_pair, summary
from shiftcast.estimate.chances import calibrate
from shiftcast.estimate.choice import (
    LEVEL,
    answer_from,
    at_most,
    centre_of,
    read_signals,
    sampling_deviation,
)
from shiftcast.estimate.chunks import iso
from shiftcast.estimate.drop import image_difficulty
from shiftcast.estimate.inputs import OwnSet
from shiftcast.estimate.parts import actual_of
from shiftcast.estimate.signals import Signals
from shiftcast.predictions import Predictions
from shiftcast.statistics import normal_quantile
from shiftcast.util.text import BLANK, count, points
from shiftcast.util.types import Integers

MODEL_ERROR = (
    "Alarms bound sampling error over all looks. Model error is not in them: errors that the model's outputs "
    "do not show raise no alarm, and a shift may be taken for a loss of accuracy."
)


def monitor(
    source: OwnSet,
    target: OwnSet,
    chunks: Sequence[tuple[str, pd.Timestamp, Integers]],
    looks: Sequence[int],
    margin: float | None,
    false_alarms: float,
    progress: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return a row for each chunk.

    Parameters
    ----------
    source, target
        Labelled outputs, and those of the whole table.
    chunks
        Of the table, from `shiftcast.estimate.chunks.chunks_of`.
    looks
        Number of each chunk's look, from 1, no two alike.
    margin
        How far below the source's accuracy is still accepted, a share; no alarms without one.
    false_alarms
        The probability that is shared out over all looks, in (0, 1).
    progress
        Is told how many chunks are done.

    Returns
    -------
    list of dict
        `chunk`, `time` (its start), `images`, `accuracy`, `low`, `high` and `level` of the answer,
        `sampling_low` and `sampling_high` (at the same level), mean `confidence`, `difficulty` (None without
        an ensemble), `labelled` and `actual` (None without labels), and with a margin `verdict`, `look`,
        `bound` (accuracy lies below it but for the look's share of false alarms) and `alarm`. Shares are in
        [0, 1]. Of a source without errors `accuracy`, the sampling interval and `bound` are None.

    Raises
    ------
    InvalidInputError
        If source and target hold outputs of different kinds or classes.
    """
    known = source.predictions
    check_pair(known, target.predictions)
    calibration = calibrate(at_most(known))
    rows = []
    for (name, start, index), look in zip(chunks, looks, strict=True):
        chunk = target.predictions.select(index)
        signals = read_signals(known, chunk, calibration)
        row = {"chunk": name, "time": iso(start), "images": len(index)}
        row |= _estimate(known, chunk, signals, margin, actual_of(target, index))
        if margin is not None:
            row |= _look(signals, look, margin, false_alarms / (look * (look + 1)))
        rows.append(row)
        progress(len(rows))
    return rows


def _estimate(
    known: Predictions,
    chunk: Predictions,
    signals: Signals,
    margin: float | None,
    actual: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the answer on a chunk, and what is known of its images; `actual` is what labels say."""
    given = replace(answer_from(signals, summary(known, chunk, []), ()), margin=margin)
    centre = centre_of(signals).accuracy
    chance = normal_quantile(LEVEL) * sampling_deviation(signals, centre)
    alone = given.accuracy is None
    ends = (None, None) if alone else (max(centre - chance, 0.0), min(centre + chance, 1.0))
    return {
        **{key: getattr(given, key) for key in ("accuracy", "low", "high", "level")},
        **dict(zip(("sampling_low", "sampling_high"), map(_rounded, ends), strict=True)),
        "confidence": _rounded(float(chunk.confidence.mean())),
        "difficulty": None if chunk.reference is None else _rounded(float(image_difficulty(chunk)[1].mean())),
        "labelled": len(chunk) if "actual" in actual else actual.get("labelled", 0),
        "actual": actual.get("actual", actual.get("actual_so_far")),
        **({} if margin is None else {"verdict": given.verdict}),
    }


def _look(signals: Signals, look: int, margin: float, share: float) -> dict[str, Any]:
    """Return the number of a look, the bound that a share of samples exceeds, and whether it is an alarm."""
    known, accuracy = signals.source_accuracy, centre_of(signals).accuracy
    effective = min(signals.effective_images, signals.source_images)
    change = highest_change(accuracy, signals.target_images, known, effective, share)
    bound = min(known + change, 1.0) if signals.source_errors else None
    return {
        "look": look,
        "bound": _rounded(bound),
        "alarm": bound is not None and bound < known - margin,
    }


def highest_change(accuracy: float, images: float, known: float, known_images: float, share: float) -> float:
    """Return the upper bound of a change of accuracy, target minus source, that a share of samples exceeds.

    Both arms are those of Clopper and Pearson, and are joined as Zou & Donner (2008) join arms of a
    difference.

    Parameters
    ----------
    accuracy, images
        Of the target, in [0, 1], and images behind it.
    known, known_images
        The same of the source.
    share
        In (0, 1).
    """
    right, there = accuracy * images, known * known_images
    above = 1 - accuracy
    if accuracy < 1:  # quantile 1 - share of Beta(right + 1, wrong), from its small tail
        above -= float(betaincinv(images - right, right + 1, share))
    below = 0.0 if known <= 0 else known - float(betaincinv(there, known_images - there + 1, share))
    return accuracy - known + hypot(above, below)


def headline(rows: Sequence[Mapping[str, Any]], margin: float | None) -> str:
    """Return the first line: alarms and the latest chunk."""
    last = rows[-1]
    about = "at least " + _percent(last["low"]) if last["accuracy"] is None else _percent(last["accuracy"])
    latest = f"{last['chunk']}: {about} %, likely {_percent(last['low'])} to {_percent(last['high'])}"
    if margin is None:
        return f"{count(len(rows), 'chunk')}; the latest, {latest}."
    alarms = [row["chunk"] for row in rows if row["alarm"]]
    told = f"Alarm in {len(alarms)} of" if alarms else "No alarm in"
    first = f", first in {alarms[0]}" if alarms else ""
    return f"{told} {count(len(rows), 'chunk')} (margin {100 * margin:g} pp){first}; the latest, {latest}."


def shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the rows as people read them: shares in percent, columns without values left out.

    What decides comes first: a narrow terminal leaves out the last columns.
    """
    columns = {"chunk": "chunk", "images": "images", "accuracy": "acc. %"}
    means = {"actual": "actual %", "confidence": "conf. %", "difficulty": "difficulty"}
    table = []
    for row in rows:
        cells = {columns[key]: _cell(row[key]) for key in columns}
        cells[f"likely ({100 * LEVEL:g} %)"] = _ends(row["low"], row["high"])
        if "alarm" in row:
            cells |= {"verdict": row["verdict"], "alarm": "ALARM" if row["alarm"] else ""}
        cells["sampling %"] = _ends(row["sampling_low"], row["sampling_high"])
        cells |= {means[key]: _cell(row[key]) for key in means if any(one[key] is not None for one in rows)}
        table.append(cells)
    return table


def _cell(value: object) -> str:
    if isinstance(value, float):
        return _percent(value)
    return BLANK if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _ends(low: float | None, high: float | None) -> str:
    return BLANK if low is None or high is None else f"{_percent(low)} to {_percent(high)}"


def _percent(share: float) -> str:
    return points(100 * share, 1)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)

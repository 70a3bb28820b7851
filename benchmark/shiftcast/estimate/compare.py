"""Which of several models is better on a target without labels: predicted accuracies and paired differences.

Two models can only differ in accuracy where their predicted classes differ: with d the share of such images,
the difference of accuracies lies in [-d, d], whatever the shift. How far the difference of two answers is
from the actual one, as a part of d, was learned from pairs of models on the benchmark's natural shifts
(`docs/scripts/compare_models.py`, group-weighted split conformal).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import hypot, sqrt
from typing import Any

import numpy as np

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.answer import check_pair, summary
from shiftcast.estimate.choice import choose_answer
from shiftcast.estimate.inputs import OwnSet
from shiftcast.estimate.warnings import agrees_by_chance, warnings_about
from shiftcast.predictions import Predictions
from shiftcast.statistics import normal_quantile
from shiftcast.util.text import SHARES, count, percent, signed

REACH, LEVEL = 0.181, 0.8
"""How far an interval reaches to both sides, as a part of d, and its level: 231 pairs on each of 7 shifts."""
Model = tuple[str, OwnSet, OwnSet]
"""What a model is called, its labelled source, and its target."""


def compare_models(models: Sequence[Model]) -> dict[str, Any]:
    """Return the answer on each model, and each pair's difference.

    Parameters
    ----------
    models
        At least two, each on the same images in the same order; classes in one order.

    Returns
    -------
    dict
        `models`: `name`, `validation` (accuracy on the source), and `accuracy`, `low`, `high`, `level` and
        `warnings` of the answer, the highest accuracy first. `pairs`, in that order: `a`, `b`, `difference`
        (accuracy of a minus b), `low`, `high`, `level`, `differ` (share of target images that they put into
        different classes), and `better`, a name, or None where the interval holds 0. `best`: the names of
        which it cannot be told that the first is better, and the first. `units`: what figures are.

    Raises
    ------
    InvalidInputError
        If they are not on the same images.
    """
    check_same_images(models)
    rows, answers = [], {}
    for name, source, target in models:
        known, unknown = source.predictions, target.predictions
        check_pair(known, unknown)
        answer = choose_answer(
            known, unknown, summary(known, unknown, []), warnings_about(known, unknown, source.classes)
        )
        told = {key: getattr(answer, key) for key in ("accuracy", "low", "high", "level")}
        row = {"name": name, "validation": round(known.accuracy, 6), **told, "warnings": [*answer.warnings]}
        rows.append(row)
        answers[name] = answer.accuracy, known, unknown
    rows.sort(key=lambda row: -1.0 if row["accuracy"] is None else -row["accuracy"])
    names = [row["name"] for row in rows]
    pairs = [_pair(a, b, answers[a], answers[b]) for a, b in combinations(names, 2)]
    unbeaten = [pair["b"] for pair in pairs if pair["a"] == names[0] and pair["better"] is None]
    return {"models": rows, "pairs": pairs, "best": [names[0], *unbeaten], "units": SHARES}


Known = tuple[float | None, Predictions, Predictions]


def _pair(a: str, b: str, first: Known, second: Known) -> dict[str, Any]:
    differ = float((first[2].predicted != second[2].predicted).mean())
    difference, low, high = None, -differ, differ
    if first[0] is not None and second[0] is not None:
        difference = min(max(first[0] - second[0], -differ), differ)
        apart = first[1].correct.astype(np.int8) - second[1].correct.astype(np.int8)
        arm = arm_of(differ, len(first[2]), float(apart.var()) / len(apart))
        low, high = max(difference - arm, -differ), min(difference + arm, differ)
        difference = round(difference, 6)
    return {
        "a": a,
        "b": b,
        "difference": difference,
        "low": round(low, 6),
        "high": round(high, 6),
        "level": LEVEL,
        "differ": round(differ, 6),
        "better": None if difference is None else a if low > 0 else b if high < 0 else None,
    }


def arm_of(differ: float, images: float, source_variance: float, reach: float = REACH) -> float:
    """Return how far the interval of a difference reaches to both sides: model error and sampling.

    Parameters
    ----------
    differ
        Share of target images that the two put into different classes.
    images
        Of the target.
    source_variance
        Variance of the difference of both accuracies on the source.
    reach
        Model error, as a part of `differ`.
    """
    chance = normal_quantile(LEVEL) * sqrt(differ / images + source_variance)
    return hypot(reach * differ, chance)


def check_same_images(models: Sequence[Model]) -> None:
    """Refuse models that are not on the same images, as far as rows and labels show it.

    Raises
    ------
    InvalidInputError
        If two have other numbers of images or classes, or other labels of an image.
    """
    first, *others = models
    for other in others:
        for mine, theirs in zip(first[1:], other[1:], strict=True):
            a, b = mine.predictions, theirs.predictions
            pair = f"{first[0]} and {other[0]}"
            if a.logits.shape != b.logits.shape:
                raise InvalidInputError(
                    f"{pair}: {a.name} holds {count(len(a), 'image')} of {a.classes} classes and {b.name} "
                    f"{len(b):,} of {b.classes}; models are compared on the same images, in the same order"
                )
            if a.labels is None or b.labels is None:
                continue
            wrong = np.flatnonzero(a.labels != b.labels)
            if wrong.size:
                raise InvalidInputError(
                    f"{pair}: the labels in {a.name} and {b.name} differ in {count(len(wrong), 'row')}, the "
                    f"first {wrong[0]} (from 0); models are compared on the same images, in the same order"
                )


def mixed_up(models: Sequence[Model]) -> list[str]:
    """Return a warning on each model whose predicted classes have nothing to do with the first one's."""
    (name, _, target), *others = models
    first = target.predictions
    return [
        f"{name} and {other} agree on their targets no more than by chance: are these the same images, in "
        "the same order?"
        for other, _, theirs in others
        if agrees_by_chance(theirs.predictions.predicted, first.predicted, first.classes)
    ]


def best_line(result: dict[str, Any]) -> str:
    """Return the first line: the best model and its lead, or which ones cannot be told apart."""
    best, rows = result["best"], {row["name"]: row for row in result["models"]}
    if len(best) > 1:
        named = ", ".join(f"{name} ({_about(rows[name])})" for name in best)
        return f"Cannot tell which is best: {named}."
    second = next(pair for pair in result["pairs"] if pair["a"] == best[0])
    low, difference, high = (signed(100 * second[key]) for key in ("low", "difference", "high"))
    lead = f"{difference} pp against {second['b']} (likely {low} to {high}, {100 * LEVEL:g} %)"
    return f"{best[0]} is best: {_about(rows[best[0]])}, {lead}."


def _about(row: dict[str, Any]) -> str:
    if row["accuracy"] is None:
        return f"at least {percent(row['low'])} %"
    return f"about {percent(row['accuracy'])} %"

"""Other metrics than accuracy, from class probabilities that agree with the answer.

Expected confusion, recall, F1 and AUROC; no label of the target is read. What probabilities say of classes is
less tested than what they say of being right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit

from shiftcast.estimate.chances import Chances, shifted
from shiftcast.estimate.parts import class_spread
from shiftcast.predictions import Predictions
from shiftcast.statistics import normal_quantile, percentile_interval
from shiftcast.util.types import Floats, Integers

DRAWS = 200
MOST_CLASSES = 50
"""Classes of which a confusion matrix and intervals are given, at most."""
MOST_DRAWN = 2000
"""Target images whose labels are drawn, at most: of more, intervals are a little too wide."""


def other_metrics(
    source: Predictions, chances: Chances, names: Sequence[str] = (), images: int | None = None
) -> dict[str, Any]:
    """Return metrics of the target that calibrated probabilities give.

    Intervals are a parametric bootstrap of 200 draws at the answer's level. A draw takes an accuracy from the
    answer's interval, moves each predicted class's log-odds by what predicted classes scatter (`parts`), and
    draws each image's label from the probabilities that then hold. Above 50 classes there is no interval and
    no matrix.

    Parameters
    ----------
    source
        Labelled predictions.
    chances
        Of the target's m images and K classes, from the answer on the whole.
    names
        Of the classes; positions stand for them where there are none.
    images
        Of the whole target, where `chances` are of a part of it: the confusion is of so many.

    Returns
    -------
    dict
        `level`; `confusion`, expected images by true class (rows) and predicted class (K, K), up to 50
        classes; `classes`, for each one `class`, `recall` and `f1`; `macro_f1`; with two classes `auroc` of
        the second one. A figure is `value` with `low` and `high`, or with `interval` "none", and `source`,
        what it is there. A class that holds less than half an expected image has `value` None. Only
        `skipped`, a reason, where the answer is an interval alone or the outputs are predicted classes.
    """
    answer, target = chances.answer, chances.target
    if answer.get("accuracy") is None:
        return {"skipped": "the answer is an interval alone"}
    if source.kind == "classes":
        return {"skipped": "predicted classes alone have no probabilities"}
    confusion, positive = np.zeros((source.classes, source.classes)), []
    for rows in chances.blocks():
        part = chances.probabilities(rows)
        confusion += _confusion(part, target.predicted[rows])
        positive.append(part[:, 1].copy())
    found = _figures(confusion, np.concatenate(positive), target)
    labels = np.eye(source.classes)[np.asarray(source.labels)] if source.classes <= MOST_CLASSES else None
    known = None
    if labels is not None:
        known = _figures(_confusion(labels, source.predicted), labels[:, 1], source)
    draws = None
    if source.classes <= MOST_CLASSES:
        draws = _draws(chances, found)
    whole = found["confusion"] * ((images or len(target)) / len(target))
    return {
        "level": answer["level"],
        **_report(found, known, draws, answer["level"], names or range(source.classes)),
        **({"confusion": np.round(whole, 2).tolist()} if source.classes <= MOST_CLASSES else {}),
    }


def auroc(scores: Floats, positive: Floats) -> float:
    """Return the expected area under the ROC curve where each image is positive with a probability (m,).

    Over pairs of different images, one positive and one negative: how often the positive one has the higher
    score, ties counting half (Hanley & McNeil 1982). NaN without such pairs.
    """
    _, place = np.unique(scores, return_inverse=True)
    ups, downs = np.bincount(place, weights=positive), np.bincount(place, weights=1 - positive)
    same = np.bincount(place, weights=positive * (1 - positive))  # an image is no pair with itself
    below = np.cumsum(downs) - downs
    won = float(ups @ below + (ups @ downs - same.sum()) / 2)
    pairs = float(ups.sum() * downs.sum() - same.sum())
    return won / pairs if pairs > 1e-9 else float("nan")


def _confusion(probabilities: Floats, predicted: Integers) -> Floats:
    """Return expected images (K, K) by true class (rows) and predicted class."""
    classes = probabilities.shape[1]
    return np.stack([np.bincount(predicted, weights=each, minlength=classes) for each in probabilities.T])


def _figures(confusion: Floats, positive: Floats, own: Predictions) -> dict[str, Floats]:
    """Return recall (K,), F1 (K,), macro F1 (1,), and AUROC (1,) of two classes, from expected labels."""
    right, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(true >= 0.5, right / true, np.nan)
        f1 = np.where(true >= 0.5, 2 * right / (true + predicted), np.nan)
    known = f1[~np.isnan(f1)]
    found = {"recall": recall, "f1": f1, "macro_f1": np.array([known.mean() if len(known) else np.nan])}
    if own.classes == 2:
        found["auroc"] = np.array([auroc(own.logits[:, 1] - own.logits[:, 0], positive)])
    return found | {"confusion": confusion}


def _draws(chances: Chances, found: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return figures (draws, …) under drawn accuracies, class effects and labels."""
    random, target, answer, spread = (
        np.random.default_rng(0),
        chances.target,
        chances.answer,
        class_spread(chances),
    )
    some = np.arange(0, len(target), max(1, -(-len(target) // MOST_DRAWN)))
    part, right, rows = target.select(some), chances.right[some], chances.probabilities(some)
    others = rows / np.maximum(1 - right, 1e-12)[:, None]
    others[np.arange(len(some)), part.predicted] = 0
    odds, z = logit(np.clip(right, 1e-9, 1 - 1e-9)), normal_quantile(answer["level"])
    centre, low, high = (logit(min(max(answer[k], 1e-4), 1 - 1e-4)) for k in ("accuracy", "low", "high"))
    figures: dict[str, list[Floats]] = {}
    for _ in range(DRAWS):
        noise = random.normal()
        whole = expit(centre + noise / z * ((centre - low) if noise < 0 else (high - centre)))
        moved = shifted(expit(odds + spread * random.normal(size=target.classes)[part.predicted]), whole)
        one = _one_hot(_drawn(others, moved, part.predicted, random), target.classes)
        for name, value in _figures(_confusion(one, part.predicted), one[:, 1], part).items():
            figures.setdefault(name, []).append(value)
    drawn = {name: np.array(values) for name, values in figures.items()}
    if len(some) < len(target):
        # all images give the middle, those whose labels were drawn the scatter around it
        own = _figures(_confusion(rows, part.predicted), rows[:, 1], part)
        drawn = {name: values + found[name] - own[name] for name, values in drawn.items()}
    return drawn


def _drawn(others: Floats, right: Floats, predicted: Integers, random: np.random.Generator) -> Integers:
    """Return a label for each image (m,): the predicted class where it is right, else one of the others."""
    ends = np.cumsum(others, axis=1)
    place = random.random(len(right)) * ends[:, -1]
    labels: Integers = (ends <= place[:, None]).sum(axis=1).clip(max=others.shape[1] - 1)
    return np.where(random.random(len(right)) < right, predicted, labels)


def _one_hot(labels: Integers, classes: int) -> Floats:
    return np.eye(classes)[labels]


def _report(
    found: Mapping[str, Floats],
    known: Mapping[str, Floats] | None,
    draws: Mapping[str, Floats] | None,
    level: float,
    names: Sequence[Any],
) -> dict[str, Any]:
    def figure(name: str, place: int) -> dict[str, Any]:
        value = float(found[name][place])
        told: dict[str, Any] = {"value": None if np.isnan(value) else round(value, 6)}
        if known is not None and not np.isnan(known[name][place]):
            told["source"] = round(float(known[name][place]), 6)
        drawn = None if draws is None else draws[name][:, place]
        if drawn is None or np.isnan(value) or np.isnan(drawn).mean() > 1 - level:
            return {**told, "interval": "none"}
        low, high = (float(np.clip(end, 0, 1)) for end in percentile_interval(drawn[~np.isnan(drawn)], level))
        return {**told, "low": round(min(low, value), 6), "high": round(max(high, value), 6)}

    classes = [
        {"class": name, "recall": figure("recall", k), "f1": figure("f1", k)} for k, name in enumerate(names)
    ]
    single = {name: figure(name, 0) for name in ("macro_f1", "auroc") if name in found}
    return {"classes": classes, **single}

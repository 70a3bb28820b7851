"""Likely mistakes in the input files: no reason to refuse them, but a reason to check them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

import numpy as np

from shiftcast.estimate.class_order import OTHERS, about_class_order
from shiftcast.estimate.diagnoses import diagnoses, largest_output, row_keys
from shiftcast.predictions import Predictions
from shiftcast.util.text import count
from shiftcast.util.types import Classes

FEW_IMAGES = 100
BELOW_CHANCE = 3.0
"""Standard errors below chance from which an accuracy is no accident."""
ABOVE_CHANCE = 2.0
"""Standard errors above chance up to which two models agree no more than by accident."""
SAME = 1e-3
"""Probabilities this close are one model's: float16 storage stays within 5e-4."""
COUNTED_FROM_ONE = 0.1
"""How much more accurate a model must be with labels less one, that they may be counted from 1."""


SHARED_ERRORS, FEWEST_ERRORS = 0.95, 20
"""Share of the scored model's errors, of so many at least, that another model repeats to look like a copy of
it: trainings of one network with other seeds repeat half to two thirds of them."""
MOSTLY_WRONG = 0.3
"""Up to this accuracy all models may well fall into one class alike."""


def warnings_about(source: Predictions, target: Predictions, names: Sequence[str] = ()) -> list[str]:
    """Return a warning for each likely mistake in labelled source and target predictions.

    `names` are those of the classes, where they are known.
    """
    found = [
        f"{own.name} has {count(len(own), 'image')}; below {FEW_IMAGES} an estimate is mostly chance"
        for own in (source, target)
        if len(own) < FEW_IMAGES
    ]
    wrong = _below_chance(source)
    uninformative = [text for own in (source, target) for text in tells_nothing(own)]
    return [
        *found,
        *uninformative,
        *([] if uninformative else _same_images(source, target)),
        *wrong,
        *_same_models(source, target),
        *_disagreeing_models(source, target),
        *([] if uninformative or wrong else diagnoses(source, target, names)),
        *about_class_order(source, target, names),
    ]


def tells_nothing(own: Predictions) -> list[str]:
    """Return a warning where outputs are the same whatever the image, or no better than a fixed guess."""
    if len(own) < 2:
        return []
    if (own.logits == own.logits[0]).all():
        return [f"{own.name}: every image has the same outputs, so that estimates mean nothing"]
    if (own.logits == own.logits[:, :1]).all():
        return [
            f"{own.name}: each image has equal outputs for all classes, so that all are predicted as class 0"
        ]
    if len(own) < FEW_IMAGES:
        return []
    if (own.predicted == own.predicted[0]).all():
        return [f"{own.name}: every image is predicted as one class, number {own.predicted[0]} (from 0)"]
    if own.labels is None:
        return []
    commonest = np.bincount(own.labels).max() / len(own)
    if own.accuracy > commonest or _below_chance(own):
        return []
    return [
        f"{own.name}: {100 * own.accuracy:.2f} % right is no better than always predicting the most frequent "
        f"class ({100 * commonest:.2f} %): are outputs and labels in the same order of images and classes?"
    ]


def _below_chance(source: Predictions) -> list[str]:
    labels, chance = np.asarray(source.labels), 1 / source.classes
    if labels.min() >= 1 and (source.predicted == labels - 1).mean() > source.accuracy + COUNTED_FROM_ONE:
        return [
            f"{source.name}: with every label reduced by one, more than the present "
            f"{100 * source.accuracy:.2f} % would be right: labels must count from 0; do these count from 1?"
        ]
    spread = sqrt(chance * (1 - chance) / len(source))
    if source.accuracy >= chance - BELOW_CHANCE * spread:
        return []
    return [
        f"{source.name}: {100 * source.accuracy:.2f} % right is below chance ({100 * chance:.2f} %): "
        "the columns and the labels probably have different orders of classes"
    ]


def _same_images(source: Predictions, target: Predictions) -> list[str]:
    """Return a warning where source and target are the same outputs, in any order of images."""
    if source.logits.shape != target.logits.shape:
        return []
    first, second = (np.sort(row_keys(own, largest_output(source))) for own in (source, target))
    if not np.array_equal(first, second):
        return []
    return [
        f"{target.name} holds the same outputs as {source.name}: is one of them the wrong file? Where labels "
        "are known, no estimate is needed"
    ]


def agrees_by_chance(one: Classes, other: Classes, classes: int) -> tuple[float, float] | None:
    """Return how often two models predict one class (n,), and how often they would by chance.

    None where they agree more often than that, or on too few images to tell. By chance they would on the
    sum over classes of the products of both shares.
    """
    if len(one) < FEW_IMAGES:
        return None
    shares = (np.bincount(each, minlength=classes) / len(each) for each in (one, other))
    chance = float(np.prod(list(shares), axis=0).sum())
    agreement = float((one == other).mean())
    near = agreement <= chance + ABOVE_CHANCE * sqrt(chance * (1 - chance) / len(one))
    return (agreement, chance) if near else None


def _disagreeing_models(source: Predictions, target: Predictions) -> Iterator[str]:
    """Yield a warning for each input and set of which some models agree with the scored one by chance."""
    for key, option in OTHERS:
        for own in (source, target):
            others = getattr(own, key)
            if others is None or tells_nothing(own):
                continue
            others = others.argmax(axis=2) if key == "reference" else others
            found = {m: agrees_by_chance(one, own.predicted, own.classes) for m, one in enumerate(others)}
            near = {m: pair for m, pair in found.items() if pair is not None}
            if near:
                first, (agreement, chance) = next(iter(near.items()))
                yield (
                    f"{option}: {len(near)} of {count(len(others), 'model')} agree with {own.name} no more "
                    f"than by chance, model {first} (from 0) on {100 * agreement:.2f} % of its images (by "
                    f"chance {100 * chance:.2f} %): classes must be in the order of {source.name}'s columns, "
                    f"images in that of {own.name}'s rows"
                )


def _same_models(source: Predictions, target: Predictions) -> list[str]:
    """Return a warning for each input that holds the scored model itself, or what may be a copy of it."""
    found = []
    for key, option in OTHERS:
        if getattr(source, key) is None or getattr(target, key) is None:
            continue
        same = sorted(set(_like_own(source, key)) & set(_like_own(target, key)))
        if same:
            found.append(
                f"{option}: {_numbered(same)} identical to {source.name} on every image; leave "
                "it out, because a model's agreement with itself says nothing"
            )
        alike = [m for m in _repeating_errors(source, target, key) if m not in same]
        if alike:
            found.append(
                f"{option}: {_numbered(alike)} wrong in the same way on {100 * SHARED_ERRORS:.0f} % or more "
                f"of the images that {source.name}'s model gets wrong: a copy of it, or a later checkpoint? "
                "Its agreement says little"
            )
    return found


def _numbered(models: Sequence[int]) -> str:
    if len(models) == 1:
        return f"model {models[0]} (from 0) is"
    return f"models {', '.join(map(str, models))} (from 0) are"


def _repeating_errors(source: Predictions, target: Predictions, key: str) -> list[int]:
    """Return the models that make nearly all errors of the scored one on a source, and agree elsewhere."""
    wrong = ~source.correct
    others, there = (
        getattr(own, key).argmax(axis=2) if key == "reference" else getattr(own, key)
        for own in (source, target)
    )
    if wrong.sum() < FEWEST_ERRORS or source.accuracy <= MOSTLY_WRONG:
        return []
    shared = (others[:, wrong] == source.predicted[wrong]).mean(axis=1)
    agreeing = (there == target.predicted).mean(axis=1)
    return [int(m) for m in np.flatnonzero((shared >= SHARED_ERRORS) & (agreeing >= SHARED_ERRORS))]


def _like_own(own: Predictions, key: str) -> list[int]:
    if own.reference is not None and key == "reference":
        return [m for m, one in enumerate(own.reference) if np.abs(one - own.probabilities).max() <= SAME]
    return [m for m, one in enumerate(getattr(own, key)) if np.array_equal(one, own.predicted)]

"""What is odd about a person's own predictions: no reason to refuse them, but one to look again."""

from __future__ import annotations

from math import sqrt

import numpy as np

from shiftcast.predictions import Predictions
from shiftcast.util.text import count

FEW_IMAGES = 100
BELOW_CHANCE = 3.0
"""Standard errors below chance from which an accuracy is no accident."""
SAME = 1e-3
"""Probabilities this close are one model's: float16 storage stays within 5e-4."""


def warnings_about(source: Predictions, target: Predictions) -> list[str]:
    """Return a sentence on everything odd about labelled source and target predictions."""
    found = [
        f"{own.name} has {count(len(own), 'image')}; below {FEW_IMAGES} an estimate is mostly chance"
        for own in (source, target)
        if len(own) < FEW_IMAGES
    ]
    return [*found, *_below_chance(source), *_same_models(source, target)]


def _below_chance(source: Predictions) -> list[str]:
    chance = 1 / source.classes
    spread = sqrt(chance * (1 - chance) / len(source))
    if source.accuracy >= chance - BELOW_CHANCE * spread:
        return []
    return [
        f"{source.name}: {100 * source.accuracy:.2f} % right is below chance ({100 * chance:.2f} %): "
        "probably the columns are in another order of classes than the labels count them"
    ]


def _same_models(source: Predictions, target: Predictions) -> list[str]:
    """Return a warning for each input that holds the scored model itself."""
    found = []
    for key, option in (("reference", "--ensemble"), ("peers", "--peers"), ("siblings", "--siblings")):
        if getattr(source, key) is None or getattr(target, key) is None:
            continue
        same = sorted(set(_like_own(source, key)) & set(_like_own(target, key)))
        if same:
            named = (
                f"model {same[0]} (from 0) is"
                if len(same) == 1
                else f"models {', '.join(map(str, same))} (from 0) are"
            )
            found.append(
                f"{option}: {named} identical to {source.name}'s own on every image; leave "
                "it away, a model's agreement with itself says nothing"
            )
    return found


def _like_own(own: Predictions, key: str) -> list[int]:
    if own.reference is not None and key == "reference":
        return [m for m, one in enumerate(own.reference) if np.abs(one - own.probabilities).max() <= SAME]
    return [m for m, one in enumerate(getattr(own, key)) if np.array_equal(one, own.predicted)]

"""Which estimate leads, by the task and not by the board alone, and how wide its interval is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shiftcast.estimate.lead import Answer
from shiftcast.estimators import official_estimators
from shiftcast.predictions import Predictions

LEVEL = 0.8


def choose_answer(
    source: Predictions, target: Predictions, whole: Mapping[str, Any], warnings: Sequence[str]
) -> Answer:
    """Return the answer that leads.

    Parameters
    ----------
    source, target
        Labelled predictions, and those that are asked about.
    whole
        `source` and `target` as `shiftcast.estimate.answer.summary` gives them.
    warnings
        What is known against the answer.
    """
    name = "LargestDrop-T1" if source.reference is None else "BalancedAgreement"
    found = official_estimators()[name].fit(source).predict(target.without_labels())
    return Answer(
        found.accuracy,
        found.low,
        found.high,
        LEVEL,
        name,
        "the smallest error on the board's natural shifts.",
        "Under natural shifts such answers are more often too high than too low.",
        tuple(warnings),
        whole["source"],
        whole["target"],
    )

"""Words and marks that tables, figures and pages share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shiftcast.estimators import Estimator

KINDS: Mapping[bool, str] = MappingProxyType({True: "natural", False: "synthetic"})
"""What a shift is called by whether it is natural."""
BASELINES = ("NoShift", "MeanShift")
"""Estimators that skill is measured against: the better of them."""
FEWEST_NATURAL = 6
"""Independent natural shifts below which nothing is claimed about natural shifts in general."""
FEWEST_CELLS = 0.5
"""Share of a table's cells below which an estimator has no figures there: it abstained."""
ABSTAINED = "abstained"
"""Stands in the place of an error that rests on too few cells."""

KNOWING = "an estimator that knows only the accuracy of the population that these images are a sample of"
"""What errs by the sampling noise alone. The accuracy on these very images is what is estimated."""

MARK = "†"
"""Stands by an estimator that could depend on labels of the table, see the legend."""
HARD = "‡"
"""Stands by a self-reported model of which only class indices are known."""

TRACKS: Mapping[str, str] = MappingProxyType(
    {
        "T1": "the model's own logits",
        "T2": "also a reference ensemble",
        "T3": "also other models' predictions",
        "T4": "labelled corrupted copies of the source images; some also features",
        "T5": "labels of other shifts",
    }
)
"""What the estimators of each track need."""


HELP: Mapping[str, str] = MappingProxyType(
    {
        "track": "what an estimator needs. "
        + "; ".join(f"{name}: {needs}" for name, needs in TRACKS.items()),
        "mae": "mean absolute error, predicted minus actual",
        "bias": "mean signed error; above 0 is optimistic",
        "rmse": "root mean squared error",
        "worst": "largest MAE of one model on one shift",
        "skill": "1 - MAE / MAE of the better baseline; 1 is perfect, below 0 worse than it",
        "tau": "Kendall's rank correlation of predicted with actual accuracy over runs",
        "coverage": "how often the sampling interval holds the actual accuracy, of the level it promises",
        "width": "mean width of the sampling interval",
        "conformal_coverage": "the same for the interval that adds what the estimator got wrong on other "
        "shifts",
        "conformal_width": "mean width of the conformal interval",
        "cells": "pairs of a model and a shift that it predicts, of all; with fewer than half of them it has "
        "no figures",
        "flagged": "share of its predictions that it says are doubtful, for example because it extrapolates",
        "floor": f"the MAE of {KNOWING}",
        "runs": "complete runs (seeds) of all that the suite lists",
        "id_accuracy": "accuracy in distribution, with Wilson's 95 % interval",
        "score": "accuracy on the shifts that models are ranked by",
        "accuracy": "with Wilson's 95 % interval",
        "robustness": "effective robustness: accuracy minus what a line through all other architectures "
        "gives for this model's in-distribution accuracy (probit axes)",
        "synthetic": "mean accuracy over synthetic shifts",
        "drop": "accuracy in distribution minus accuracy here",
        "mixture": "the part of the drop that comes from more confusing images, were each bin of confusion "
        "as accurate as in distribution",
        "within": "the rest: lower accuracy on images that are equally confusing",
        "ece": "mean gap between confidence and accuracy over ten bins of confidence",
        "confusion": "mean score of the reference ensemble, from 0 (all sure and agreed) to 1",
        "headline_mae": "mean absolute error of the headline estimator",
        "best_mae": "of any estimator",
    }
)
"""What columns mean, by their key."""


def what_it_is(name: str) -> str:
    """Return the first line of what an official estimator says of itself; empty for another."""
    estimator = _official(name)
    return "" if estimator is None else (type(estimator).__doc__ or "").strip().splitlines()[0]


def citation(name: str) -> str:
    """Return where an official estimator comes from; empty for another."""
    estimator = _official(name)
    return "" if estimator is None else estimator.citation


def _official(name: str) -> Estimator | None:
    from shiftcast.estimators import official_estimators, unranked_estimators  # an unchanged board needs none

    return (official_estimators() | unranked_estimators()).get(name)

"""A lower bound on accuracy from the critic that disagrees most with the model on the target (Dis2)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from shiftcast.calibration import scalable_logits
from shiftcast.estimators.base import Estimator, Role, Track
from shiftcast.estimators.logistic import logit_gaps, ranks_of
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.blocks import in_blocks
from shiftcast.util.types import Floats, Integers

RIDGE = 1e-3
STEPS = 30
MOST_IMAGES = 500
"""Images of either set that a critic learns from: of more, every second, third … along the mean logit."""


def fit_critic(source: Floats, source_classes: Integers, target: Floats, target_classes: Integers) -> Floats:
    """Return the linear critic (K + 1, K) that agrees with the model on the source and not on the target.

    It minimises the mean cross-entropy with the model's classes on the source plus the mean of
    ln(1 + exp(h_yhat - mean of the other h_k)) on the target plus RIDGE / 2 |h|^2: convex, so that restarts
    would find the same.

    Parameters
    ----------
    source, target
        Logits and a column of ones, (n, K + 1) and (m, K + 1).
    source_classes, target_classes
        The model's classes (n,) and (m,).
    """
    (n, size), m, classes = source.shape, len(target), source.shape[1] - 1
    agrees = np.eye(classes)[:, source_classes]
    margins = np.full((classes, m), -1 / (classes - 1))
    margins[target_classes, np.arange(m)] = 1.0
    here, there = (np.ascontiguousarray(features.T) for features in (source, target))  # long rows add fast

    def loss(flat: Floats) -> tuple[float, Floats]:
        critic = flat.reshape(classes, size)
        odds = critic @ here
        odds -= odds.max(axis=0)
        chances = np.exp(odds)
        sums = chances.sum(axis=0)
        margin = np.einsum("km,km->m", critic @ there, margins)
        value = float((np.log(sums) - np.einsum("kn,kn->n", odds, agrees)).mean())
        value += float(np.logaddexp(0, margin).mean()) + RIDGE / 2 * float(flat @ flat)
        slope = (chances / sums - agrees) @ source / n
        slope += (margins * expit(margin)) @ target / m + RIDGE * critic
        return value, slope.ravel()

    start = np.zeros(size * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return np.asarray(found.x, dtype=np.float64).reshape(classes, size).T


class Dis2(Estimator):
    """Lower bound: source accuracy minus the largest fall in agreement with a linear critic of the logits.

    A critic h that agrees with the model on the source and disagrees on the target shows how far the truth
    could disagree there, if the truth is no better at that than the critic (Rosenfeld & Garg's assumption,
    which can fail). With probability `level` over samples the accuracy is then at least
    a_ID - D - sqrt((n + 4 m) ln(1 / (1 - level)) / (2 n m)), D the critic's fall in agreement, each half of
    the images judged by a critic that learned from the other.

    The estimate is the bound itself, and its interval all above it. It is judged by whether it holds and how
    far below the accuracy it lies, never by its error. Diagnostics: `discrepancy` D, `margin` of sampling.

    Parameters
    ----------
    level
        Probability with which the bound holds, under its assumption.
    """

    track: ClassVar[Track] = "T1"
    role: ClassVar[Role] = "bound"
    reads_counts: ClassVar[bool] = True
    citation: ClassVar[str] = (
        "Rosenfeld & Garg (2023), (Almost) Provable Error Bounds Under Distribution Shift via Disagreement "
        "Discrepancy"
    )

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.features_, self.predicted_ = _features(source), source.predicted

    def _predict(self, target: Predictions) -> Estimate:
        n, m = len(self.features_), len(target)
        sets = (self.features_, self.predicted_), (_features(target), target.predicted)
        discrepancy = _discrepancy(*sets)
        margin = sqrt((n + 4 * m) * log(1 / (1 - self.level)) / (2 * n * m))
        bound = max(self.source_accuracy_ - max(discrepancy, 0.0) - margin, 0.0)
        told = {"interval": "bound", "discrepancy": discrepancy, "margin": margin}
        return Estimate(bound, bound, 1.0, self.level, diagnostics=told)


Side = tuple[Floats, Integers]
"""Features (n, d) and the model's classes (n,)."""


def _features(predictions: Predictions) -> Floats:
    """Return how far logits lie below the top one, and 1 for the intercept (n, K + 1)."""
    gaps = in_blocks(logit_gaps, scalable_logits(predictions))
    return np.column_stack([-gaps, np.ones(len(gaps))])


def _discrepancy(source: Side, target: Side) -> float:
    """Return agreement on the source minus that on the target, each image judged by an unseen critic."""
    sides, agreements = (source, target), np.zeros(2)
    folds = [ranks_of(features.mean(axis=1)) % 2 for features, _ in sides]
    for fold in (0, 1):
        learned = [_chosen(*side, own != fold) for side, own in zip(sides, folds, strict=True)]
        critic = fit_critic(*learned[0], *learned[1])
        for place, ((features, classes), own) in enumerate(zip(sides, folds, strict=True)):
            judged = own == fold
            said = np.argmax(features[judged] @ critic, axis=1)
            agreements[place] += np.count_nonzero(said == classes[judged]) / len(classes)
    return float(agreements[0] - agreements[1])


def _chosen(features: Floats, classes: Integers, half: Integers) -> Side:
    """Return at most `MOST_IMAGES` of a half, evenly along the mean feature; all images if it has none."""
    places = np.flatnonzero(half) if half.any() else np.arange(len(features))
    places = places[np.argsort(ranks_of(features[places].mean(axis=1)), kind="stable")]
    places = places[:: -(-len(places) // MOST_IMAGES)]
    return features[places], classes[places]

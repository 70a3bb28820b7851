"""What the choice of the leading answer reads of a source and a target, as a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from shiftcast.estimate.chances import LARGEST_FIT, Calibration, blocks_of, calibrate
from shiftcast.estimators import official_estimators
from shiftcast.estimators.atc import find_threshold, negative_entropy_score, passing_share
from shiftcast.predictions import Predictions
from shiftcast.statistics import prior_by_em
from shiftcast.util.types import Floats, Integers

CHANCE_DISTANCE = 0.87
"""Mean Kolmogorov-Smirnov distance between samples of one distribution, over sqrt(1/n + 1/m): sqrt(pi / 2) ln
2, of Kolmogorov's distribution."""
CANDIDATES = ("COTT", "LargestDrop-T1", "ClassATC")


@dataclass(frozen=True)
class Signals:
    """The numbers of one task; accuracies and distances are shares.

    Parameters
    ----------
    classes, source_images, target_images
        K, n and m.
    source_accuracy, source_errors
        Share of right source images, and number of wrong ones.
    effective_images
        (sum w)^2 / sum w^2 of the source's weights w = q_y / s_y, with q the target's class shares by EM
        (`prior_by_em`) and s what EM gives for the source.
    overconfidence
        Mean confidence minus accuracy on the source, confidence as the model states it.
    confidence_drop
        Mean stated confidence on the source, less that on the target.
    mix_change
        Total variation between the shares of predicted classes, less its mean and one deviation by chance.
    score_change
        Mean over the target's predicted classes of the Kolmogorov-Smirnov distance between the scores
        (negative entropy) of source images, weighted by w, and target images of that class, less its mean by
        chance. About 0 if nothing but class shares changed.
    cott, largest_drop, class_atc
        Answers of COTT, LargestDrop-T1 and ClassATC.
    calibrated
        Source accuracy plus the change in mean calibrated confidence (DoC after `calibrate`).
    mix_atc
        ATC-NE with source images weighted by w.
    balanced_agreement
        Answer of BalancedAgreement; None without an ensemble.
    """

    classes: int
    source_images: int
    target_images: int
    source_accuracy: float
    source_errors: int
    effective_images: float
    overconfidence: float
    confidence_drop: float
    mix_change: float
    score_change: float
    cott: float
    largest_drop: float
    class_atc: float
    calibrated: float
    mix_atc: float
    balanced_agreement: float | None = None


def signals_of(source: Predictions, target: Predictions, calibration: Calibration | None = None) -> Signals:
    """Return the signals of a labelled source and a target, whose labels are not read.

    Parameters
    ----------
    source, target
        Logits or probabilities.
    calibration
        Of the source, if it is known already.
    """
    calibration = calibration or calibrate(source)
    n, m = len(source), len(target)
    accuracy = source.accuracy
    usual, before = _calibrated(calibration, source)
    _, after = _calibrated(calibration, target)
    some = np.arange(0, m, max(1, -(-target.logits.size // LARGEST_FIT)))
    shares = prior_by_em(calibration.probabilities(target.select(some)), usual)
    weights = (shares / np.maximum(usual, 1e-12))[np.asarray(source.labels)]
    weights = weights / weights.mean() if weights.any() else np.ones(n)
    scores = negative_entropy_score(source), negative_entropy_score(target)
    wanted = [*CANDIDATES, *(["BalancedAgreement"] if source.reference is not None else [])]
    official = official_estimators()
    answers = {name: official[name].fit(source).predict(target.without_labels()).accuracy for name in wanted}
    return Signals(
        classes=source.classes,
        source_images=n,
        target_images=m,
        source_accuracy=accuracy,
        source_errors=int((~source.correct).sum()),
        effective_images=float(weights.sum() ** 2 / (weights**2).sum()),
        overconfidence=float(source.confidence.mean()) - accuracy,
        confidence_drop=float(source.confidence.mean() - target.confidence.mean()),
        mix_change=mix_change(source, target),
        score_change=score_change(source, target, scores, weights),
        cott=answers["COTT"],
        largest_drop=answers["LargestDrop-T1"],
        class_atc=answers["ClassATC"],
        calibrated=min(max(accuracy + after - before, 0.0), 1.0),
        mix_atc=_weighted_atc(scores, np.asarray(source.correct), weights),
        balanced_agreement=answers.get("BalancedAgreement"),
    )


def _calibrated(calibration: Calibration, own: Predictions) -> tuple[Floats, float]:
    """Return the mean calibrated probabilities (K,), and the mean one of the predicted class."""
    sums, confidence = np.zeros(own.classes), []
    for rows in blocks_of(own):
        found = calibration.probabilities(own.select(rows))
        sums += found.sum(axis=0)
        confidence.append(found[np.arange(len(rows)), own.predicted[rows]])
    return sums / len(own), float(np.concatenate(confidence).mean())


def mix_change(source: Predictions, target: Predictions) -> float:
    """Return the total variation of predicted class shares, less its mean and deviation by chance; from 0."""
    n, m = len(source), len(target)
    first, second = (np.bincount(own.predicted, minlength=own.classes) / len(own) for own in (source, target))
    pooled = (n * first + m * second) / (n + m)
    variance = pooled * (1 - pooled) * (1 / n + 1 / m)
    chance = float(np.sqrt(2 * variance / pi).sum() / 2) + sqrt((1 - 2 / pi) * float(variance.sum())) / 2
    return max(float(np.abs(first - second).sum() / 2) - chance, 0.0)


def score_change(
    source: Predictions, target: Predictions, scores: tuple[Floats, Floats], weights: Floats
) -> float:
    """Return the mean distance between scores within predicted classes, less chance; from 0.

    A class without source images counts nothing, for nothing is known of it.
    """
    members = [_by_class(own.predicted, own.classes) for own in (source, target)]
    total = chance = 0.0
    for known, there in zip(*members, strict=True):
        if not len(known) or not len(there) or not weights[known].any():
            continue
        own = weights[known] / weights[known].max()  # squares of tiny ones would all be 0
        total += len(there) * _distance(scores[0][known], own, scores[1][there])
        effective = float(own.sum() ** 2 / (own**2).sum())
        chance += len(there) * min(1.0, CHANCE_DISTANCE * sqrt(1 / effective + 1 / len(there)))
    return max(total - chance, 0.0) / len(target)


def _by_class(predicted: Integers, classes: int) -> list[Integers]:
    """Return the images put into each class."""
    order = np.argsort(predicted, kind="stable")
    ends: Integers = np.cumsum(np.bincount(predicted, minlength=classes))
    return np.split(order, ends[:-1])


def _distance(known: Floats, weights: Floats, there: Floats) -> float:
    """Return the largest difference between a weighted and a plain empirical distribution."""
    order, both = np.argsort(known, kind="stable"), np.concatenate([known, there])
    steps = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    first = steps[np.searchsorted(known[order], both, side="right")]
    second = np.searchsorted(np.sort(there), both, side="right") / len(there)
    return float(np.abs(first - second).max())


def _weighted_atc(scores: tuple[Floats, Floats], correct: np.ndarray, weights: Floats) -> float:
    """Return the share of target scores above the threshold that as much source weight passes as is right."""
    known, there = scores
    if correct.all() or not correct.any():
        return float(correct[0])
    if np.ptp(weights) == 0:
        return float(passing_share(there, *find_threshold(known, int(correct.sum()))).mean())
    order = np.argsort(-known, kind="stable")
    right = float(weights[correct].sum())
    place = min(int(np.searchsorted(np.cumsum(weights[order]), right)), len(known) - 1)
    threshold = float(known[order][place])
    above, on = float(weights[known > threshold].sum()), float(weights[known == threshold].sum())
    tied = min(max((right - above) / on, 0.0), 1.0) if on > 0 else 0.0
    return float(passing_share(there, threshold, tied).mean())

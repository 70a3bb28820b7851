"""Class probabilities of target images that agree with the answer: what parts and other metrics are made of.

Probabilities are calibrated on the source. Then they are moved until the mean chance of being right is the
accuracy that the answer gives: one way of reading the images, whichever parts they are sorted into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

from shiftcast.calibration import fit_temperature, scalable_logits
from shiftcast.estimators.balance import class_prices
from shiftcast.predictions import Predictions
from shiftcast.statistics import prior_by_em
from shiftcast.util.arrays import log_softmax, softmax
from shiftcast.util.types import Floats, Integers

LARGEST_FIT = 1_000_000
"""Numbers (images times classes) that anything is fitted to at most: of more images, every second, third … is
read."""
BIAS_PRECISION = 10.0
"""Of the normal prior on a class's bias: it weighs like about so many images."""
TINY, LEAST_FACTOR = 1e-300, 1e-9
PART_BY_SHARPNESS = 0.25
"""Of what lies between the largest mean chance and the answer: best of 0.25, 0.5 and 0.75 for the accuracies
of classes on four shifted sets of CIFAR-10 (photographs, emoji, fog, noise), as they are and with other class
shares."""
FURTHEST = 40.0
"""Log-odds by which chances are moved at most."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Temperature and one bias a class (Alexandari et al. 2020), and what is left for the unseen.

    Parameters
    ----------
    temperature
        Logits are divided by it.
    bias
        Added to the divided logits (K,).
    unseen
        Share of the uniform distribution that is mixed in, so that no image is certain.
    shares
        Class shares of the source's labels (K,).
    """

    temperature: float
    bias: Floats
    unseen: float
    shares: Floats

    def probabilities(self, predictions: Predictions) -> Floats:
        """Return calibrated class probabilities (n, K) of the same model's outputs on any images."""
        found = softmax(scalable_logits(predictions) / self.temperature + self.bias)
        found *= 1 - self.unseen
        found += self.unseen / found.shape[1]
        return found


def calibrate(source: Predictions) -> Calibration:
    """Return bias-corrected temperature scaling, learned on a labelled source.

    The biases have a normal prior, so that few images of a class move its bias little. 1 / (n + 2) of the
    uniform distribution is mixed in.

    Alexandari, Kundaje & Shrikumar (2020), Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat
    at Label Shift Adaptation (ICML 2020).
    """
    step = max(1, -(-len(source) * source.classes // LARGEST_FIT))
    some = source.select(np.arange(0, len(source), step))
    logits, labels = scalable_logits(some).astype(np.float64), np.asarray(some.labels)
    temperature = fit_temperature(logits, labels)
    shares = np.bincount(np.asarray(source.labels), minlength=source.classes) / len(source)
    scaled, rows = logits / temperature, np.arange(len(labels))
    counts = np.bincount(labels, minlength=source.classes)

    def loss(values: Floats) -> tuple[float, Floats]:
        """Return the penalised log-loss of sharpness and biases (K + 1,), and its gradient."""
        sharpness, bias = values[0], values[1:]
        logs = log_softmax(sharpness * scaled + bias)
        expected = np.exp(logs)
        slope = np.empty_like(values)
        slope[0] = np.einsum("nk,nk->", expected, scaled) - scaled[rows, labels].sum() + sharpness - 1
        slope[1:] = expected.sum(axis=0) - counts + BIAS_PRECISION * bias
        penalty = (BIAS_PRECISION * float(bias @ bias) + (sharpness - 1) ** 2) / 2
        return penalty - float(logs[rows, labels].sum()), slope

    start = np.concatenate([[1.0], np.zeros(source.classes)])
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 40}).x
    return Calibration(temperature / max(float(best[0]), 1e-3), best[1:], 1 / (len(source) + 2), shares)


class Chances:
    """Class probabilities of m target images under which the mean chance of being right is a given accuracy.

    If the class shares changed as the outputs say (`prior_by_em`), the model is most often right; if they
    stayed and it errs into the classes that it now predicts more often (`class_prices`), least often. The
    answer tells where between the two the truth is. A quarter of what the first is above the answer is made
    by a temperature, the rest by going from the first class shares towards the second, and what is left by
    one shift of all log-odds of being right.

    Parameters
    ----------
    calibration
        Of the source.
    target
        Predictions; labels are not read.
    answer
        `accuracy`, `low`, `high` and `level` of the whole target. Where `accuracy` is None, the answer being
        an interval alone, the middle of its log-odds stands for it.

    Attributes
    ----------
    accuracy
        The mean chance, kept 1 / (2 m + 2) away from 0 and 1.
    right
        Chance that each prediction is right (m,).
    """

    def __init__(self, calibration: Calibration, target: Predictions, answer: Mapping[str, Any]) -> None:
        """Move the probabilities to the accuracy."""
        self.calibration, self.target, self.answer = calibration, target.without_labels(), answer
        least = 1 / (2 * len(target) + 2)
        self.accuracy = min(max(centre(answer), least), 1 - least)
        some = np.arange(0, len(target), max(1, -(-target.logits.size // LARGEST_FIT)))
        self._few = calibration.probabilities(self.target.select(some))
        self.sharpness, self.factors = _moved(
            self._few, target.predicted[some], calibration.shares, self.accuracy
        )
        first = np.concatenate(
            [_right(self._reweighted(rows), target.predicted[rows]) for rows in self.blocks()]
        )
        self.right: Floats = shifted(first, self.accuracy)

    def _reweighted(self, rows: Integers) -> Floats:
        calibrated = self.calibration.probabilities(self.target.select(rows))
        return _reweighted(calibrated, self.sharpness, self.factors)

    def probabilities(self, rows: Integers) -> Floats:
        """Return class probabilities (rows, K): `right` of the predicted class, the others in proportion."""
        found, right = self._reweighted(rows), self.right[rows]
        predicted, all_rows = self.target.predicted[rows], np.arange(len(rows))
        found *= ((1 - right) / np.maximum(1 - _right(found, predicted), TINY))[:, None]
        found[all_rows, predicted] = right
        return found

    def blocks(self) -> Iterator[Integers]:
        """Yield the target's rows in order, so many at a time that their probabilities take little memory."""
        return blocks_of(self.target)

    @cached_property
    def class_mix_distance(self) -> float:
        """Total variation, in [0, 1], between the source's class shares and the target's by EM."""
        found = prior_by_em(self._few, self.calibration.shares)
        return float(np.abs(found - self.calibration.shares).sum() / 2)


def blocks_of(predictions: Predictions) -> Iterator[Integers]:
    """Yield the rows of predictions in order, so few at a time that probabilities take little memory."""
    size = max(1, LARGEST_FIT // predictions.classes)
    for first in range(0, len(predictions), size):
        yield np.arange(first, min(first + size, len(predictions)))


def centre(answer: Mapping[str, Any]) -> float:
    """Return the answer's accuracy; of an interval alone, the middle of its log-odds."""
    if answer.get("accuracy") is not None:
        return float(answer["accuracy"])
    low, high = (logit(min(max(answer[end], 0.001), 0.999)) for end in ("low", "high"))
    return float(expit((low + high) / 2))


def shifted(chances: Floats, mean: float) -> Floats:
    """Return chances (m,) whose log-odds are all moved by the one number that makes their mean as given."""
    odds = logit(np.clip(chances, 1e-12, 1 - 1e-12))
    by = brentq(lambda by: float(expit(odds + by).mean()) - mean, -FURTHEST, FURTHEST)
    moved: Floats = expit(odds + by)
    return moved


def _reweighted(probabilities: Floats, sharpness: float, factors: Floats) -> Floats:
    """Return rows proportional to p^sharpness times a factor for each class."""
    found = np.log(probabilities)
    found *= sharpness
    found += np.log(factors)
    result: Floats = softmax(found)
    return result


def _right(probabilities: Floats, predicted: Integers) -> Floats:
    right: Floats = probabilities[np.arange(len(predicted)), predicted]
    return right


def _moved(
    probabilities: Floats, predicted: Integers, shares: Floats, accuracy: float
) -> tuple[float, Floats]:
    """Return sharpness and class factors (K,) that bring the mean chance near an accuracy."""

    def mean(sharpness: float, factors: Floats) -> float:
        return float(_right(_reweighted(probabilities, sharpness, factors), predicted).mean())

    believed = np.maximum(prior_by_em(probabilities, shares) / np.maximum(shares, TINY), LEAST_FACTOR)
    most = mean(1.0, believed)
    if most <= accuracy:
        return 1.0, believed
    middle, low = most + PART_BY_SHARPNESS * (accuracy - most), 1e-3
    sharpness = low
    if mean(low, believed) < middle:
        sharpness = brentq(lambda s: mean(s, believed) - middle, low, 1.0, xtol=1e-3)
    plain = _reweighted(probabilities, sharpness, np.ones(len(shares)))
    kept = np.exp(class_prices(plain, np.maximum(shares, LEAST_FACTOR)))
    if mean(sharpness, kept) >= accuracy:
        return sharpness, kept
    way = brentq(
        lambda part: mean(sharpness, believed ** (1 - part) * kept**part) - accuracy, 0, 1, xtol=1e-3
    )
    return sharpness, believed ** (1 - way) * kept**way

"""Class probabilities of target images that agree with the answer: what parts and other metrics are made of.

Probabilities are calibrated on the source. Then they are moved until the mean chance of being right is the
accuracy that the answer gives: one way of reading the images, whichever parts they are sorted into.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

from shiftcast.calibration import fit_temperature, scalable_logits
from shiftcast.estimators.balance import class_prices
from shiftcast.predictions import Predictions
from shiftcast.util.arrays import log_softmax, softmax
from shiftcast.util.types import Floats, Integers

LARGEST_FIT = 5_000_000
"""Numbers (images times classes) that calibration is learned from at most: of more images, every second …"""
EM_STEPS = 200
CLOSE_ENOUGH = 1e-6
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

    The bias has a standard normal prior on each class, so that few images of a class move it little. 1 / (n + 2)
    of the uniform distribution is mixed in.

    Alexandari, Kundaje & Shrikumar (2020), Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat
    at Label Shift Adaptation (ICML 2020).
    """
    step = max(1, -(-len(source) * source.classes // LARGEST_FIT))
    logits, labels = scalable_logits(source)[::step], np.asarray(source.labels)[::step]
    temperature = fit_temperature(logits, labels)
    shares = np.bincount(np.asarray(source.labels), minlength=source.classes) / len(source)
    scaled, rows = logits / temperature, np.arange(len(labels))
    counts = np.bincount(labels, minlength=source.classes)

    def loss(values: Floats) -> tuple[float, Floats]:
        logs = log_softmax(values[0] * scaled + values[1:])
        expected = np.exp(logs)
        expected_slope = float(np.einsum("nk,nk->", expected, scaled) - scaled[rows, labels].sum())
        slope = np.concatenate([[expected_slope], expected.sum(axis=0) - counts + values[1:]])
        slope[0] += values[0] - 1
        return float(
            -logs[rows, labels].sum() + (values[1:] @ values[1:] + (values[0] - 1) ** 2) / 2
        ), slope

    start = np.concatenate([[1.0], np.zeros(source.classes)])
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
    return Calibration(temperature / max(float(best[0]), 1e-3), best[1:], 1 / (len(source) + 2), shares)


def adapted_shares(probabilities: Floats, shares: Floats) -> Floats:
    """Return the class shares (K,) that make the target most likely, by EM (Saerens et al. 2002).

    Parameters
    ----------
    probabilities
        Calibrated class probabilities (m, K) of the target.
    shares
        Class shares of the source (K,). A class without source images stays without.
    """
    used = shares > 0
    ratio = np.where(used, 1.0, 0.0)
    for _ in range(EM_STEPS):
        before = ratio * shares
        means = ratio * ((1 / (probabilities @ ratio)) @ probabilities) / len(probabilities)
        ratio = np.divide(means, shares, out=np.zeros_like(means), where=used)
        if np.abs(ratio * shares - before).max() < CLOSE_ENOUGH:
            break
    return ratio * shares


class Chances:
    """Class probabilities of m target images under which the mean chance of being right is a given accuracy.

    Where the calibrated probabilities are too sure of themselves, half of the difference is made by dividing
    their logarithms by a temperature and the rest by the class shares: classes that the target is put into
    more often than the source has them are believed less (`class_prices`). Where they are not sure enough,
    the class shares are first believed to have changed (`adapted_shares`). What is left is one shift of all
    log-odds of being right.

    Parameters
    ----------
    calibration
        Of the source.
    target
        Predictions; labels are not read.
    accuracy
        The answer on the whole target; kept 1 / (2 m + 2) away from 0 and 1.

    Attributes
    ----------
    right
        Chance that each prediction is right (m,).
    """

    def __init__(self, calibration: Calibration, target: Predictions, accuracy: float) -> None:
        """Move the probabilities to the accuracy."""
        least = 1 / (2 * len(target) + 2)
        self.accuracy = min(max(accuracy, least), 1 - least)
        self._calibrated, self._predicted = calibration.probabilities(target), target.predicted
        step = max(1, -(-self._calibrated.size // LARGEST_FIT))
        some, predicted = self._calibrated[::step], target.predicted[::step]
        self.sharpness, self.factors = _moved(some, predicted, calibration.shares, self.accuracy)
        first = _right(_reweighted(self._calibrated, self.sharpness, self.factors), target.predicted)
        self.right: Floats = shifted(first, self.accuracy)

    def probabilities(self) -> Floats:
        """Return the class probabilities (m, K): `right` of the predicted class, the others in proportion."""
        found = _reweighted(self._calibrated, self.sharpness, self.factors)
        first, rows = _right(found, self._predicted), np.arange(len(found))
        found *= ((1 - self.right) / np.maximum(1 - first, 1e-300))[:, None]
        found[rows, self._predicted] = self.right
        return found


def shifted(chances: Floats, mean: float) -> Floats:
    """Return chances (m,) whose log-odds are all moved by the one number that makes their mean as given."""
    odds = logit(np.clip(chances, 1e-12, 1 - 1e-12))
    return expit(odds + brentq(lambda by: float(expit(odds + by).mean()) - mean, -FURTHEST, FURTHEST))


def _reweighted(probabilities: Floats, sharpness: float, factors: Floats) -> Floats:
    """Return rows proportional to p^sharpness times a factor for each class."""
    found = np.log(probabilities) * sharpness + np.log(factors)
    return softmax(found)


def _right(probabilities: Floats, predicted: Integers) -> Floats:
    right: Floats = probabilities[np.arange(len(predicted)), predicted]
    return right


def _moved(
    probabilities: Floats, predicted: Integers, shares: Floats, accuracy: float
) -> tuple[float, Floats]:
    """Return sharpness and class factors (K,) that bring the mean chance near an accuracy."""
    none = np.ones(len(shares))

    def mean(sharpness: float, factors: Floats) -> float:
        return float(_right(_reweighted(probabilities, sharpness, factors), predicted).mean())

    def along(sharpness: float, furthest: Floats) -> Floats:
        """Return how much of the way to other class factors is to be gone, as factors."""
        if (mean(sharpness, furthest) - accuracy) * (mean(sharpness, none) - accuracy) > 0:
            near = abs(mean(sharpness, furthest) - accuracy) < abs(mean(sharpness, none) - accuracy)
            return furthest if near else none
        way = brentq(lambda part: mean(sharpness, furthest**part) - accuracy, 0, 1, xtol=1e-3)
        return furthest**way

    plain = mean(1.0, none)
    if plain < accuracy:
        ratio = adapted_shares(probabilities, shares) / np.maximum(shares, 1e-12)
        return 1.0, along(1.0, np.maximum(ratio, 1e-9))
    middle, low = (plain + accuracy) / 2, 1e-3
    sharpness = low
    if mean(low, none) < middle:
        sharpness = brentq(lambda s: mean(s, none) - middle, low, 1.0, xtol=1e-3)
    prices = class_prices(_reweighted(probabilities, sharpness, none), np.maximum(shares, 1e-9))
    return sharpness, along(sharpness, np.exp(prices))

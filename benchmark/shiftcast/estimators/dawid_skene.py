"""What the true classes are, by the reference members' votes and confusion matrices alone (Dawid & Skene)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.cot import class_shares
from shiftcast.estimators.intervals import residual_variance, sampling_estimate
from shiftcast.estimators.partition import reference_members
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.arrays import one_hot, softmax
from shiftcast.util.hashing import sha256
from shiftcast.util.memory import remembered
from shiftcast.util.types import Floats

STEPS = 100
"""Steps of expectation maximisation at most."""
ENOUGH = 1e-7
"""Change of every confusion and class share at which they end."""
SMOOTHING = 1e-6
"""Share of images added to each vote under each class: what was never seen is not impossible."""


def posterior(reference: Floats, confusions: Floats, shares: Floats) -> Floats:
    """Return the probability of each class for each image (n, K), given the members' votes.

    Expectation maximisation over the members' confusion matrices and the class shares, from given ones.

    Parameters
    ----------
    reference
        Member probabilities (M, n, K); only their votes are read.
    confusions
        Chance of each vote of each member under each class (M K, K), the columns of a member summing to one.
    shares
        Class shares (K,).
    """
    votes = _votes(reference)
    for _ in range(STEPS):
        classes = softmax(votes @ np.log(confusions) + np.log(np.maximum(shares, SMOOTHING)))
        found, means = _confusions(votes, classes), classes.mean(axis=0)
        change = max(float(np.abs(found - confusions).max()), float(np.abs(means - shares).max()))
        confusions, shares = found, means
        if change < ENOUGH:
            break
    return classes


class DawidSkene(Estimator):
    """Mean probability that the model's class is the true one, by the members' votes and confusions.

    Each member has a confusion matrix, counted on the source at first; then expectation maximisation on the
    target's votes alone moves matrices, class shares and each image's class probabilities q_i. The estimate
    is mean_i q_i(yhat_i). It takes members to err independently, which networks do not: errors that they
    share pass for truth, and it is too optimistic. Where members that do err independently leave doubt, it is
    too low: the model's own answer is no vote.

    As for GDE the variance is s^2 / m, s^2 that of right - q_i(yhat_i) on the source; how far it is off there
    is the diagnostic `source_gap`.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T2"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "reference"})
    citation: ClassVar[str] = (
        "Dawid & Skene (1979), Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm"
    )

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.shares_ = class_shares("DawidSkene", None, source)
        labels = np.asarray(source.labels)
        members = reference_members(source)
        self.confusions_ = _confusions(_votes(members), one_hot(labels, source.classes, np.float64))
        self.key_ = f"dawid-skene {sha256(self.confusions_.tobytes() + self.shares_.tobytes())}"
        chances = self._chances(source)
        self.source_gap_ = float(chances.mean()) - self.source_accuracy_
        self.residual_variance_ = residual_variance("DawidSkene", source.correct - chances)

    def _predict(self, target: Predictions) -> Estimate:
        return sampling_estimate(
            float(self._chances(target).mean()),
            self.residual_variance_ / len(target),
            self.level,
            source_gap=self.source_gap_,
        )

    def _chances(self, predictions: Predictions) -> Floats:
        members = reference_members(predictions)
        classes = remembered(members, self.key_, lambda: posterior(members, self.confusions_, self.shares_))
        return predictions.of_predicted(classes)


def _votes(reference: Floats) -> csr_array:
    """Return 1 where a member votes for a class: sparse (n, M K), the columns of a member side by side."""
    count, n, classes = reference.shape
    places = np.argmax(reference, axis=2).T + np.arange(count) * classes
    return csr_array(
        (np.ones(n * count), places.ravel(), np.arange(n + 1) * count), shape=(n, count * classes)
    )


def _confusions(votes: csr_array, classes: Floats) -> Floats:
    """Return the chance of each vote under each class (M K, K) from class probabilities (n, K)."""
    n, count = classes.shape
    together = votes.T @ classes / n + SMOOTHING
    confusions: Floats = together / (classes.mean(axis=0) + count * SMOOTHING)
    return confusions

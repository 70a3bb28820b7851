"""Label-free scores of a whole set, and the line that maps a score to an accuracy.

A score is one number for a set of predictions. None of them is an accuracy, so a line from score to
accuracy is learned on labelled sets of other groups: on the board, on corrupted copies of source
images, the target's own corruption left out. No score depends on how many images a set holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import binomial_variance, sampling_estimate
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.lines import pairs
from shiftcast.util.arrays import entropy_terms, log_softmax
from shiftcast.util.memory import remembered
from shiftcast.util.types import Floats

FEWEST_SETS = 2
"""Labelled sets with different scores that a line needs."""
MANO_BOUND = 5.0
"""Mean uncertainty of the source above which MaNo reads the softmax instead of its Taylor series."""
MANO_POWER = 4


class MappedScore(Estimator):
    """Base of estimators that map a score of the target to an accuracy by a line (Theil-Sen).

    The line is fitted to score and accuracy of the labelled sets in `others`, the slope the median
    of pairwise slopes, the intercept the median of what is left; the answer is clipped to [0, 1].
    Estimate minus actual has the binomial variance of the m target images plus the mean squared
    standard error of the accuracies that the line was learned from; how far sets lie from the line
    is model error and in the diagnostic `scatter` (median absolute residual) only. An estimate is flagged
    where its score lies outside the range of those that the line was learned from. Diagnostics: `score`,
    `slope`, `intercept`, `sets`.

    Subclasses give `_score`.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T4"
    requires: ClassVar[frozenset[str]] = frozenset({"logits", "others"})
    others_from: ClassVar[Literal["alike", "synthetic"]] = "synthetic"

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        self.groups_ = tuple(sorted({other.group for other in others}))
        self._prepare(source)
        scores = np.array([self.score(other) for other in others])
        accuracies = np.array([other.accuracy for other in others])
        first, second = pairs(len(scores))
        gaps = scores[second] - scores[first]
        if len(np.unique(scores)) < FEWEST_SETS:
            raise RequirementError(
                f"{type(self).__name__}.fit: needs labelled sets (others) with different scores for a line, "
                f"got {len(scores)} with the score {scores[0]:.6g}"
            )
        apart = gaps != 0
        self.slope_ = float(np.median((accuracies[second] - accuracies[first])[apart] / gaps[apart]))
        self.intercept_ = float(np.median(accuracies - self.slope_ * scores))
        self.range_ = (float(scores.min()), float(scores.max()))
        self.sets_ = len(scores)
        self.scatter_ = float(np.median(np.abs(accuracies - self.slope_ * scores - self.intercept_)))
        self.variance_ = float(binomial_variance(accuracies, [len(other) for other in others]).mean())

    def _predict(self, target: Predictions) -> Estimate:
        if target.group in self.groups_:
            raise InvalidInputError(
                f"{type(self).__name__}.predict: target {target.name!r} belongs to group {target.group!r}, "
                "whose labels were used in fit; fit on other groups only"
            )
        score = self.score(target)
        estimate = self.intercept_ + self.slope_ * score
        low, high = self.range_
        return sampling_estimate(
            estimate,
            self.variance_ + float(binomial_variance(min(max(estimate, 0.0), 1.0), len(target))),
            self.level,
            flagged="" if low <= score <= high else _beyond(score, low, high),
            score=score,
            slope=self.slope_,
            intercept=self.intercept_,
            scatter=self.scatter_,
            sets=self.sets_,
        )

    def score(self, predictions: Predictions) -> float:
        """Return the set's score, rounded to 1e-9; what it needs from the source was learned in `fit`."""
        key = f"score {type(self).__name__} {predictions.kind} {self._learned()}"
        return remembered(predictions.logits, key, lambda: round(self._score(predictions), 9))

    def _prepare(self, source: Predictions) -> None:
        """Learn what the score itself needs from the source."""

    def _learned(self) -> str:
        """Return what the score depends on besides the predictions, as text."""
        return ""

    def _score(self, predictions: Predictions) -> float:
        raise NotImplementedError


def _beyond(score: float, low: float, high: float) -> str:
    return f"its score {score:.4g} lies outside those that its line was learned from, {low:.4g} to {high:.4g}"


class NuclearNorm(MappedScore):
    """Nuclear norm of the probabilities over sqrt(K m): confident and dispersed predictions score high.

    Between 1 / sqrt(K) and 1 (published code divides by sqrt(min(m, K) m), which depends on m below
    K images).
    """

    citation: ClassVar[str] = "Deng et al. (2023), Confidence and Dispersity Speak (ICML 2023)"

    def _score(self, predictions: Predictions) -> float:
        probabilities = predictions.probabilities
        norm = float(np.linalg.svd(probabilities, compute_uv=False).sum())
        return norm / float(np.sqrt(probabilities.size))


class MaNo(MappedScore):
    """Mean fourth power of normalised logits, to the power 1/4.

    (1/(m K) sum sigma(z)_ik^4)^(1/4). Where the source's mean uncertainty -(1/(n K)) sum log
    softmax is at most 5, sigma is v / sum v with v = 1 + z + z^2 / 2, else the softmax. The choice
    is made once, on the source. The Taylor branch changes when a constant is added to an image's logits.
    """

    citation: ClassVar[str] = (
        "Xie et al. (2024), MANO: Exploiting Matrix Norm for Unsupervised Accuracy Estimation Under "
        "Distribution Shifts"
    )
    reads_offsets: ClassVar[bool] = True

    def _prepare(self, source: Predictions) -> None:
        logits = _logits(self, source)
        uncertainty = remembered(logits, "mean log softmax", lambda: -float(log_softmax(logits).mean()))
        self.taylor_ = uncertainty <= MANO_BOUND

    def _learned(self) -> str:
        return "taylor" if self.taylor_ else "softmax"

    def _score(self, predictions: Predictions) -> float:
        logits = _logits(self, predictions)
        shares = predictions.probabilities
        if self.taylor_:
            raised = 1 + logits + logits**2 / 2
            shares = raised / raised.sum(axis=1, keepdims=True)
        return float((shares**MANO_POWER).mean() ** (1 / MANO_POWER))


class MDE(MappedScore):
    """Meta-distribution energy: how unevenly the free energy is spread over a set's images.

    -mean_i log softmax(E)_i - ln m over the images of the set, E_i = -logsumexp(z_i): 0 where all
    images have one energy. It changes when a constant is added to an image's logits.
    """

    citation: ClassVar[str] = "Peng et al. (2024), Energy-based Automated Model Evaluation (ICLR 2024)"
    reads_offsets: ClassVar[bool] = True

    def _score(self, predictions: Predictions) -> float:
        logits = _logits(self, predictions)
        energies = log_softmax(logits)[:, 0] - logits[:, 0]
        return -float(log_softmax(energies).mean() + np.log(len(energies)))


class SoftmaxCorr(MappedScore):
    """Cosine between the class correlations P^T P / m and the diagonal matrix of source class shares."""

    citation: ClassVar[str] = (
        "Tu et al. (2024), What Does Softmax Probability Tell Us about Classifiers Ranking Across Diverse "
        "Test Conditions?"
    )

    def _prepare(self, source: Predictions) -> None:
        self.shares_: Floats = np.bincount(np.asarray(source.labels), minlength=source.classes) / len(source)

    def _learned(self) -> str:
        return self.shares_.tobytes().hex()

    def _score(self, predictions: Predictions) -> float:
        probabilities = predictions.probabilities
        together = probabilities.T @ probabilities / len(probabilities)
        scale = np.linalg.norm(together) * np.linalg.norm(self.shares_)
        return float(np.diag(together) @ self.shares_ / scale)


class Entropy(MappedScore):
    """Mean entropy of the predictions, in nats."""

    citation: ClassVar[str] = "Guillory et al. (2021), Predicting with Confidence on Unseen Distributions"

    def _score(self, predictions: Predictions) -> float:
        return _mean_entropy(predictions.probabilities)


class MutualInformation(MappedScore):
    """Entropy of the mean prediction minus mean entropy of the predictions, in nats."""

    citation: ClassVar[str] = "Bridle, Heading & MacKay (1991), Unsupervised Classifiers, Mutual Information"

    def _score(self, predictions: Predictions) -> float:
        mean = predictions.probabilities.mean(axis=0)
        return float(entropy_terms(mean).sum()) - _mean_entropy(predictions.probabilities)


def _mean_entropy(probabilities: Floats) -> float:
    return float(entropy_terms(probabilities).sum() / len(probabilities))


def _logits(estimator: Estimator, predictions: Predictions) -> Floats:
    if predictions.kind != "logits":
        raise InvalidInputError(
            f"{type(estimator).__name__}: needs logits, but {predictions.name!r} holds probabilities, from "
            "which the size of logits cannot be recovered"
        )
    return predictions.logits

"""Average thresholded confidence: as many target images pass as source images were right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from shiftcast.errors import UnknownNameError
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import residual_variance, sampling_estimate
from shiftcast.estimators.scaling import (
    Calibration,
    Scaling,
    at_temperatures,
    doubt_of,
    scaling_of,
    told_of,
)
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.arrays import entropy_terms
from shiftcast.util.blocks import in_blocks
from shiftcast.util.memory import fix, remembered
from shiftcast.util.types import Floats

NEAR = 0.05
FEWEST_NEAR = 10
"""Source images on either side of the threshold among which densities are compared: a share, and at least."""

MOST_KEPT = 200_000
"""Images of which scores at other temperatures are kept, at most."""


def max_confidence_score(predictions: Predictions) -> Floats:
    """Return a score (n,) that orders images as their largest probability does.

    For logits it is -ln sum_{j != top} exp(z_j - z_top): the largest probability saturates at 1
    in floating point, its odds do not. For probabilities it is the largest one. Terms are summed
    in sorted order and the score rounded to 1e-9, so the order of classes makes and breaks no tie.
    """
    if predictions.kind == "probabilities":
        return _rounded(predictions.confidence)
    if predictions.logits.dtype == np.float32:
        return _scores_at(1.0, predictions)[0]
    logits = predictions.logits
    return remembered(logits, "max confidence score", lambda: in_blocks(_log_odds, logits))


def _log_odds(logits: Floats) -> Floats:
    ordered = np.sort(logits, axis=1)
    top, second, others = ordered[:, -1:], ordered[:, -2:-1], ordered[:, :-1]
    remainder = np.log(np.exp(others - second).sum(axis=1))
    return _rounded((top - second)[:, 0] - remainder)


def negative_entropy_score(predictions: Predictions) -> Floats:
    """Return sum_k p_k ln p_k of each image (n,), 0 ln 0 = 0, summed in sorted order, to 1e-9."""
    if predictions.logits.dtype == np.float32:
        return _scores_at(1.0, predictions)[1]
    key = f"negative entropy score {predictions.kind}"
    return remembered(
        predictions.logits, key, lambda: in_blocks(_negative_entropy, predictions.probabilities)
    )


def _negative_entropy(probabilities: Floats) -> Floats:
    terms = entropy_terms(np.sort(probabilities, axis=1))
    return _rounded(-terms.sum(axis=1))


def _scores_at(temperature: float, predictions: Predictions) -> tuple[Floats, Floats]:
    """Return both scores (n,) of many logits over a temperature, in one pass and without copies of them."""
    logits = predictions.logits

    def both() -> tuple[Floats, Floats]:
        first, second = in_blocks(partial(_both_scores, temperature), logits).T
        return fix(_rounded(first)), fix(_rounded(second))

    if temperature != 1.0 and len(logits) > MOST_KEPT:
        return both()  # scores of a million images take more than the pass is worth
    return remembered(logits, f"scores at temperature {temperature!r}", both)


def _both_scores(temperature: float, logits: Floats) -> Floats:
    """Return the log-odds and the negative entropy of each image (n, 2): sum p z' - ln sum exp z'."""
    ordered = np.sort(logits, axis=1) / temperature
    below = ordered[:, :-1] - ordered[:, -1:]
    nearest = below[:, -1:].copy()
    shares = np.exp(below - nearest)
    sums = shares.sum(axis=1)
    ahead = np.exp(nearest[:, 0])
    total = 1 + ahead * sums
    entropy = np.log(total) - ahead * np.einsum("nk,nk->n", shares, below) / total
    return np.stack([-nearest[:, 0] - np.log(sums), -entropy], axis=1)


def passing_share(scores: Floats, threshold: float, tied: float) -> Floats:
    """Return what each image counts (n,): 1 above the threshold, `tied` on it, 0 below."""
    share: Floats = (scores > threshold) + tied * (scores == threshold)
    return share


def find_threshold(scores: Floats, right: int) -> tuple[float, float]:
    """Return the threshold t and the part that images tied at t count.

    t is the `right`-th largest of the source scores, and the part such that the images that pass
    count exactly `right`: (right - #{s > t}) / #{s = t}. If all are right everything passes
    (t = -inf); if none is, nothing does (t = inf).

    Parameters
    ----------
    scores
        Source scores (n,).
    right
        Number of right source images, 0 <= right <= n.
    """
    n = len(scores)
    if right == n:
        return -np.inf, 0.0
    if right == 0:
        return np.inf, 0.0
    threshold = float(np.partition(scores, n - right)[n - right])
    above = int(np.count_nonzero(scores > threshold))
    return threshold, (right - above) / int(np.count_nonzero(scores == threshold))


def _rounded(scores: Floats) -> Floats:
    rounded: Floats = np.round(scores, 9) + 0.0  # turns -0.0 into 0.0
    return rounded


_SCORES = {"max_confidence": max_confidence_score, "negative_entropy": negative_entropy_score}


class ThresholdEstimator(Estimator):
    """Base of estimators of the share of target images whose score passes a threshold learned on the source.

    As many source images pass as are right. Estimate minus actual is the mean over the target of
    (passes - right), which on the source is 0 by the choice of the threshold. The variance is
    s^2 (r^2/n + 1/m), s^2 that of the source residuals right - passes. The error of the threshold moves
    r times as large a share of the target as of the source: r is the ratio of the densities of scores,
    counted among a tenth of the source around the threshold. Where logits are scaled by a temperature first,
    the square of what the estimate moves by with 1/T a standard error larger comes on top.

    Subclasses set `scaling_` and give scores at each of its temperatures to `_learn` and `_answer`.
    """

    exact_on_source: ClassVar[bool] = True
    scaling_: Scaling | None

    def _learn(self, scores: Sequence[Floats], source: Predictions) -> None:
        """Learn the thresholds from the scores of the labelled source (n,), one array a temperature."""
        first, n, right = scores[0], len(source), int(source.correct.sum())
        self.source_count_ = n
        self.thresholds_ = [find_threshold(values, right) for values in scores]
        reach, ordered = max(NEAR * n, FEWEST_NEAR), np.sort(first)
        low, high = (int(np.clip(n - right + side * reach, 0, n - 1)) for side in (-1, 1))
        self.near_ = (float(ordered[low]), float(ordered[high]))
        self.near_share_ = self._share_near(first)
        passes = passing_share(first, *self.thresholds_[0])
        self.residual_variance_ = residual_variance(type(self).__name__, source.correct - passes)

    def _share_near(self, scores: Floats) -> float:
        return float(((scores >= self.near_[0]) & (scores <= self.near_[1])).mean())

    def _answer(self, scores: Sequence[Floats], **told: float) -> Estimate:
        """Return the estimate for the scores of the target (m,), one array a temperature."""
        first, (threshold, _) = scores[0], self.thresholds_[0]
        shares = [
            float(passing_share(values, *own).mean())
            for values, own in zip(scores, self.thresholds_, strict=True)
        ]
        ratio = self._share_near(first) / self.near_share_
        variance = self.residual_variance_ * (ratio**2 / self.source_count_ + 1 / len(first))
        return sampling_estimate(
            shares[0],
            variance + (shares[-1] - shares[0]) ** 2,
            self.level,
            doubt_of(self.scaling_),
            "",
            # JSON has no infinity: an infinite threshold, all right or none, is told as null
            threshold=threshold if np.isfinite(threshold) else None,
            mass_at_threshold=float((first == threshold).mean()),
            **told_of(self.scaling_),
            **told,
        )


class ATC(ThresholdEstimator):
    """Share of target images whose score passes the threshold that as many source images pass as are right.

    Parameters
    ----------
    score
        "max_confidence" (ATC-MC) or "negative_entropy" (ATC-NE).
    calibration
        None, or "temperature": divide logits by the temperature fitted on the source (-TS).
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = (
        "Garg et al. (2022), Leveraging Unlabeled Data to Predict Out-of-Distribution Performance"
    )

    def __init__(
        self,
        score: Literal["max_confidence", "negative_entropy"] = "max_confidence",
        calibration: Calibration = None,
        level: float = 0.95,
    ) -> None:
        self.score = score
        self.calibration = calibration
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        if self.score not in _SCORES:
            raise UnknownNameError("score", str(self.score), _SCORES, "ATC")
        self.scaling_ = scaling_of("ATC", self.calibration, source)
        self._learn(self._scores(source), source)

    def _predict(self, target: Predictions) -> Estimate:
        return self._answer(self._scores(target))

    def _scores(self, predictions: Predictions) -> list[Floats]:
        if self.scaling_ is not None and predictions.logits.dtype == np.float32:
            place = list(_SCORES).index(self.score)
            return [_scores_at(one, predictions)[place] for one in self.scaling_.temperatures]
        return list(map(_SCORES[self.score], at_temperatures(predictions, self.scaling_)))

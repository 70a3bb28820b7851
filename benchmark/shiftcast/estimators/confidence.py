"""Estimators that read the scored model's own confidence, its largest class probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from shiftcast.calibration import scalable_logits, temperature_fit
from shiftcast.errors import UnknownNameError
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.differences import SignalDifference
from shiftcast.estimators.intervals import independent_variance, sampling_estimate
from shiftcast.estimators.partition import PartitionEstimator
from shiftcast.estimators.scaling import NO_TEMPERATURE
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.arrays import softmax
from shiftcast.util.blocks import in_blocks
from shiftcast.util.types import Floats, Integers


class AverageConfidence(Estimator):
    """Mean confidence on the target (AC), optionally after temperature scaling on the source (AC-TS).

    If confidences are calibrated on the target, the number of right images is Poisson-binomial,
    so the variance of estimate minus actual is that of `independent_variance`. A fitted temperature adds
    Var(1/T) (d AC / d(1/T))^2 by the delta method, d AC / d(1/T) = mean(c (z_top - sum_k p_k z_k)). The
    estimate is flagged where the source has no most likely temperature.

    Parameters
    ----------
    calibration
        None, or "temperature": divide logits by the temperature fitted on the source. For
        probabilities their logarithm, floored at 1e-12, stands in for logits.
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = (
        "Hendrycks & Gimpel (2017), A Baseline for Detecting Misclassified and Out-of-Distribution Examples"
    )

    def __init__(self, calibration: Literal["temperature"] | None = None, level: float = 0.95) -> None:
        self.calibration = calibration
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        if self.calibration not in (None, "temperature"):
            raise UnknownNameError("calibration", str(self.calibration), ["temperature"], "AverageConfidence")
        self.source_count_ = len(source)
        if self.calibration:
            self.fit_ = temperature_fit(scalable_logits(source), np.asarray(source.labels))
            self.temperature_ = self.fit_.value

    def _predict(self, target: Predictions) -> Estimate:
        if not self.calibration:
            confidences = target.confidence
            variance = independent_variance(confidences, self.source_count_)
            return sampling_estimate(float(confidences.mean()), variance, self.level)
        confidences, ahead = in_blocks(self._scaled, scalable_logits(target), target.predicted).T
        learning = (self.fit_.inverse_error * float((confidences * ahead).mean())) ** 2
        return sampling_estimate(
            float(confidences.mean()),
            independent_variance(confidences, self.source_count_) + learning,
            self.level,
            flagged=NO_TEMPERATURE if self.fit_.bounded else "",
            temperature=self.temperature_,
        )

    def _scaled(self, logits: Floats, predicted: Integers) -> Floats:
        """Return the scaled confidence of each image, and how far the top logit is above the mean (n, 2)."""
        rows, probabilities = np.arange(len(logits)), softmax(logits / self.temperature_)
        ahead = logits[rows, predicted] - (probabilities * logits).sum(axis=1)
        return np.stack([probabilities[rows, predicted], ahead], axis=1)


class DifferenceOfConfidences(SignalDifference):
    """Source accuracy plus the change in mean confidence (DoC), clipped to [0, 1].

    The interval is that of `SignalDifference`, with confidence as the signal.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = "Guillory et al. (2021), Predicting with Confidence on Unseen Distributions"

    def _signal(self, predictions: Predictions) -> Floats:
        return predictions.confidence


class ImportanceReweighting(PartitionEstimator):
    """Partition by the model's own confidence (IM): the ablation of the confusion partition.

    The score is 1 - max_k p_k in bins of equal width on [0, 1], which are those of confidence
    seen from the other end; the least confident bin is the most confused. Merging, counts and
    interval are the confusion partition's.

    Parameters
    ----------
    bins
        Number of bins of equal width.
    min_count
        Fewest source images that let a bin stand alone.
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = "Chen et al. (2021), Mandoline: Model Evaluation under Distribution Shift"

    def __init__(self, bins: int = 10, min_count: int = 20, level: float = 0.95) -> None:
        self.bins = bins
        self.min_count = min_count
        self.level = level

    def _scores(self, predictions: Predictions) -> Floats:
        return np.round(1 - predictions.confidence, 9)

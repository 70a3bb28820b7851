"""The common form of estimators that add the change of a mean signal to source accuracy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from shiftcast.estimators.base import Estimator
from shiftcast.estimators.intervals import residual_variance, sampling_estimate
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.types import Floats


class SignalDifference(Estimator):
    """Base of estimators a_ID + mean signal on target - mean signal on source, clipped to [0, 1].

    Estimate minus actual is the mean residual (right minus signal) of the source minus that of
    the target; if residuals are spread alike on both, its variance is s^2 (1/n + 1/m) with s^2
    the source residual variance. A clipped estimate is flagged.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    exact_on_source: ClassVar[bool] = True

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        signal = self._signal(source)
        self.source_count_ = len(source)
        self.source_signal_ = float(signal.mean())
        self.residual_variance_ = residual_variance(type(self).__name__, source.correct - signal)

    def _predict(self, target: Predictions) -> Estimate:
        estimate = self.source_accuracy_ + float(self._signal(target).mean()) - self.source_signal_
        variance = self.residual_variance_ * (1 / self.source_count_ + 1 / len(target))
        return sampling_estimate(estimate, variance, self.level)

    @abstractmethod
    def _signal(self, predictions: Predictions) -> Floats:
        """Return what stands in for being right, one number in [0, 1] per image (n,)."""

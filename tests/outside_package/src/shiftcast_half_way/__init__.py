"""An estimator that goes half the way that the confidence goes."""

from typing import ClassVar

from shiftcast.estimators import Estimator
from shiftcast.predictions import Estimate


class HalfWay(Estimator):
    """Source accuracy plus a share of the change in mean confidence."""

    track: ClassVar[str] = "T1"
    exact_on_source: ClassVar[bool] = True

    def __init__(self, share=0.5, level=0.95):
        self.share = share
        self.level = level

    def _fit(self, source, others):
        self.confidence_ = float(source.confidence.mean())

    def _predict(self, target):
        moved = self.share * (float(target.confidence.mean()) - self.confidence_)
        accuracy = min(max(self.source_accuracy_ + moved, 0.0), 1.0)
        return Estimate(accuracy, accuracy - 0.1, accuracy + 0.1, self.level)

"""Thresholded confidence with a threshold for each predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from shiftcast.estimators.atc import find_threshold, max_confidence_score
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import residual_variance, sampling_estimate
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.types import Floats

FEWEST_IMAGES = 20
"""Source images of a predicted class that let it have a threshold of its own."""


class ClassATC(Estimator):
    """Share of target images whose confidence passes the threshold of their own predicted class.

    ATC-MC for the images of each predicted class k by itself: its threshold passes as many source images that
    are put into k as are right there, ties as in ATC. A class with fewer than 20 source images takes the
    threshold of all images, and with such a class the source no longer gives exactly its accuracy.
    Predictions of classes in which the model is good and bad may change shares without misleading it.

    The interval is ATC's, from the residuals right - passes. Diagnostics: `classes` (with a threshold of
    their own) and `mass_elsewhere` (share of target images in the others).

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = (
        "Li et al. (2022), Estimating Model Performance under Domain Shifts with Class-Specific Confidence "
        "Scores"
    )

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        scores = max_confidence_score(source)
        everywhere = find_threshold(scores, int(source.correct.sum()))
        thresholds = np.tile(everywhere, (source.classes, 1))
        self.known_ = np.bincount(source.predicted, minlength=source.classes) >= FEWEST_IMAGES
        for k in np.flatnonzero(self.known_):
            own = source.predicted == k
            thresholds[k] = find_threshold(scores[own], int(source.correct[own].sum()))
        self.thresholds_, self.tied_ = thresholds.T
        self.source_count_ = len(source)
        self.residual_variance_ = residual_variance("ClassATC", source.correct - self._passes(source, scores))

    def _predict(self, target: Predictions) -> Estimate:
        passes = self._passes(target, max_confidence_score(target))
        variance = self.residual_variance_ * (1 / self.source_count_ + 1 / len(target))
        return sampling_estimate(
            float(passes.mean()),
            variance,
            self.level,
            classes=int(self.known_.sum()),
            mass_elsewhere=float((~self.known_[target.predicted]).mean()),
        )

    def _passes(self, predictions: Predictions, scores: Floats) -> Floats:
        """Return what each image counts (n,): 1 above its class's threshold, a part on it, 0 below."""
        thresholds, tied = self.thresholds_[predictions.predicted], self.tied_[predictions.predicted]
        passes: Floats = (scores > thresholds) + tied * (scores == thresholds)
        return passes

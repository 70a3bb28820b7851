"""The two baselines that every estimator is measured against: no shift, and the usual shift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from shiftcast.errors import InvalidInputError
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.bins import partition_variance
from shiftcast.estimators.intervals import binomial_variance, sampling_estimate
from shiftcast.predictions import Estimate, Predictions


class NoShift(Estimator):
    """Source accuracy a_ID, as though nothing had shifted.

    Its interval is the partition's with a single bin: a_ID (1 - a_ID) (1/n + 1/m), smoothed.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    requires: ClassVar[frozenset[str]] = frozenset({"classes"})
    citation: ClassVar[str] = "Baseline"
    exact_on_source: ClassVar[bool] = True

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.source_count_ = len(source)
        self.source_right_ = int(source.correct.sum())

    def _predict(self, target: Predictions) -> Estimate:
        variance = partition_variance(
            np.array([len(target)]), np.array([self.source_count_]), np.array([self.source_right_])
        )
        return sampling_estimate(self.source_accuracy_, variance, self.level)


class MeanShift(Estimator):
    """Source accuracy minus the run's own mean drop over the other groups.

    Drops are averaged within a group, then over groups with equal weight. Source accuracy cancels
    (a_ID - mean(a_ID - A) = mean A), and so does its sampling error; the interval holds that of
    the other groups' accuracies and of the m target images. Sets of one group (severities) show
    the same images, so their errors count as fully dependent; groups count as independent. How
    much shifts differ from each other is model error, not sampling, and not in the interval.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T5"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "others"})
    citation: ClassVar[str] = "Baseline"

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.groups_ = tuple(sorted({other.group for other in others}))
        drops, errors = [], []
        for group in self.groups_:
            members = [other for other in others if other.group == group]
            drops.append(np.mean(sorted(self.source_accuracy_ - other.accuracy for other in members)))
            variances = binomial_variance([other.accuracy for other in members], [len(o) for o in members])
            errors.append(np.sqrt(np.sort(variances)).mean())
        self.mean_drop_ = float(np.mean(drops))
        self.mean_drop_variance_ = float(np.square(errors).sum()) / len(self.groups_) ** 2

    def _predict(self, target: Predictions) -> Estimate:
        if target.group in self.groups_:
            raise InvalidInputError(
                f"MeanShift.predict: target {target.name!r} belongs to group {target.group!r}, whose labels "
                "were used in fit; fit on other groups only"
            )
        estimate = self.source_accuracy_ - self.mean_drop_
        drawn = float(binomial_variance(min(max(estimate, 0.0), 1.0), len(target)))
        return sampling_estimate(
            estimate,
            self.mean_drop_variance_ + drawn,
            self.level,
            mean_drop=self.mean_drop_,
            groups=len(self.groups_),
        )

"""What would follow if only class shares had changed: a diagnosis of label shift, no rival of estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from shiftcast.estimators.base import Estimator, Role, Track
from shiftcast.estimators.cot import COTT, class_prices, class_shares, sent_scores
from shiftcast.estimators.intervals import sampling_estimate, smoothed_share
from shiftcast.estimators.scaling import at_temperatures, doubt_of, scaling_of
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.prior import prior_by_em
from shiftcast.util.hashing import sha256
from shiftcast.util.memory import remembered
from shiftcast.util.types import Floats

CITATION = (
    "Saerens, Latinne & Decaestecker (2002), Adjusting the Outputs of a Classifier to New a Priori "
    "Probabilities"
)
ABSENT = 1e-6
"""A class of a smaller share is left out of the error of shares."""


class EstimatedPrior:
    """Class shares of targets, by expectation maximisation on temperature-scaled probabilities.

    What EM finds is a factor on each class's mean source probability. It is put on the shares of the source's
    labels, so that the source itself has these.

    Parameters
    ----------
    source
        Labelled source predictions.
    """

    def __init__(self, source: Predictions) -> None:
        self.scaling = scaling_of("EstimatedPrior", "temperature", source)
        self.labels = class_shares("EstimatedPrior", None, source)
        self.means = self._probabilities(source).mean(axis=0)
        self._key = f"prior {sha256(np.stack([self.labels, self.means]).tobytes())}"

    def of(self, target: Predictions) -> Floats:
        """Return the class shares (K,) of a target."""
        return self._weighted(self._found(target))

    def total_variation(self, target: Predictions) -> float:
        """Return half the sum of differences from the source's class shares, in [0, 1]."""
        return float(np.abs(self.of(target) - self.labels).sum()) / 2

    def variance(self, target: Predictions, values: Floats) -> float:
        """Return the variance of shares times `values` (K,), from the likelihood's curvature."""
        found = self._found(target)
        kept = (found > ABSENT) & (self.means > 0)
        ratios = self._probabilities(target)[:, kept] / self.means[kept]
        scores = ratios / (ratios @ found[kept])[:, None]
        centring = np.eye(int(kept.sum())) - 1 / kept.sum()  # shares sum to one
        covariance = np.linalg.pinv(centring @ (scores.T @ scores) @ centring, hermitian=True)
        return float(values[kept] @ covariance @ values[kept])

    def _probabilities(self, predictions: Predictions) -> Floats:
        return next(at_temperatures(predictions, self.scaling)).probabilities

    def _found(self, target: Predictions) -> Floats:
        return remembered(
            target.logits,
            f"{self._key} {target.kind}",
            lambda: prior_by_em(self._probabilities(target), self.means),
        )

    def _weighted(self, found: Floats) -> Floats:
        factors = np.divide(found, self.means, out=np.zeros_like(found), where=self.means > 0)
        shares: Floats = self.labels * factors
        return shares / shares.sum() if shares.sum() > 0 else self.labels


class PriorTransfer(Estimator):
    """Source accuracy of each class, weighted by class shares that EM finds in the target.

    sum_k q_k recall_k. Right where nothing but class shares changed: classes are then as hard as before. It
    reads a model that puts too much into a few classes as a target that holds more of them, so it diagnoses
    label shift and is ranked with no estimate. Diagnostic: `total_variation`, how far the class shares found
    lie from the source's, in [0, 1]; far where agreement or confidence hardly fall speaks for label shift.

    The variance of estimate minus actual is sum_k q_k^2 r_k (1 - r_k) / n_k for the recalls r_k, plus
    sum_k q_k r_k (1 - r_k) / m, plus that of the shares from the likelihood's curvature.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    role: ClassVar[Role] = "diagnosis"
    citation: ClassVar[str] = CITATION
    exact_on_source: ClassVar[bool] = True

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.prior_ = EstimatedPrior(source)
        labels, count = np.asarray(source.labels), source.classes
        self.counts_ = np.bincount(labels, minlength=count).astype(np.float64)
        self.rights_ = np.bincount(labels[source.correct], minlength=count).astype(np.float64)

    def _predict(self, target: Predictions) -> Estimate:
        shares = self.prior_.of(target)
        recalls = self.rights_ / np.maximum(self.counts_, 1)
        smooth = smoothed_share(self.rights_, self.counts_)
        spread = smooth * (1 - smooth)
        variance = float(shares**2 @ (spread / np.maximum(self.counts_, 1)))
        variance += float(shares @ spread) / len(target) + self.prior_.variance(target, recalls)
        return sampling_estimate(
            float(shares @ recalls),
            variance,
            self.level,
            doubt_of(self.prior_.scaling),
            total_variation=self.prior_.total_variation(target),
        )


class PriorCOTT(COTT):
    """COTT with the class shares that EM finds in the target in place of the source's (COTT-prior).

    Under label shift alone transport then costs nothing but the model's errors. Where the model collapses
    into a few classes EM takes these for the target's, and transport no longer sees it. So it diagnoses label
    shift, and is ranked with no estimate: far above COTT where class shares are what moved.
    Diagnostic: `total_variation` as in `PriorTransfer`.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    role: ClassVar[Role] = "diagnosis"
    citation: ClassVar[str] = f"{COTT.citation}; {CITATION}"

    def __init__(self, level: float = 0.95) -> None:
        super().__init__(level=level)

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        super()._fit(source, others)
        self.estimated_ = EstimatedPrior(source)

    def _predict(self, target: Predictions) -> Estimate:
        prices = class_prices(target, self.estimated_.of(target))
        moved = self.estimated_.total_variation(target)
        return self._answer([sent_scores(target, prices)], total_variation=moved)

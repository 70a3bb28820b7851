"""Confidence by optimal transport: predicted probabilities are joined with the source's class shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from shiftcast.errors import InvalidInputError
from shiftcast.estimators.atc import find_threshold, passing_share
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import residual_variance, sampling_estimate
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.transport import Transport, sent_probabilities, transport
from shiftcast.util.memory import remembered
from shiftcast.util.types import Floats

CITATION = (
    "Lu et al. (2023), Characterizing Out-of-Distribution Error via Optimal Transport (NeurIPS 2023; "
    "arXiv:2305.15640)"
)


def class_shares(name: str, prior: ArrayLike | None, source: Predictions) -> Floats:
    """Return the class shares q (K,): the given ones, or those of the source's labels.

    Raises
    ------
    InvalidInputError
        If the given ones are not one share a class that sum to one.
    """
    if prior is None:
        counts = np.bincount(np.asarray(source.labels), minlength=source.classes)
        own: Floats = counts / counts.sum()
        return own
    shares = np.asarray(prior, dtype=np.float64)
    if shares.shape != (source.classes,):
        raise InvalidInputError(
            f"{name}: prior must hold a share for each of {source.classes} classes, got shape {shares.shape}"
        )
    if not (shares.min() >= 0 and abs(float(shares.sum()) - 1) <= 1e-6):
        raise InvalidInputError(
            f"{name}: prior must hold shares of at least 0 that sum to one, got sum {shares.sum():.6g}"
        )
    given: Floats = shares / shares.sum()
    return given


def coupled(predictions: Predictions, shares: Floats) -> Transport:
    """Return the best coupling of a set's probabilities with class shares, solved once for each."""
    key = f"transport {predictions.kind} {shares.tobytes().hex()}"
    return remembered(predictions.logits, key, lambda: transport(predictions.probabilities, shares))


class COT(Estimator):
    """One minus the transport distance between predicted probabilities and class shares (COT).

    1 - W_1({p_i}, q) with cost half the L1 distance between p_i and a one-hot class: the largest
    sum_ik pi_ik p_ik over couplings with image shares 1/m and class shares q. It is at most the
    average confidence, and equals it where some choice of most probable classes has the shares q.
    Solved exactly up to 100 classes; above, the diagnostic `gap` bounds what the answer may be too high.

    The variance of estimate minus actual is taken as mean(g (1 - g)) / m with g the worth of each
    image at the class prices: right answers are independent draws with these probabilities, as
    for AverageConfidence. That the shares q are the target's is assumed.

    Parameters
    ----------
    prior
        Class shares (K,) of the target where they are known; those of the source's labels when None.
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = CITATION

    def __init__(self, prior: ArrayLike | None = None, level: float = 0.95) -> None:
        self.prior = prior
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.shares_ = class_shares("COT", self.prior, source)

    def _predict(self, target: Predictions) -> Estimate:
        solved = coupled(target, self.shares_)
        worth = np.clip(solved.gains, 0.0, 1.0)
        variance = float((worth * (1 - worth)).mean()) / len(target)
        return sampling_estimate(solved.value, variance, self.level, gap=round(solved.gap, 12))


class COTT(Estimator):
    """Share of target images whose transport cost stays below a threshold learned on the source (COTT).

    The cost of image i is one minus its probability of the class that it is sent to in its own set's
    transport to the class shares q of the source. The coupling itself is not unique; the classes are
    those of the dual prices u at an entropic smoothing of 1e-3, which are: the mean of p_ik under
    softmax_k((p_ik - u_k) / 1e-3). The price itself is no part of the cost: prices differ between
    two samples of one distribution, by as much as probabilities do where a handful of images decides
    them, and would carry whole classes over the threshold. The threshold passes as many source images
    as are right, ties as in ATC; the interval is ATC's.

    Parameters
    ----------
    prior
        Class shares (K,) of the target where they are known; those of the source's labels when None.
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = CITATION
    exact_on_source: ClassVar[bool] = True

    def __init__(self, prior: ArrayLike | None = None, level: float = 0.95) -> None:
        self.prior = prior
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.shares_ = class_shares("COTT", self.prior, source)
        own = class_shares("COTT", None, source)  # the source's classes are known, whatever the target's
        sent = _sent(source, own)
        self.source_count_ = len(source)
        self.threshold_, self.tied_ = find_threshold(sent, int(source.correct.sum()))
        passes = passing_share(sent, self.threshold_, self.tied_)
        self.residual_variance_ = residual_variance("COTT", source.correct - passes)

    def _predict(self, target: Predictions) -> Estimate:
        sent = _sent(target, self.shares_)
        estimate = float(passing_share(sent, self.threshold_, self.tied_).mean())
        variance = self.residual_variance_ * (1 / self.source_count_ + 1 / len(target))
        threshold = self.threshold_ if np.isfinite(self.threshold_) else None
        return sampling_estimate(estimate, variance, self.level, threshold=threshold)


def _sent(predictions: Predictions, shares: Floats) -> Floats:
    sent = sent_probabilities(predictions.probabilities, coupled(predictions, shares).prices)
    return np.round(sent, 7)  # prices are known to about 1e-10

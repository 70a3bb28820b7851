"""Source accuracy and the largest drop that several signals agree on, scaled on corruptions of CIFAR-10.

A drop is probit(signal on the target) - probit(a_ID), times a factor. Which drop is believed: the larger
of the two that see damage, but no more than twice the one that label shift cannot feign.

The definitions, constants among them, and the predictions for five blind sets were frozen on 2026-11-29,
before any label of these was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.special import ndtr, ndtri

from shiftcast.estimators.atc import find_threshold, negative_entropy_score, passing_share
from shiftcast.estimators.balance import balanced_ensemble, ensemble_sharpness
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.cot import class_prices, class_shares
from shiftcast.estimators.partition import own_label_votes
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.transport import sent_probabilities
from shiftcast.util.types import Floats

BALANCE_FACTOR = 1.13
AGREEMENT_FACTOR = 1.34
ATC_FACTOR = 1.22
COTT_FACTOR = 1.02
"""Learned on CIFAR-10: least squares through the origin of probit(actual) - probit(a_ID) on each signal's
drop, over 19 corruptions x 46 small networks. For other data they are untested; they fit badly when
learned again on one model's own corrupted copies."""
CAP_FACTOR = 2.0
"""A drop is believed up to this many times the one that limits it: a compromise between label shift and the
natural sets."""
HALF_WIDTH, HALF_WIDTH_ALONE = 1.5, 1.8
"""Multiples of 0.1 + 0.1 min(|drop|, 1) that held the residuals of nine cells in ten, with an ensemble
and without (T1)."""
FLAGGED_ABOVE = 0.15
"""How much of the balanced drop is disbelieved, on the probit scale, before the estimate is flagged."""
CLASSES_MOVED = "class shares change while agreement stays: label shift, or a class that swallows others"
UNMOVED = 1e-12
"""Drops smaller than this are rounding."""
LEVEL = 0.9
INTERVAL = "90 % level of the residual scale over five natural sets of CIFAR-10, in sample"
"""What the interval is; it is no promise about other shifts."""
SELECTED_ON = ("cinic10-imagenet", "photo-web", "emoji", "style-transfer", "cifar10-g")


def probit(share: float, n: int) -> float:
    """Return Phi^-1 of a share of n images, clipped to [0.5/n, 1 - 0.5/n]; also of one outside [0, 1]."""
    return float(ndtri(min(max(share, 0.5 / n), 1 - 0.5 / n)))


def believed(drop: float, limit: float) -> float:
    """Return the drop (negative), but no more than `CAP_FACTOR` times the one that limits it."""
    return max(drop, CAP_FACTOR * limit if limit < 0 else limit)


class DropEstimator(Estimator):
    """Base of estimators Phi(probit(a_ID) + d), with d the believed drop on the probit scale.

    Exactly a_ID where |d| < 1e-12. The interval Phi(probit(a_ID) + d -+ h), h = c (0.1 + 0.1 min(|d|, 1)),
    is the 90 % level of the residual scale over the five natural sets that the estimator was chosen on,
    in sample; it covers less elsewhere and has this level alone. Diagnostics: `drop` (d).

    Subclasses give `_prepare` and `_drop`.
    """

    selected_on: ClassVar[tuple[str, ...]] = SELECTED_ON
    citation: ClassVar[str] = "Shiftcast"
    exact_on_source: ClassVar[bool] = True
    half_width: ClassVar[float] = HALF_WIDTH

    level: float = LEVEL

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.probit_ = probit(self.source_accuracy_, len(source))
        self._prepare(source)

    def _predict(self, target: Predictions) -> Estimate:
        drop, flagged = self._drop(target)
        half = self.half_width * (0.1 + 0.1 * min(abs(drop), 1.0))
        centre = self.probit_ + drop
        accuracy = self.source_accuracy_ if abs(drop) < UNMOVED else float(ndtr(centre))
        return Estimate(
            accuracy,
            float(ndtr(centre - half)),
            float(ndtr(centre + half)),
            self.level,
            diagnostics={"interval": INTERVAL, "drop": drop},
            flagged=flagged,
        )

    def _scaled(self, factor: float, share: float, n: int) -> float:
        """Return factor (probit(share; n) - probit(a_ID))."""
        return factor * (probit(share, n) - self.probit_)

    def _prepare(self, source: Predictions) -> None:
        """Learn from the validated source, whose accuracy is known already."""
        raise NotImplementedError

    def _drop(self, target: Predictions) -> tuple[float, str]:
        """Return the believed drop, and why it is doubtful, or nothing."""
        raise NotImplementedError


class BalancedAgreement(DropEstimator):
    """Source accuracy plus the change in agreement with the reference ensemble, its class shares balanced.

    What share of the target would still agree with the ensemble if its answers were forced to the
    source's class shares? Balancing takes label shift for damage, so its drop d_S is believed only up to
    twice the drop d_A of plain agreement, both scaled on corruptions. Where class shares change while
    agreement stays (d - d_S > 0.15), by label shift or total collapse, the estimate is `flagged`.

    d_S = 1.13 (probit(a_ID + mean_i R_i[yhat_i] on target - the same on source) - probit(a_ID)) with R of
    `balance` (from the mean member, sharpened on the source); d_A = 1.34 (...) with the share of members
    that vote yhat_i in place of R_i. On shortcuts that all networks share it sees nothing, as all do.
    """

    track: ClassVar[Track] = "T2"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "reference"})
    reads_counts: ClassVar[bool] = True

    def _prepare(self, source: Predictions) -> None:
        self.shares_ = class_shares(type(self).__name__, None, source)
        self.sharpness_ = ensemble_sharpness(source)
        self.balanced_, self.votes_ = self._agreements(source)

    def _drop(self, target: Predictions) -> tuple[float, str]:
        balanced, plain = self._ensemble_drops(target)
        drop = believed(balanced, plain)
        return drop, CLASSES_MOVED if drop - balanced > FLAGGED_ABOVE else ""

    def _ensemble_drops(self, target: Predictions) -> tuple[float, float]:
        """Return d_S and d_A."""
        balanced, votes = self._agreements(target)
        n, accuracy = len(target), self.source_accuracy_
        return (
            self._scaled(BALANCE_FACTOR, accuracy + balanced - self.balanced_, n),
            self._scaled(AGREEMENT_FACTOR, accuracy + votes - self.votes_, n),
        )

    def _agreements(self, predictions: Predictions) -> tuple[float, float]:
        """Return mean_i R_i[yhat_i] and the mean share of members that vote yhat_i."""
        balanced = balanced_ensemble(predictions, self.sharpness_, self.shares_)
        return float(predictions.of_predicted(balanced).mean()), float(own_label_votes(predictions).mean())


class LargestDrop(BalancedAgreement):
    """The larger of the drops of balanced agreement and ATC-NE, up to twice that of agreement or ATC-NE.

    With d_C = 1.22 (probit(ATC-NE) - probit(a_ID)) and d_S, d_A of `BalancedAgreement`:
    d0 = min(d_S, d_C), r = min(d_A, d_C), and d = max(d0, 2 r), or max(d0, r) for r >= 0.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"logits", "reference"})

    def _prepare(self, source: Predictions) -> None:
        super()._prepare(source)
        self.threshold_ = _threshold(negative_entropy_score(source), source)

    def _drop(self, target: Predictions) -> tuple[float, str]:
        balanced, plain = self._ensemble_drops(target)
        confidence = self._scaled(
            ATC_FACTOR, _passing(negative_entropy_score(target), self.threshold_), len(target)
        )
        return believed(min(balanced, confidence), min(plain, confidence)), ""


class LargestDropAlone(DropEstimator):
    """The larger of the drops of COTT and ATC-NE, up to twice that of ATC-NE (LargestDrop-T1).

    For models without a reference ensemble: with d_T = 1.02 (probit(COTT) - probit(a_ID)) and d_C of
    `LargestDrop`, d = max(min(d_T, d_C), 2 d_C), or max(min(d_T, d_C), d_C) for d_C >= 0.
    """

    track: ClassVar[Track] = "T1"
    half_width: ClassVar[float] = HALF_WIDTH_ALONE

    def _prepare(self, source: Predictions) -> None:
        self.shares_ = class_shares(type(self).__name__, None, source)
        self.sent_threshold_ = _threshold(_sent(source, self.shares_), source)
        self.threshold_ = _threshold(negative_entropy_score(source), source)

    def _drop(self, target: Predictions) -> tuple[float, str]:
        n = len(target)
        confidence = self._scaled(ATC_FACTOR, _passing(negative_entropy_score(target), self.threshold_), n)
        transport = self._scaled(COTT_FACTOR, _passing(_sent(target, self.shares_), self.sent_threshold_), n)
        return believed(min(transport, confidence), confidence), ""


def _threshold(scores: Floats, source: Predictions) -> tuple[float, float]:
    return find_threshold(scores, int(source.correct.sum()))


def _passing(scores: Floats, threshold: tuple[float, float]) -> float:
    return float(passing_share(scores, *threshold).mean())


def _sent(predictions: Predictions, shares: Floats) -> Floats:
    """COTT's score as it was when the constants were frozen: no correction for few images a class."""
    prices = class_prices(predictions, shares)
    return np.round(sent_probabilities(predictions.probabilities, prices), 7)

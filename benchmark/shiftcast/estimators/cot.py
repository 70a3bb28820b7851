"""Confidence by optimal transport: predicted probabilities are joined with the source's class shares."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, inf, sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from shiftcast.errors import InvalidInputError
from shiftcast.estimators.atc import ThresholdEstimator
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import Diagnostic, independent_variance, sampling_estimate
from shiftcast.estimators.scaling import (
    Calibration,
    Scaling,
    at_temperatures,
    doubt_of,
    scaling_of,
    told_of,
)
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.transport import (
    Transport,
    distinct_rows,
    sent_probabilities,
    transport,
    transport_prices,
)
from shiftcast.util.blocks import in_blocks
from shiftcast.util.memory import remember, remembered
from shiftcast.util.types import Floats

CITATION = (
    "Lu et al. (2023), Characterizing Out-of-Distribution Error via Optimal Transport (NeurIPS 2023; "
    "arXiv:2305.15640)"
)

CLEAR = 4.0
"""Standard errors beyond which a class's share differs for sure: of 1,000 classes without a difference, one
in fifteen sets has one."""


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


def share_beyond_chance(shares: Floats, predicted: Floats, n: float, m: int) -> float:
    """Return how much of the difference between class shares is more than sampling noise, in [0, 1].

    sqrt(1 - E[X^2] / X^2), 0 where X^2 is smaller, with X^2 the two-sample chi-square statistic of n labels
    and m predicted classes, and E[X^2] = (K - 1) (n + m) / (n + m - 1) its mean over allocations of these
    images to the two samples (Haldane 1940), K the classes that occur. Times this factor, differences are
    as long as without noise.

    Parameters
    ----------
    shares, predicted
        Class shares (K,) of the labels and of the predicted classes.
    n, m
        Images behind them; n is infinite for shares that are known.
    """
    weight = 1 / (1 + m / n)
    pooled = weight * shares + (1 - weight) * predicted
    apart = (shares - predicted) ** 2
    if (apart[pooled == 0] > 0).any():  # a class that is known not to occur
        return 1.0
    used = pooled > 0
    statistic = float((apart[used] / pooled[used]).sum()) * m * weight
    expected = float(np.count_nonzero(used) - 1) * (1 + 1 / (n + m - 1))
    return sqrt(1 - expected / statistic) if statistic > expected else 0.0


def steadied(shares: Floats, predicted: Floats, n: float, m: int) -> Floats:
    """Return class shares (K,) without what chance explains, arguments as in `share_beyond_chance`.

    Classes that differ by more than four standard errors keep their share. Those of the others, within their
    sum, are drawn towards the predicted ones, at which transport costs nothing. Else the noise of n labels
    and m images costs transport that no error of the model does: with five images a class, ten points of
    accuracy.
    """
    weight = 1 / (1 + m / n)
    pooled = weight * shares + (1 - weight) * predicted
    spread = pooled * (1 - pooled) * (1 / n + 1 / m)
    rest = (shares - predicted) ** 2 <= CLEAR**2 * spread
    left, there = float(shares[rest].sum()), float(predicted[rest].sum())
    if not (left > 0 and there > 0):
        return shares
    part, wanted = shares[rest] / left, predicted[rest] / there
    factor = share_beyond_chance(part, wanted, n * left, max(round(m * there), 1))
    drawn = shares.copy()
    drawn[rest] = left * (wanted + factor * (part - wanted))
    return drawn


def _steadied(predictions: Predictions, shares: Floats, n: float) -> Floats:
    """Return `steadied` shares for a set of predictions; copies of a set are no further images."""
    predicted = np.bincount(predictions.predicted, minlength=predictions.classes) / len(predictions)
    return steadied(shares, predicted, n, _different(predictions.logits))


def _different(rows: Floats) -> int:
    """Return the number of rows over how often each of them occurs, where all do several times."""
    if np.count_nonzero((rows == rows[0]).all(axis=1)) == 1:  # almost always, and the rest is slow
        return len(rows)
    return len(rows) // gcd(*distinct_rows(rows)[1].tolist())


def coupled(predictions: Predictions, shares: Floats) -> Transport:
    """Return the best coupling of a set's probabilities with class shares, solved once for each."""
    key = f"transport {predictions.kind} {shares.tobytes().hex()}"
    solved = remembered(predictions.logits, key, lambda: transport(predictions.probabilities, shares))
    remember(predictions.logits, _prices_key(predictions, None, shares), solved.prices)
    return solved


def class_prices(predictions: Predictions, shares: Floats) -> Floats:
    """Return the prices (K,) of `coupled` alone, for who needs no more: half the time."""
    return prices_at(predictions, None, predictions, shares)


def prices_at(
    predictions: Predictions, scaling: Scaling | None, scaled: Predictions, shares: Floats
) -> Floats:
    """Return the prices (K,) of predictions that are `scaled`, solved once for predictions and scaling."""
    key = _prices_key(predictions, scaling, shares)
    return remembered(predictions.logits, key, lambda: transport_prices(scaled.probabilities, shares))


def _prices_key(predictions: Predictions, scaling: Scaling | None, shares: Floats) -> str:
    at = None if scaling is None else scaling.temperatures[0]
    return f"prices {predictions.kind} {at!r} {shares.tobytes().hex()}"


class COT(Estimator):
    """One minus the transport distance between predicted probabilities and class shares (COT).

    1 - W_1({p_i}, q) with cost half the L1 distance between p_i and a one-hot class: the largest
    sum_ik pi_ik p_ik over couplings with image shares 1/m and class shares q. It is at most the
    average confidence, and equals it where some choice of most probable classes has the shares q.
    Solved exactly up to 100 classes; above, the diagnostic `gap` bounds what the answer may be too high:
    at most 1e-5 where possible, and about 1e-3 for more than 2,000,000 probabilities.

    Shares of n source labels, and of m images, are noisy, and noise costs transport: q is drawn towards the
    predicted shares as far as chance explains the difference (`steadied`). Where it explains all, the
    answer is the average confidence.

    The variance of estimate minus actual is `independent_variance` of the worth of each image at the class
    prices u, as though right answers were independent draws with these probabilities, plus that of q.u for
    the shares of n labels. That the shares are the target's is assumed.

    With `calibration` prices alone are solved for, at a smoothing of 1e-3: the answer is an upper bound, on
    the board's runs by at most 0.002 percentage points. The variance of 1/T times the squared slope of the
    answer comes on top of the variance: at the best prices, what prices change is of second order.

    Parameters
    ----------
    prior
        Class shares (K,) of the target where they are known; those of the source's labels when None.
    calibration
        None, or "temperature": divide logits by the temperature fitted on the source (COT-TS).
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = CITATION

    def __init__(
        self, prior: ArrayLike | None = None, calibration: Calibration = None, level: float = 0.95
    ) -> None:
        self.prior = prior
        self.calibration = calibration
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.shares_ = class_shares("COT", self.prior, source)
        self.source_count_ = len(source)
        self.share_count_ = inf if self.prior is not None else len(source)
        self.scaling_ = scaling_of("COT", self.calibration, source)

    def _predict(self, target: Predictions) -> Estimate:
        shares = _steadied(target, self.shares_, self.share_count_)
        if self.calibration is None:
            solved = coupled(target, shares)
            told: dict[str, Diagnostic] = {"gap": round(solved.gap, 12)}
            value, prices, gains, learned = solved.value, solved.prices, solved.gains, 0.0
        else:
            at_each = at_temperatures(target, self.scaling_)
            scaled = next(at_each)
            prices = prices_at(target, self.scaling_, scaled, shares)
            gains = _gains(scaled, prices)
            del scaled  # the next one takes as much memory
            other = _gains(next(at_each), prices)
            value, learned = float(gains.mean()), float(other.mean() - gains.mean()) ** 2
            told = {**told_of(self.scaling_)}
        variance = independent_variance(np.clip(gains, 0.0, 1.0), self.source_count_) + learned
        priced = np.isfinite(prices)
        q, u = self.shares_[priced], prices[priced]
        variance += max(float(q @ u**2 - (q @ u) ** 2), 0.0) / self.share_count_
        return sampling_estimate(value, variance, self.level, doubt_of(self.scaling_), "", **told)


class COTT(ThresholdEstimator):
    """Share of target images whose transport cost stays below a threshold learned on the source (COTT).

    The cost of image i is one minus its probability of the class that it is sent to in its own set's
    transport to the class shares q of the source. The coupling itself is not unique; the classes are
    those of the dual prices u at an entropic smoothing of 1e-3, which are: the mean of p_ik under
    softmax_k((p_ik - u_k) / 1e-3). The price itself is no part of the cost: prices differ between
    two samples of one distribution, by as much as probabilities do where a handful of images decides
    them, and would carry whole classes over the threshold. The threshold passes as many source images
    as are right, ties as in ATC; the interval is ATC's, and leaves the error of q out. Of both sets, q is
    drawn towards the predicted shares as far as chance explains the difference (`steadied`): noise sends
    images where nothing but chance wants them, and more of the target's than of the source's.

    Parameters
    ----------
    prior
        Class shares (K,) of the target where they are known; those of the source's labels when None.
    calibration
        None, or "temperature": divide logits by the temperature fitted on the source (COTT-TS). Prices are
        held while the error of 1/T is carried through.
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = CITATION

    def __init__(
        self,
        prior: ArrayLike | None = None,
        calibration: Calibration = None,
        level: float = 0.95,
    ) -> None:
        self.prior = prior
        self.calibration = calibration
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.shares_ = class_shares("COTT", self.prior, source)
        self.share_count_ = inf if self.prior is not None else len(source)
        self.scaling_ = scaling_of("COTT", self.calibration, source)
        own = class_shares("COTT", None, source)  # the source's classes are known, whatever the target's
        self._learn(self._scores(source, own, len(source)), source)

    def _predict(self, target: Predictions) -> Estimate:
        return self._answer(self._scores(target, self.shares_, self.share_count_))

    def _scores(self, predictions: Predictions, shares: Floats, n: float) -> list[Floats]:
        shares = _steadied(predictions, shares, n)
        at_each = at_temperatures(predictions, self.scaling_)
        scaled = next(at_each)
        prices = prices_at(predictions, self.scaling_, scaled, shares)
        scores = [sent_scores(scaled, prices)]
        del scaled  # the next one takes as much memory
        return [*scores, *(sent_scores(other, prices) for other in at_each)]


def _gains(predictions: Predictions, prices: Floats) -> Floats:
    """Return what each image is worth at prices (n,)."""
    return in_blocks(lambda rows: (rows - prices).max(axis=1), predictions.probabilities)


def sent_scores(predictions: Predictions, prices: Floats) -> Floats:
    """Return each image's probability of the class that prices send it to (n,)."""
    # prices are known to about 1e-10
    return np.round(sent_probabilities(predictions.probabilities, prices), 7)

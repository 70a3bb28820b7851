"""The chance that an image is right, regressed on signals of the model and of the reference ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.special import stdtr

from shiftcast.calibration import scalable_logits
from shiftcast.difficulty import difficulty
from shiftcast.errors import InvalidInputError
from shiftcast.estimators.atc import negative_entropy_score
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import residual_variance, sampling_estimate
from shiftcast.estimators.logistic import Logistic, fit_logistic, logit_gaps, ranks_of
from shiftcast.estimators.partition import own_label_votes, reference_members
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.arrays import entropy_terms
from shiftcast.util.blocks import in_blocks
from shiftcast.util.types import Floats

PROBABILITY_FLOOR = 1e-12


class CorrectnessRegression(Estimator):
    """Mean chance of being right, from a logistic regression on the model's own signals (Suitability Filter).

    Signals of an image, all bounded: max p, entropy, z1 - z2 = ln p1 - ln p2, -ln p1, and the standard
    deviation of the logits, each at most 27.6 below the top one. Two regressions learn on half of the source
    each; a source image is judged by the one that has not seen it, a target image by their mean. Under shifts
    that change how often sure answers are right it is too optimistic, as all that read confidence are.

    Verdict, as diagnostics: `suitable` where a one-sided Welch test at the interval's level refutes that the
    target's mean chance lies below the source's by more than `margin`; `p_value` (None for one image).
    The variance of estimate minus actual is s^2 (1/n + 1/m), s^2 that of right - chance on the source.

    Parameters
    ----------
    margin
        Drop in accuracy, a share, that would still be suitable.
    level
        Nominal level of the sampling interval, and of the test.
    """

    track: ClassVar[Track] = "T1"
    citation: ClassVar[str] = (
        "Pouget et al. (2025), Suitability Filter: A Statistical Framework for Classifier Evaluation in "
        "Real-World Deployment Settings (ICML 2025)"
    )

    def __init__(self, margin: float = 0.05, level: float = 0.95) -> None:
        self.margin = margin
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        name = type(self).__name__
        if not 0 <= self.margin < 1:
            raise InvalidInputError(f"{name}: margin must be a share in [0, 1), got {self.margin!r}")
        signals, right = self._signals(source), source.correct.astype(np.float64)
        folds = ranks_of(signals.mean(axis=1)) % 2
        self.regressions_: list[Logistic] = []
        chances = np.empty(len(source))
        for fold in (0, 1):
            learn = folds != fold
            if not learn.any():  # images that are all alike share a fold
                learn = ~learn
            fitted = fit_logistic(signals[learn], right[learn], np.ones(np.count_nonzero(learn)))
            chances[folds == fold] = fitted.probability(signals[folds == fold])
            self.regressions_.append(fitted)
        self.source_count_ = len(source)
        self.residual_variance_ = residual_variance(name, right - chances)
        self.source_mean_, self.source_spread_ = float(chances.mean()), float(chances.var(ddof=1))

    def _predict(self, target: Predictions) -> Estimate:
        chances = self.chances(target)
        p_value = self._p_value(chances)
        return sampling_estimate(
            float(chances.mean()),
            self.residual_variance_ * (1 / self.source_count_ + 1 / len(target)),
            self.level,
            suitable=p_value is not None and p_value <= 1 - self.level,
            p_value=p_value,
        )

    def chances(self, target: Predictions) -> Floats:
        """Return the chance that each prediction is right (m,), by the fitted regressions."""
        signals = self._signals(target)
        mean: Floats = np.mean([fitted.probability(signals) for fitted in self.regressions_], axis=0)
        return mean

    def _p_value(self, chances: Floats) -> float | None:
        """Return the chance of such means were the target's lower than the source's by the margin."""
        m, n = len(chances), self.source_count_
        if m < 2:
            return None
        there, here = float(chances.var(ddof=1)) / m, self.source_spread_ / n
        ahead = float(chances.mean()) - self.source_mean_ + self.margin
        if there + here == 0:
            return float(ahead <= 0)
        freedom = (there + here) ** 2 / (there**2 / (m - 1) + here**2 / (n - 1))
        return float(stdtr(freedom, -ahead / (there + here) ** 0.5))

    def _signals(self, predictions: Predictions) -> Floats:
        """Return the signals of each image (n, d)."""
        confidence = predictions.confidence
        gap, spread = in_blocks(_gap_and_spread, scalable_logits(predictions)).T
        if predictions.logits.dtype == np.float32:
            entropy = -negative_entropy_score(predictions)
        else:
            entropy = in_blocks(lambda rows: entropy_terms(rows).sum(axis=1), predictions.probabilities)
        return np.column_stack([confidence, entropy, gap, -np.log(confidence), spread])


def _gap_and_spread(logits: Floats) -> Floats:
    """Return the gap of each image's top two logits and the spread of all (n, 2)."""
    gaps = logit_gaps(logits)
    return np.column_stack([np.partition(gaps, 1, axis=1)[:, 1], gaps.std(axis=1)])


class EnsembleCorrectness(CorrectnessRegression):
    """Mean chance of being right, from a logistic regression on signals of the model and of the ensemble.

    As `CorrectnessRegression`, with four more signals: the share of members that vote as the model does,
    the mean member's probability of that class, the entropy of the mean member, and the Kullback-Leibler
    divergence of the model's probabilities from the mean member's.

    Parameters
    ----------
    margin
        Drop in accuracy, a share, that would still be suitable.
    level
        Nominal level of the sampling interval, and of the test.
    """

    track: ClassVar[Track] = "T2"
    requires: ClassVar[frozenset[str]] = frozenset({"logits", "reference"})

    def _signals(self, predictions: Predictions) -> Floats:
        members, own = reference_members(predictions), predictions.probabilities
        mean = members.mean(axis=0)
        cross = -(own * np.log(np.maximum(mean, PROBABILITY_FLOOR))).sum(axis=1)
        signals = super()._signals(predictions)
        return np.column_stack(
            [
                signals,
                own_label_votes(predictions),
                predictions.of_predicted(mean),
                difficulty(members, "entropy"),
                cross - signals[:, 1],
            ]
        )

"""Estimators that compare the scored model with other models: siblings (GDE) and peers (ALine-S, ALine-D)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from shiftcast.errors import RequirementError
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import residual_variance, sampling_estimate
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.agreement import PEER_AGREEMENT, pairwise_agreement
from shiftcast.statistics.lines import Line, fit_line, inverse_probit, pairs, probit
from shiftcast.util.memory import remembered
from shiftcast.util.types import Floats, Integers

FLAGGED_BELOW = 0.95
ABSTAINS_BELOW = 0.75
"""Bounds on R2 of the agreement line: below the first the estimate is doubtful, below the second
it is shown as an abstention."""

MINIMUM_PEERS = 2
"""Two peers and the scored model make three pairs, the fewest that can lie off a line."""


class GDE(Estimator):
    """Share of target images on which a sibling agrees with the scored model, mean over siblings.

    Siblings have the same architecture and recipe and other seeds. Generalisation disagreement
    equality takes agreement for accuracy, so estimate minus actual is the mean over the target of
    (agreement - right); its variance is s^2 / m, s^2 that of the residual on the source. How far
    the equality itself fails on the source is the diagnostic `source_gap`.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T3"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "siblings"})
    citation: ClassVar[str] = "Jiang et al. (2022), Assessing Generalization of SGD via Disagreement"

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        agreement = _sibling_agreement(source)
        self.source_gap_ = float(agreement.mean()) - self.source_accuracy_
        self.residual_variance_ = residual_variance("GDE", source.correct - agreement)

    def _predict(self, target: Predictions) -> Estimate:
        return sampling_estimate(
            float(_sibling_agreement(target).mean()),
            self.residual_variance_ / len(target),
            self.level,
            siblings=self.source_models_["siblings"],
            source_gap=self.source_gap_,
        )


class ALineS(Estimator):
    """Agreement-on-the-line: the line of target against source agreement, read at source accuracy.

    Over all pairs of peers and the scored model, probit(agreement on target) is fitted to
    probit(agreement on source); the estimate is Phi(slope probit(a_ID) + intercept). Shares are
    clipped to [0.5/n, 1 - 0.5/n].

    The variance, conditional on the line, is that of a_ID carried through it (delta method,
    [slope phi(l) / phi(probit a_ID)]^2 a_ID (1 - a_ID) / n, l the probit of the estimate) plus
    est (1 - est) / m. The estimate is flagged where R2 is below 0.95, and abstains below 0.75 (R2 is 0
    where target agreements do not vary, as with a single image). Diagnostics: `r2`, `slope`, `intercept`.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T3"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "peers"})
    citation: ClassVar[str] = (
        "Baek et al. (2022), Agreement-on-the-Line: Predicting the Performance of Neural Networks under "
        "Distribution Shift"
    )
    exact_on_source: ClassVar[bool] = True

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        if self.source_models_["peers"] < MINIMUM_PEERS:
            raise RequirementError(
                f"{type(self).__name__}.fit: needs at least {MINIMUM_PEERS} peers for a line through pairs, "
                f"got {self.source_models_['peers']}"
            )
        self.source_count_ = len(source)
        self.source_agreement_ = probit(_agreement(source), len(source))
        if self.source_agreement_.min() == self.source_agreement_.max():
            raise RequirementError(
                f"{type(self).__name__}.fit: needs peers whose agreement on the source differs from pair to "
                f"pair; all {len(self.source_agreement_)} pairs agree equally often"
            )

    def _predict(self, target: Predictions) -> Estimate:
        m = len(target)
        agreement = probit(_agreement(target), m)
        line = fit_line(self.source_agreement_, agreement)
        abscissa = float(probit(self.source_accuracy_, self.source_count_))
        estimate = self._estimate(line, agreement)
        spread = _clipped(estimate, m)
        variance = _line_variance(line, abscissa, self.source_count_) + spread * (1 - spread) / m
        return sampling_estimate(
            estimate,
            variance,
            self.level,
            flagged=_below(line, FLAGGED_BELOW),
            abstains=_below(line, ABSTAINS_BELOW),
            r2=line.r2,
            slope=line.slope,
            intercept=line.intercept,
            peers=self.source_models_["peers"],
        )

    def _estimate(self, line: Line, agreement: Floats) -> float:  # noqa: ARG002
        """Return the estimate from the line and the probits of target agreement of all pairs."""
        return float(inverse_probit(line(float(probit(self.source_accuracy_, self.source_count_)))))


class ALineD(ALineS):
    """Agreement-on-the-line, solved for every model's target accuracy at once (ALine-D).

    With the slope a of ALine-S, least squares over all pairs j, k of peers and the scored model in
    the probits w_j of target accuracies: (w_j + w_k) / 2 = probit(agreement on target) +
    a [(probit acc_j + probit acc_k) / 2 - probit(agreement on source)]. The estimate is Phi(w) of
    the scored model. Clipping, interval and diagnostics are those of ALine-S.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        super()._fit(source, others)
        right = (_with_peers(source) == source.labels).mean(axis=1)
        self.source_probits_ = probit(right, len(source))

    def _estimate(self, line: Line, agreement: Floats) -> float:
        models = len(self.source_probits_)
        first, second = pairs(models)
        means = (self.source_probits_[first] + self.source_probits_[second]) / 2
        known = agreement + line.slope * (means - self.source_agreement_)
        # The normal equations are ((Z - 2) I + J) w / 4 = b, b_j half the sum over the pairs that j is in.
        b = (np.bincount(first, known, models) + np.bincount(second, known, models)) / 2
        solved = 4 / (models - 2) * (b[-1] - b.sum() / (2 * (models - 1)))
        return float(inverse_probit(solved))


def _below(line: Line, bound: float) -> str:
    return f"R2 of its line is {line.r2:.3f}, below {bound:g}" if line.r2 < bound else ""


def _line_variance(line: Line, abscissa: float, n: int) -> float:
    """Return the variance of source accuracy carried through the line; densities without 1/sqrt(2 pi)."""
    value = float(line(abscissa))
    derivative = line.slope * float(np.exp((abscissa**2 - value**2) / 2))
    accuracy = float(ndtr(abscissa))
    return derivative**2 * accuracy * (1 - accuracy) / n


def _clipped(share: float, n: int) -> float:
    return min(max(share, 0.5 / n), 1 - 0.5 / n)


def _sibling_agreement(predictions: Predictions) -> Floats:
    """Return the share of siblings that agree with the scored model on each image (n,)."""
    if predictions.siblings is None:  # the base class has checked; this tells the type checker
        raise RequirementError(f"{predictions.name}: carries no siblings")
    shares: Floats = (predictions.siblings == predictions.predicted).mean(axis=0)
    return shares


def _agreement(predictions: Predictions) -> Floats:
    """Return the agreement of all pairs of peers and scored model, the model last: Z (Z + 1) / 2 shares."""
    if predictions.peers is None:  # the base class has checked; this tells the type checker
        raise RequirementError(f"{predictions.name}: carries no peers")
    peers, count = predictions.peers, len(predictions.peers)
    own = np.count_nonzero(peers == predictions.predicted, axis=1) / len(predictions)
    table = np.empty((count + 1, count + 1))
    table[:count, count] = own
    table[pairs(count)] = remembered(peers, PEER_AGREEMENT, lambda: pairwise_agreement(peers))
    shares: Floats = table[pairs(count + 1)]
    return shares


def _with_peers(predictions: Predictions) -> Integers:
    """Return the predicted classes of peers and scored model (Z + 1, n)."""
    if predictions.peers is None:  # the base class has checked; this tells the type checker
        raise RequirementError(f"{predictions.name}: carries no peers")
    return np.vstack([predictions.peers, predictions.predicted])

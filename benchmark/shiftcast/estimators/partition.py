"""Estimators that read the reference ensemble: partitions of its confusion, and agreement with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from shiftcast.difficulty import check_members, difficulty, largest_score, vote_shares
from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.bins import Estimand, bin_index, merge_bins, partition_accuracy, partition_variance
from shiftcast.estimators.differences import SignalDifference
from shiftcast.estimators.intervals import sampling_estimate
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.types import Floats, Integers

FLAGGED_BEYOND = 0.05
"""Share of target images beyond the source's scores from which a partition is doubtful: their accuracy is
that of source images less confused."""


class PartitionEstimator(Estimator):
    """Base of estimators sum_b w'_b a_b over bins of a score per image.

    w'_b is the target's share in bin b and a_b the scored model's source accuracy there. Bins
    have equal width over the score's natural range and are merged in `fit`, on source counts
    alone. Diagnostics: `bins` that stand, `mass_moved` (share of target images whose bin was
    merged into another) and `mass_beyond_source` (share of target images with a score that no
    source image reaches from above or below; flagged above 5 %).

    Subclasses take `bins` and `min_count` in their constructor.
    """

    exact_on_source: ClassVar[bool] = True

    bins: int
    min_count: int
    estimand: Estimand = "images"

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        name = type(self).__name__
        for key in ("bins", "min_count"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InvalidInputError(f"{name}: {key} must be an integer of at least 1, got {value!r}")
        if self.estimand not in ("images", "population"):
            raise UnknownNameError("estimand", str(self.estimand), ["images", "population"], name)
        scores = self._scores(source)
        self.score_range_ = (float(scores.min()), float(scores.max()))
        raw = self._raw_bins(scores)
        self.home_ = merge_bins(np.bincount(raw, minlength=self.bins), self.min_count)
        merged = self.home_[raw]
        self.source_counts_ = np.bincount(merged, minlength=self.bins)
        self.source_rights_ = np.bincount(merged[source.correct], minlength=self.bins)

    def _predict(self, target: Predictions) -> Estimate:
        scores = self._scores(target)
        raw = self._raw_bins(scores)
        merged = self.home_[raw]
        counts = (np.bincount(merged, minlength=self.bins), self.source_counts_, self.source_rights_)
        beyond = (scores < self.score_range_[0]) | (scores > self.score_range_[1])
        return sampling_estimate(
            partition_accuracy(*counts),
            partition_variance(*counts, self.estimand),
            self.level,
            flagged=_beyond(float(beyond.mean())),
            estimand=self.estimand,
            bins=int(np.count_nonzero(self.source_counts_)),
            mass_moved=float((merged != raw).mean()),
            mass_beyond_source=float(beyond.mean()),
        )

    def bins_of(self, predictions: Predictions) -> Integers:
        """Return the bin of each image (n,) in 0..bins-1, after merging; for reports."""
        if not hasattr(self, "home_"):
            raise InvalidInputError(f"{type(self).__name__}.bins_of: not fitted yet; call fit(source) first")
        bins: Integers = self.home_[self._raw_bins(self._scores(predictions))]
        return bins

    def _raw_bins(self, scores: Floats) -> Integers:
        return bin_index(scores, self._largest_score(), self.bins)

    def _largest_score(self) -> float:
        """Return the upper end of the score's natural range, which begins at 0."""
        return 1.0

    @abstractmethod
    def _scores(self, predictions: Predictions) -> Floats:
        """Return one score per image (n,), higher is more confused, rounded to 1e-9."""


class ConfusionPartition(PartitionEstimator):
    """Source accuracy in bins of confusion, weighted by the target's mass in each bin.

    Confusion is a difficulty score of the reference ensemble. It assumes that within a bin the
    model is as accurate on the target as on the source; what that misses is the part within bins of
    `shiftcast.statistics.decomposition.decompose`.

    Parameters
    ----------
    kind
        Difficulty score, a name in `shiftcast.difficulty.KINDS`.
    bins
        Number of bins of equal width over the score's natural range: [0, 1] for the entropies,
        [0, ln K] for the mutual information, [0, 1 - 1/K] for the others.
    min_count
        Fewest source images that let a bin stand alone.
    level
        Nominal level of the sampling interval.
    estimand
        "images": the interval is for the accuracy on exactly these images. "population": for the
        accuracy on the population that they were drawn from; this one does not cover the former.
    """

    track: ClassVar[Track] = "T2"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "reference"})
    citation: ClassVar[str] = (
        "Simsek, Hall & Sagun (2022), Understanding Out-of-Distribution Accuracies through Quantifying "
        "Difficulty of Test Samples"
    )

    def __init__(
        self,
        kind: str = "entropy",
        bins: int = 10,
        min_count: int = 20,
        level: float = 0.95,
        estimand: Estimand = "images",
    ) -> None:
        self.kind = kind
        self.bins = bins
        self.min_count = min_count
        self.level = level
        self.estimand = estimand

    def _scores(self, predictions: Predictions) -> Floats:
        return difficulty(reference_members(predictions), self.kind)

    def _largest_score(self) -> float:
        largest = largest_score(self.kind, self.classes_)
        if not np.isfinite(largest):
            raise InvalidInputError(
                f"ConfusionPartition: kind {self.kind!r} has no upper end, so it makes no bins of equal width"
            )
        return largest


class OwnLabelPartition(PartitionEstimator):
    """Partition by how far the reference ensemble doubts the scored model's own answer.

    The score of image i is 1 - v_i[yhat_i], the share of members that vote otherwise, or
    1 - pbar_i[yhat_i], the probability that the mean member leaves to other classes.

    Parameters
    ----------
    score
        "votes" or "mean".
    bins
        Number of bins of equal width on [0, 1].
    min_count
        Fewest source images that let a bin stand alone.
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T2"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "reference"})
    selected_on: ClassVar[tuple[str, ...]] = ("cifar10.1",)
    citation: ClassVar[str] = "Shiftcast"

    def __init__(
        self,
        score: Literal["votes", "mean"] = "votes",
        bins: int = 10,
        min_count: int = 20,
        level: float = 0.95,
    ) -> None:
        self.score = score
        self.bins = bins
        self.min_count = min_count
        self.level = level

    def _scores(self, predictions: Predictions) -> Floats:
        if self.score not in ("votes", "mean"):
            raise UnknownNameError("score", str(self.score), ["mean", "votes"], "OwnLabelPartition")
        if self.score == "votes":
            support = own_label_votes(predictions)
        else:
            own = predictions.predicted[None, :, None]
            # sorted over members: their order must not change a bit
            support = np.sort(
                np.take_along_axis(reference_members(predictions), own, axis=2)[..., 0], axis=0
            ).mean(axis=0)
        return np.round(1 - support, 9)


class AgreementShift(SignalDifference):
    """Source accuracy plus the change in agreement with the reference ensemble, clipped to [0, 1].

    The signal of an image is v_i[yhat_i], the share of members that vote as the scored model
    does: a mean over members, not agreement with their majority. The interval is that of
    `SignalDifference`.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T2"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "reference"})
    selected_on: ClassVar[tuple[str, ...]] = ("cifar10.1",)
    citation: ClassVar[str] = "Shiftcast"

    def _signal(self, predictions: Predictions) -> Floats:
        return own_label_votes(predictions)


def _beyond(share: float) -> str:
    if share <= FLAGGED_BEYOND:
        return ""
    return f"{100 * share:.1f} % of the images have scores that no source image reaches"


def own_label_votes(predictions: Predictions) -> Floats:
    """Return v_i[yhat_i], the share of reference members that vote as the model does (n,)."""
    return predictions.of_predicted(vote_shares(reference_members(predictions)))


def reference_members(predictions: Predictions) -> Floats:
    """Return the probabilities of the reference members (M, n, K); `InvalidInputError` below three."""
    if predictions.reference is None:  # the base class has checked; this tells the type checker
        raise InvalidInputError(f"{predictions.name}: carries no reference ensemble")
    check_members(predictions.reference)
    return predictions.reference

"""Scores of a set's penultimate features, and the line that maps them to an accuracy.

Features of whole sets are large. The benchmark computes both scores where the features are, while it
evaluates a network, and keeps the numbers alone; people with features at hand give those.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators.base import Estimator
from shiftcast.estimators.scores import MappedScore
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.types import Floats, Integers

SAMPLE = 400
"""Images that a Fréchet distance reads of each set: it is biased by how many there are."""
DRAWS = 10
"""Fixed draws of that many images over which it is averaged."""


def dispersion(features: NDArray[np.floating], predicted: Integers, classes: int) -> float:
    """Return ln(sum_j (m_j/m) ||mu_j - mu||^2 / (K - 1)): how far predicted classes lie apart.

    Parameters
    ----------
    features
        Penultimate features (m, d).
    predicted
        Predicted class of each image (m,).
    classes
        Number of classes K.

    Raises
    ------
    RequirementError
        If the images are all put into one class, or their classes' means do not differ.
    """
    values = np.asarray(features, dtype=np.float64)
    there, place, counts = np.unique(predicted, return_inverse=True, return_counts=True)
    member = csr_array((np.ones(len(values)), (place, np.arange(len(values)))))
    apart = (member @ values) / counts[:, None] - values.mean(axis=0)
    between = float(counts / len(values) @ (apart**2).sum(axis=1))
    if len(there) < 2 or between <= 0:
        raise RequirementError("Dispersion: needs images put into two classes or more, apart from each other")
    return float(np.log(between / (classes - 1)))


class FrechetSample:
    """The part of a set's features that Fréchet distances read: fixed draws, each by mean and root.

    Draws are made among distinct rows in sorted order, so that neither the order of images nor
    their repetition matters.

    Parameters
    ----------
    features
        Penultimate features (m, d).
    size
        Images a draw, at least 2.
    draws
        Number of draws.

    Raises
    ------
    RequirementError
        If there are fewer distinct images than that.
    """

    def __init__(self, features: NDArray[np.floating], size: int = SAMPLE, draws: int = DRAWS) -> None:
        distinct = np.unique(features, axis=0)
        if size < 2 or len(distinct) < size:
            raise RequirementError(
                f"FrechetDistance: needs at least {max(size, 2)} different images in each set, "
                f"got {len(distinct)}"
            )
        self.draws = [
            _moments(distinct[np.random.RandomState(draw).permutation(len(distinct))[:size]])
            for draw in range(draws)
        ]

    def distance(self, other: FrechetSample) -> float:
        """Return the mean distance between the draws of two sets, the first with the first and so on."""
        return float(np.mean([_frechet(a, b) for a, b in zip(self.draws, other.draws, strict=True)]))


Moments = tuple[Floats, Floats]
"""Mean (d,) and a root R (r, d) of the covariance R^T R."""


def _moments(rows: NDArray[np.floating]) -> Moments:
    values = np.asarray(rows, dtype=np.float64)
    mean: Floats = values.mean(axis=0)
    root: Floats = (values - mean) / np.sqrt(len(values) - 1)
    if len(root) > root.shape[1]:
        root = np.asarray(np.linalg.qr(root, mode="r"), dtype=np.float64)
    return mean, root


def _frechet(one: Moments, other: Moments) -> float:
    """Return ||mu_s - mu_t||^2 + tr(S_s + S_t - 2 (S_s S_t)^(1/2)).

    With covariances R^T R the trace of the root of their product is the sum of the singular values of
    R_s R_t^T, which needs no root of a matrix.
    """
    (mean, root), (other_mean, other_root) = one, other
    shared = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    apart = ((mean - other_mean) ** 2).sum()
    return max(float(apart + (root**2).sum() + (other_root**2).sum() - 2 * shared), 0.0)


def frechet_distance(
    source: NDArray[np.floating],
    target: NDArray[np.floating],
    size: int = SAMPLE,
    draws: int = DRAWS,
) -> float:
    """Return the Fréchet distance between the features (n, d) and (m, d) of two sets.

    The distance of two Gaussians with the sets' means and covariances, over `draws` fixed draws of
    `size` images of either set. It is biased upwards by small samples, so only distances with one
    `size` may be compared.

    Raises
    ------
    RequirementError
        If either set has fewer distinct images than `size`.
    InvalidInputError
        If the features have different numbers of columns.
    """
    if source.shape[1:] != target.shape[1:]:
        raise InvalidInputError(
            f"FrechetDistance: source and target features have {source.shape[1]} and {target.shape[1]} "
            "columns"
        )
    return FrechetSample(source, size, draws).distance(FrechetSample(target, size, draws))


class FeatureScore(MappedScore):
    """Base of scores of penultimate features: given ones, or numbers that were computed where those were."""

    requires: ClassVar[frozenset[str]] = frozenset({"logits", "features", "others"})

    def score(self, predictions: Predictions) -> float:
        """Return the set's score, rounded to 1e-9."""
        if predictions.features is not None:
            return round(self._score(predictions), 9)
        return _stored(self, predictions)

    def _lacks(self, predictions: Predictions, need: str) -> bool:
        made = need == "features" and predictions.feature_scores
        return not made and super()._lacks(predictions, need)


def _stored(estimator: Estimator, predictions: Predictions) -> float:
    name = type(estimator).__name__
    if name not in (predictions.feature_scores or {}):
        raise RequirementError(
            f"{name}: needs features, but {predictions.name!r} carries neither them nor what {name} makes "
            "of them"
        )
    return (predictions.feature_scores or {})[name]


def _distinct(predictions: Predictions) -> float:
    """Return how many distinct images a set has; infinite where only its scores are known."""
    return inf if predictions.features is None else len(np.unique(predictions.features, axis=0))


def _features(predictions: Predictions) -> Floats:
    if predictions.features is None:
        raise RequirementError(f"{predictions.name}: needs features")
    return predictions.features


class Dispersion(FeatureScore):
    """How far the mean features of predicted classes lie from the mean of all, as a logarithm."""

    citation: ClassVar[str] = (
        "Xie et al. (2023), On the Importance of Feature Separability in Predicting Out-Of-Distribution Error"
    )

    def _score(self, predictions: Predictions) -> float:
        return dispersion(_features(predictions), predictions.predicted, predictions.classes)


class FrechetDistance(FeatureScore):
    """Fréchet distance between the features of source and target.

    Every set is read through as many images: `sample`, or as many as the smallest set has.

    Parameters
    ----------
    sample
        Images a draw.
    draws
        Fixed draws over which the distance is averaged.
    level
        Nominal level of the sampling interval.
    """

    citation: ClassVar[str] = (
        "Deng & Zheng (2021), Are Labels Always Necessary for Classifier Accuracy Evaluation?"
    )

    def __init__(self, sample: int = SAMPLE, draws: int = DRAWS, level: float = 0.95) -> None:
        self.sample = sample
        self.draws = draws
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        for key, least in (("sample", 2), ("draws", 1)):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise InvalidInputError(
                    f"FrechetDistance: {key} must be an integer of at least {least}, got {value!r}"
                )
        self.fitted_on_ = (source, tuple(others))
        self.fewest_ = int(min(self.sample, *(_distinct(one) for one in (source, *others))))
        self._at_size(self.fewest_)

    def _predict(self, target: Predictions) -> Estimate:
        size = int(min(self.fewest_, _distinct(target)))
        if size != self.size_:  # distances over fewer images are longer: the line must be of such
            self._at_size(size)
        return super()._predict(target)

    def _at_size(self, size: int) -> None:
        source, others = self.fitted_on_
        self.size_ = size
        if source.features is not None:
            self.own_ = FrechetSample(source.features, size, self.draws)
        super()._fit(source, others)

    def _score(self, predictions: Predictions) -> float:
        return self.own_.distance(FrechetSample(_features(predictions), self.size_, self.draws))

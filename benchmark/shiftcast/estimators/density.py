"""Estimators that weight source images by how much likelier they are under the target: density ratios.

A classifier tells source from target on the model's outputs. Where its odds are right, weighted source images
stand for the target, under covariate shift. Outputs that the source never gives leave nothing to weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np
from sklearn.isotonic import IsotonicRegression

from shiftcast.calibration import scalable_logits
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import sampling_estimate, smoothed_share
from shiftcast.estimators.logistic import Logistic, fit_logistic, logit_gaps, ranks_of
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.blocks import in_blocks
from shiftcast.util.hashing import sha256
from shiftcast.util.memory import remembered
from shiftcast.util.types import Floats

LARGEST_WEIGHT = 50.0
SMALLEST = -700.0
"""Log-odds below this leave nothing that floating point can hold."""
MOST_CLASSES = 100
"""Up to so many classes the classifier sees each class's logit, and not only the sorted ones."""
SORTED = 10
MOST_IMAGES = 100_000
"""Images of a set that the classifier learns from: of more, every second, third … along the mean feature."""
FEWEST_IMAGES = 50
"""Effective source images, and target images, below which the estimate is an abstention."""


def output_features(logits: Floats) -> Floats:
    """Return how far logits (n, K) lie below the top one: each class (up to 100), and the 10 next sorted.

    Sorted ones tell the classifier how sure the model is, whatever the class. (n, K + 10) at most.
    """
    gaps = logit_gaps(logits)
    few = min(SORTED + 1, gaps.shape[1])
    nearest = np.sort(np.partition(gaps, few - 1, axis=1)[:, :few], axis=1)[:, 1:]
    return np.hstack([gaps, nearest]) if gaps.shape[1] <= MOST_CLASSES else nearest


class _Outputs:
    """Outputs of a set, of which features are made as they are needed: of few classes these are larger.

    Parameters
    ----------
    predictions
        The set, of n images.
    """

    def __init__(self, predictions: Predictions) -> None:
        logits = scalable_logits(predictions)
        self.made = logits.shape[1] > MOST_CLASSES
        self.rows = in_blocks(output_features, logits) if self.made else logits

    def features(self, rows: Floats) -> Floats:
        """Return the features of some of `rows`."""
        return rows if self.made else output_features(rows)

    def means(self) -> Floats:
        """Return the mean feature of each image (n,)."""
        return in_blocks(lambda rows: self.features(rows).mean(axis=1), self.rows)


def density_ratios(source: _Outputs, target: _Outputs) -> Floats:
    """Return p_target / p_source of each source image (n,), by cross-fitted logistic regression.

    For each of two folds a classifier learns on the other one, source and target weighing alike; the ratio is
    its odds, at most 50, and 1 where the other fold lacks one of the two. Of more than 100,000 images of a
    set it learns from a part, evenly along the mean feature.
    """
    n, m = len(source.rows), len(target.rows)
    ranks = ranks_of(np.concatenate([source.means(), target.means()]))
    steps = np.repeat([-(-n // MOST_IMAGES), -(-m // MOST_IMAGES)], [n, m])
    kept, folds = ranks // 2 % steps == 0, ranks % 2
    sides = ((source, kept[:n]), (target, kept[n:]))
    features = np.vstack([outputs.features(outputs.rows[some]) for outputs, some in sides])
    is_target = np.repeat([False, True], [n, m])[kept]
    ratios = np.ones(n)
    for fold in (0, 1):
        learn, own = folds[kept] != fold, folds[:n] == fold
        there = is_target[learn]
        counts = np.bincount(there, minlength=2)
        if not counts.all() or not own.any():
            continue
        fitted = fit_logistic(features[learn], there.astype(np.float64), 1 / counts[there.astype(int)])
        odds = in_blocks(partial(_log_odds, source, fitted), source.rows[own])
        ratios[own] = np.exp(np.clip(odds, SMALLEST, np.log(LARGEST_WEIGHT)))
    return ratios


def _log_odds(outputs: _Outputs, fitted: Logistic, rows: Floats) -> Floats:
    return fitted.log_odds(outputs.features(rows))


class _Weighted(Estimator):
    """Base of estimators that weight the labelled source by density ratios, learned in `predict`."""

    track: ClassVar[Track] = "T1"
    exact_on_source: ClassVar[bool] = True

    def __init__(self, level: float = 0.95) -> None:
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:  # noqa: ARG002
        self.outputs_ = _Outputs(source)
        self.key_ = f"density ratios {source.kind} {sha256(np.ascontiguousarray(self.outputs_.rows).data)}"
        self.confidence_ = source.confidence
        self.correct_ = source.correct.astype(np.float64)

    def _predict(self, target: Predictions) -> Estimate:
        weights = remembered(
            target.logits, self.key_, lambda: density_ratios(self.outputs_, _Outputs(target))
        )
        effective = float(weights.sum() ** 2 / (weights @ weights))
        fitted, chances = self._chances(weights, target)
        estimate = float(chances.mean())
        residuals = (weights / weights.sum()) @ (self.correct_ - fitted) ** 2
        floor = smoothed_share(0.0, len(weights))
        learned = max(float(residuals), floor * (1 - floor)) / effective
        return sampling_estimate(
            estimate,
            learned + float((chances * (1 - chances)).mean()) / len(target),
            self.level,
            abstains=_too_few(min(effective, len(target))),
            effective_images=effective,
        )

    def _chances(self, weights: Floats, target: Predictions) -> tuple[Floats, Floats]:
        """Return each source image's (n,) and target image's (m,) chance of being right."""
        raise NotImplementedError


def _too_few(effective: float) -> str:
    if effective >= FEWEST_IMAGES:
        return ""
    return f"it rests on {effective:.1f} effective images, fewer than {FEWEST_IMAGES}"


class DensityRatioAC(_Weighted):
    """Mean confidence after calibration on the source, weighted to look like the target (PAPE).

    Isotonic calibration of the confidence, images weighted by `density_ratios` of the outputs; the mean on
    the target. Of a set of more than 100,000 images the ratios are learned from at most so many, and all
    source images are weighted. It assumes covariate shift in the outputs: an image that the model sees like
    a source image is right as often. Where weights are those of few images, sum(w)^2 / sum(w^2) below 50, or
    the target has fewer than 50, it abstains.

    Its variance is the weighted mean squared residual over the effective number of source images plus the
    Poisson-binomial variance of the target's. Diagnostic: `effective_images`.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    citation: ClassVar[str] = (
        "Białek et al. (2025), Estimating Model Performance Under Covariate Shift Without Labels (PAPE)"
    )

    def _chances(self, weights: Floats, target: Predictions) -> tuple[Floats, Floats]:
        regression = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip")
        fitted: Floats = regression.fit_transform(self.confidence_, self.correct_, sample_weight=weights)
        chances: Floats = regression.predict(target.confidence)
        return fitted, chances


class ImportanceWeighted(_Weighted):
    """Accuracy on source images, weighted to look like the target: sum w right / sum w.

    Weights, the images that they are learned from, abstentions and diagnostics are those of `DensityRatioAC`.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    citation: ClassVar[str] = (
        "Sugiyama, Krauledat & Müller (2007), Covariate Shift Adaptation by Importance Weighted Cross "
        "Validation"
    )

    def _chances(self, weights: Floats, target: Predictions) -> tuple[Floats, Floats]:
        accuracy = float(weights @ self.correct_ / weights.sum())
        return np.full(len(weights), accuracy), np.full(len(target), accuracy)

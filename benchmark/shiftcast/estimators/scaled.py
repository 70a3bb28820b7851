"""Any estimator's drop, times one factor that is learned on corrupted copies of the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import ndtr
from sklearn.base import clone

from shiftcast.errors import InvalidInputError
from shiftcast.estimators.base import Estimator, Track
from shiftcast.estimators.intervals import sampling_estimate
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.intervals import normal_quantile
from shiftcast.statistics.lines import probit
from shiftcast.util.types import Floats

ROUNDED = 1e-6
"""Estimates are rounded to this, so smaller drops are none."""


class Scaled(Estimator):
    """Another estimator's drop on the probit scale, times a factor learned on corrupted copies of the source.

    Phi(probit(a_ID) + g d) with d = probit(E) - probit(a_ID) for the estimate E, and g = sum d D / sum d^2
    over the labelled sets in `others`, D = probit(actual) - probit(a_ID): least squares through the origin,
    so that the source keeps its accuracy. Shares of n images are clipped to [0.5/n, 1 - 0.5/n]. Guillory et
    al. publish DoC in a fitted form like this; the factor 1 is E itself, and taken where no set shows a drop.

    Estimate minus actual has the variance of E, carried through the factor where that widens it, plus that
    of the factor, by leaving out a group of `others` at a time (jackknife). How far sets lie from the line is
    model error and not in it. An estimate is flagged where E's is, or where d lies outside the range that the
    factor was learned on; it abstains where E does. Diagnostics: `factor`, `factor_error` (its standard
    error; None from one group), `groups`.

    Parameters
    ----------
    estimator
        Any estimator that needs no labelled targets; it is cloned.
    level
        Nominal level of the sampling interval.
    """

    track: ClassVar[Track] = "T4"
    requires: ClassVar[Any] = property(lambda self: self.estimator.requires | {"others"})
    selected_on: ClassVar[Any] = property(lambda self: self.estimator.selected_on)
    citation: ClassVar[str] = "Guillory et al. (2021), Predicting with Confidence on Unseen Distributions"
    others_from: ClassVar[Literal["alike", "synthetic"]] = "synthetic"
    exact_on_source: ClassVar[Any] = property(lambda self: self.estimator.exact_on_source)
    reads_offsets: ClassVar[Any] = property(lambda self: self.estimator.reads_offsets)
    reads_counts: ClassVar[Any] = property(lambda self: self.estimator.reads_counts)

    def __init__(self, estimator: Estimator, level: float = 0.95) -> None:
        self.estimator = estimator
        self.level = level

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        self.estimator_ = clone(self.estimator).fit(source)
        self.probit_ = float(probit(self.source_accuracy_, len(source)))
        self.groups_ = tuple(sorted({other.group for other in others}))
        drops = np.array([self._drop_of(self.estimator_.predict(other), len(other)) for other in others])
        actual = np.array([float(probit(other.accuracy, len(other))) for other in others]) - self.probit_
        self.range_ = (float(drops.min()), float(drops.max()))
        groups = [other.group for other in others]
        of_group = np.array([[group == name for group in groups] for name in self.groups_])
        products, squares = (of_group @ values for values in (drops * actual, drops**2))
        self.factor_ = float(products.sum() / squares.sum()) if drops.any() else 1.0
        self.factor_error_ = _jackknife(products, squares)

    def _predict(self, target: Predictions) -> Estimate:
        if target.group in self.groups_:
            raise InvalidInputError(
                f"Scaled.predict: target {target.name!r} belongs to group {target.group!r}, whose labels "
                "were used in fit; fit on other groups only"
            )
        plain = self.estimator_.predict(target)
        drop = self._drop_of(plain, len(target))
        value = self.probit_ + self.factor_ * drop
        estimate = self.source_accuracy_ if drop == 0 else float(ndtr(value))
        # of d estimate / dE and d estimate / dg; densities without 1 / sqrt(2 pi) where it cancels
        slope = self.factor_ * float(np.exp(((self.probit_ + drop) ** 2 - value**2) / 2))
        width = max(plain.high - plain.accuracy, plain.accuracy - plain.low) / normal_quantile(plain.level)
        of_factor = drop * float(np.exp(-(value**2) / 2)) / np.sqrt(2 * np.pi) * (self.factor_error_ or 0.0)
        return sampling_estimate(
            estimate,
            (max(abs(slope), 1.0) * width) ** 2 + float(of_factor) ** 2,
            self.level,
            flagged=plain.flagged or self._beyond(drop),
            abstains=plain.abstains,
            factor=self.factor_,
            factor_error=self.factor_error_,
            groups=len(self.groups_),
        )

    def _beyond(self, drop: float) -> str:
        low, high = self.range_
        if low <= drop <= high:
            return ""
        return f"its drop {drop:.3f} lies outside those of its factor, {low:.3f} to {high:.3f}"

    def _drop_of(self, answer: Estimate, n: int) -> float:
        if abs(answer.accuracy - self.source_accuracy_) < ROUNDED:
            return 0.0
        return float(probit(answer.accuracy, n)) - self.probit_


def _jackknife(products: Floats, squares: Floats) -> float | None:
    """Return the standard error of sum(products) / sum(squares), each entry a group; None below two."""
    left = squares.sum() - squares
    if len(squares) < 2 or not left.all():
        return None
    factors = (products.sum() - products) / left
    return float(np.sqrt((len(factors) - 1) * factors.var()))

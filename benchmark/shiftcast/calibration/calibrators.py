"""Calibrators: learned on labelled source predictions, applied to any predictions of the same model.

None of them changes a predicted class, so accuracies stay what they are.
"""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.isotonic import IsotonicRegression

from shiftcast.calibration.binning import DECIMALS, at_least_one, mass_bins, mass_edges
from shiftcast.calibration.temperature import scalable_logits, temperature_fit
from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.predictions import Predictions
from shiftcast.util.types import Floats


class Calibrator(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Base of calibrators, with scikit-learn's conventions for arguments and learned state.

    A fitted one says by `bounded_` whether a search ended at its bound, so that nothing is most likely.
    """

    bounded_ = False

    def fit(self, source: Predictions) -> Self:
        """Learn from labelled source predictions.

        Raises
        ------
        RequirementError
            If the source has no labels.
        """
        if source.labels is None:
            raise RequirementError(
                f"{type(self).__name__}.fit: source {source.name!r} has no labels; calibration is learned "
                "from a labelled source"
            )
        self.classes_ = source.classes
        self._fit(source)
        return self

    def transform(self, predictions: Predictions) -> Predictions:
        """Return the calibrated predictions, with everything else as it was.

        Raises
        ------
        InvalidInputError
            If the calibrator is not fitted, or was fitted on other classes.
        """
        if not hasattr(self, "classes_"):
            raise InvalidInputError(
                f"{type(self).__name__}.transform: not fitted yet; call fit(source) first"
            )
        if predictions.classes != self.classes_:
            raise InvalidInputError(
                f"{type(self).__name__}.transform: {predictions.name!r} has {predictions.classes} classes, "
                f"but the source had {self.classes_}"
            )
        return self._transform(predictions)

    @abstractmethod
    def _fit(self, source: Predictions) -> None:
        """Learn attributes ending in `_`."""

    @abstractmethod
    def _transform(self, predictions: Predictions) -> Predictions:
        """Return calibrated predictions."""


class Temperature(Calibrator):
    """Divide all logits by one temperature (Guo et al. 2017).

    Guo, Pleiss, Sun & Weinberger (2017), On Calibration of Modern Neural Networks.
    """

    def _fit(self, source: Predictions) -> None:
        self.fit_ = temperature_fit(scalable_logits(source), np.asarray(source.labels))
        self.temperature_, self.bounded_ = self.fit_.value, self.fit_.bounded

    def moved(self) -> Self:
        """Return the same with 1/T larger by its standard error."""
        other = copy(self)
        other.temperature_ = 1 / (1 / self.temperature_ + self.fit_.inverse_error)
        return other

    def _transform(self, predictions: Predictions) -> Predictions:
        return replace(predictions, logits=scalable_logits(predictions) / self.temperature_, kind="logits")


class ClassTemperature(Calibrator):
    """Divide an image's logits by the temperature of its predicted class.

    Each temperature is fitted to the source images that the model puts into the class; a class
    with fewer than `min_count` takes the temperature of all images. After Frenkel & Goldberger
    (2021), Network Calibration by Class-based Temperature Scaling.

    Parameters
    ----------
    min_count
        Fewest source images, at least 1, that let a class have a temperature of its own.
    """

    def __init__(self, min_count: int = 50) -> None:
        self.min_count = min_count

    def _fit(self, source: Predictions) -> None:
        at_least_one("ClassTemperature: min_count", self.min_count)
        logits, labels = scalable_logits(source), np.asarray(source.labels)
        everyone = temperature_fit(logits, labels)
        self.temperatures_: Floats = np.full(source.classes, everyone.value)
        self.bounded_ = everyone.bounded
        for k in range(source.classes):
            own = source.predicted == k
            if np.count_nonzero(own) >= self.min_count:
                fit = temperature_fit(logits[own], labels[own])
                self.temperatures_[k] = fit.value
                self.bounded_ |= fit.bounded

    def _transform(self, predictions: Predictions) -> Predictions:
        temperatures = self.temperatures_[predictions.predicted][:, None]
        return replace(predictions, logits=scalable_logits(predictions) / temperatures, kind="logits")


class _TopLabel(Calibrator):
    """Base of calibrators of the predicted class's probability alone.

    The other classes share what is left in proportion to their probabilities; where one of them
    would overtake the predicted class, their shares are drawn together just enough.
    """

    def _transform(self, predictions: Predictions) -> Predictions:
        old, count = predictions.probabilities, predictions.classes
        rows, top = np.arange(len(predictions)), predictions.predicted
        wanted = np.clip(self._accuracy(np.round(predictions.confidence, DECIMALS)), 1 / count, 1.0)
        others = old.copy()
        others[rows, top] = 0.0
        total = others.sum(axis=1)
        even = np.full_like(old, 1 / (count - 1))
        even[rows, top] = 0.0
        shares = np.divide(others, total[:, None], out=even.copy(), where=total[:, None] > 0)
        highest, flat = shares.max(axis=1), 1 / (count - 1)
        allowed = np.divide(wanted, 1 - wanted, out=np.full_like(wanted, np.inf), where=wanted < 1)
        room, spread = np.maximum(allowed - flat, 0.0), highest - flat
        weight = np.where(
            highest > allowed, np.divide(room, spread, out=np.ones_like(room), where=spread > 0), 1
        )
        mixed = weight[:, None] * shares + (1 - weight[:, None]) * even
        new = (1 - wanted)[:, None] * mixed
        new[rows, top] = wanted
        new = np.minimum(new, wanted[:, None])  # rounding must not lift another class above
        return replace(predictions, logits=_break_ties(new, top), kind="probabilities")

    @abstractmethod
    def _accuracy(self, confidence: Floats) -> Floats:
        """Return the calibrated probability of being right (n,) for each confidence (n,)."""


class Isotonic(_TopLabel):
    """Accuracy as a rising function of confidence, by isotonic regression (scikit-learn).

    Zadrozny & Elkan (2002), Transforming Classifier Scores into Accurate Multiclass Probability
    Estimates, applied to the predicted class.
    """

    def _fit(self, source: Predictions) -> None:
        self.regression_ = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip")
        self.regression_.fit(np.round(source.confidence, DECIMALS), source.correct.astype(np.float64))

    def _accuracy(self, confidence: Floats) -> Floats:
        found: Floats = self.regression_.predict(confidence)
        return found


class HistogramBinning(_TopLabel):
    """Accuracy of the source in bins of confidence with equally many images.

    Zadrozny & Elkan (2001), Obtaining Calibrated Probability Estimates from Decision Trees and
    Naive Bayesian Classifiers, applied to the predicted class.

    Parameters
    ----------
    bins
        Number of bins, at least 1; images of one confidence stay together.
    """

    def __init__(self, bins: int = 15) -> None:
        self.bins = bins

    def _fit(self, source: Predictions) -> None:
        at_least_one("HistogramBinning: bins", self.bins)
        self.edges_ = mass_edges(source.confidence, self.bins)
        place = mass_bins(source.confidence, self.edges_)
        counts = np.bincount(place, minlength=len(self.edges_) + 1)
        right = np.bincount(place, weights=source.correct, minlength=len(self.edges_) + 1)
        self.accuracies_: Floats = np.where(counts > 0, right / np.maximum(counts, 1), source.accuracy)

    def _accuracy(self, confidence: Floats) -> Floats:
        found: Floats = self.accuracies_[mass_bins(confidence, self.edges_)]
        return found


def _break_ties(probabilities: Floats, top: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    """Lower, by a relative 1e-12, classes before the predicted one that tie with it."""
    rows = np.arange(len(probabilities))
    tied = probabilities >= probabilities[rows, top][:, None]
    tied[rows, top] = False
    return np.where(tied, probabilities * (1 - 1e-12), probabilities)

"""How calibrated labelled predictions are. All figures are 0 at best, and need labels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shiftcast.calibration.binning import DECIMALS, at_least_one, mass_bins, mass_edges
from shiftcast.errors import RequirementError, UnknownNameError
from shiftcast.predictions import Predictions
from shiftcast.util.arrays import log_softmax
from shiftcast.util.types import Floats, Integers

Scheme = Literal["width", "mass"]


def expected_calibration_error(predictions: Predictions, bins: int = 15, scheme: Scheme = "width") -> float:
    """Return the mean gap between confidence and accuracy over bins of confidence (ECE).

    Naeini, Cooper & Hauskrecht (2015); "mass": bins with equally many images (Nguyen & O'Connor 2015);
    images of one confidence stay together, so that bins are as even as they allow.

    Parameters
    ----------
    predictions
        Labelled predictions.
    bins
        Number of bins, at least 1.
    scheme
        "width" for bins of equal width on [0, 1], "mass" for bins of equally many images.

    Returns
    -------
    float
        In [0, 1].
    """
    _labelled("expected_calibration_error", predictions)
    return _gap(predictions.confidence, predictions.correct, bins, scheme)


def classwise_calibration_error(predictions: Predictions, bins: int = 15, scheme: Scheme = "width") -> float:
    """Return the mean over classes of the gap between a class's probability and its frequency.

    Class-wise ECE of Kull et al. (2019), Beyond Temperature Scaling; arguments as in
    `expected_calibration_error`.
    """
    labels = _labelled("classwise_calibration_error", predictions)
    gaps = [
        _gap(predictions.probabilities[:, k], labels == k, bins, scheme) for k in range(predictions.classes)
    ]
    return float(np.mean(gaps))


def brier_score(predictions: Predictions) -> float:
    """Return the mean squared distance between probabilities and one-hot labels, in [0, 2] (Brier 1950)."""
    labels = _labelled("brier_score", predictions)
    truth = np.eye(predictions.classes)[labels]
    return float(((predictions.probabilities - truth) ** 2).sum(axis=1).mean())


def negative_log_likelihood(predictions: Predictions) -> float:
    """Return the mean of -ln p of the true class, in nats; infinite where one has probability 0."""
    labels = _labelled("negative_log_likelihood", predictions)
    rows = np.arange(len(labels))
    if predictions.kind == "logits":
        return abs(float(log_softmax(predictions.logits)[rows, labels].mean()))  # 0.0 at best, not -0.0
    with np.errstate(divide="ignore"):
        return abs(float(np.log(predictions.probabilities[rows, labels]).mean()))


def calibration_report(predictions: Predictions, bins: int = 15) -> dict[str, float]:
    """Return all figures by name: `ece`, `ece_mass`, `classwise_ece`, `brier`, `nll`, and `accuracy`."""
    return {
        "accuracy": predictions.accuracy,
        "ece": expected_calibration_error(predictions, bins),
        "ece_mass": expected_calibration_error(predictions, bins, "mass"),
        "classwise_ece": classwise_calibration_error(predictions, bins),
        "brier": brier_score(predictions),
        "nll": negative_log_likelihood(predictions),
    }


def _labelled(what: str, predictions: Predictions) -> Integers:
    if predictions.labels is None:
        raise RequirementError(f"{what}: {predictions.name!r} has no labels")
    return predictions.labels


def _gap(confidence: Floats, right: NDArray[np.bool_], bins: int, scheme: Scheme) -> float:
    at_least_one("bins", bins)
    if scheme == "width":
        # Equal confidences may differ in their last bit, and an edge must not come between them.
        place = np.minimum(np.round(confidence * bins, DECIMALS).astype(np.int64), bins - 1)
    elif scheme == "mass":
        place = mass_bins(confidence, mass_edges(confidence, bins))
    else:
        raise UnknownNameError("binning scheme", str(scheme), ["width", "mass"])
    sums = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(sums).sum() / len(confidence))

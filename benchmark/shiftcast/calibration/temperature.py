"""The temperature that makes labelled source predictions most likely (Guo et al. 2017)."""

from __future__ import annotations

from math import exp, log

import numpy as np
from scipy.optimize import brentq

from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Predictions
from shiftcast.util.arrays import as_array, class_indices
from shiftcast.util.types import Floats, Integers

LOWEST_TEMPERATURE = 0.01
HIGHEST_TEMPERATURE = 100.0
"""A source without errors drives T to 0, labels that have nothing to do with the outputs to infinity; the
bound is then the answer."""

WIDEST_FACTOR = 1e12
"""How far beyond the bounds a temperature is searched for that is right for logits of another scale."""

PROBABILITY_FLOOR = 1e-12
"""Probabilities below this count as this when their logarithm stands in for logits."""


def scalable_logits(predictions: Predictions) -> Floats:
    """Return logits (n, K): those given, or the logarithm of probabilities floored at 1e-12.

    Softmax undoes the logarithm, so scaling works alike; only the floored tail is lost.
    """
    if predictions.kind == "logits":
        return predictions.logits
    return np.log(np.maximum(predictions.probabilities, PROBABILITY_FLOOR))


def fit_temperature(logits: Floats, labels: Integers) -> float:
    """Return the temperature T that minimises the negative log-likelihood of softmax(logits / T).

    The loss is convex in 1/T, so its derivative has at most one zero. That zero is bracketed and
    searched for on ln T to 1e-10: comparing values of the loss itself, flat at its minimum, could
    not tell temperatures apart below about 1e-8.

    Parameters
    ----------
    logits
        Float array (n, K).
    labels
        Integer array (n,) with values in [0, K).

    Returns
    -------
    float
        Temperature, rounded to 1e-6, beyond [0.01, 100] to seven digits; 0.01 or 100 where no temperature
        is best, as the loss falls without end.

    Raises
    ------
    InvalidInputError
        If shapes do not match, labels are out of range or logits are not finite.
    """
    outputs = np.asarray(as_array("fit_temperature: logits", logits), dtype=np.float64)
    if outputs.ndim != 2 or not outputs.size or not np.isfinite(outputs).all():
        raise InvalidInputError(
            f"fit_temperature: expected finite logits (n, K), n >= 1, got shape {outputs.shape}"
        )
    truth = class_indices("fit_temperature: labels", labels, outputs.shape[:1], outputs.shape[1])
    shifted = np.ascontiguousarray((outputs - outputs.max(axis=1, keepdims=True)).T)  # rows of n add fast
    true_mean = float(shifted[truth, np.arange(len(truth))].mean())

    def slope(log_temperature: float) -> float:
        """Return the derivative of the loss with respect to 1/T."""
        weights = np.exp(shifted * exp(-log_temperature))
        means = np.einsum("kn,kn->n", weights, shifted) / weights.sum(axis=0)
        return float(means.mean()) - true_mean

    low, high, widest = log(LOWEST_TEMPERATURE), log(HIGHEST_TEMPERATURE), log(WIDEST_FACTOR)
    if slope(low) <= 0:  # logits of another scale, unless the loss falls without end
        low, high, bound = low - widest, low, LOWEST_TEMPERATURE
    elif slope(high) >= 0:
        low, high, bound = high, high + widest, HIGHEST_TEMPERATURE
    else:
        return round(exp(brentq(slope, low, high, xtol=1e-10)), 6)
    if slope(low) <= 0 or slope(high) >= 0:
        return bound
    return float(f"{exp(brentq(slope, low, high, xtol=1e-10)):.7g}")

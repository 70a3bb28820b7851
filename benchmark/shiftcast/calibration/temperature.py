"""The temperature that makes labelled source predictions most likely (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import exp, log

import numpy as np
from scipy.optimize import brentq

from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Predictions
from shiftcast.util.arrays import as_array, class_indices
from shiftcast.util.blocks import in_blocks
from shiftcast.util.types import Floats, Integers

REACH = 1e4
"""The search goes from 1/REACH to REACH times the mean distance of logits to the largest of their image. A
source without errors would drive T to 0, random labels to infinity; the bound is then the answer."""
DIGITS = 7
"""Significant digits of a fitted temperature."""
LARGE, SAMPLE = 4_000_000, 2000
"""Outputs above which the search begins near its end, and the images that say where."""
STEPS, ENOUGH = 20, 1e-5
"""Newton's steps at most, and the relative step that is the last: the next one would be about its square."""

PROBABILITY_FLOOR = 1e-12
"""Probabilities below this count as this when their logarithm stands in for logits."""


def scalable_logits(predictions: Predictions) -> Floats:
    """Return logits (n, K): those given, or the logarithm of probabilities floored at 1e-12.

    Softmax undoes the logarithm, so scaling works alike; only the floored tail is lost.
    """
    if predictions.kind == "logits":
        return predictions.logits
    return np.log(np.maximum(predictions.probabilities, PROBABILITY_FLOOR))


@dataclass(frozen=True)
class FittedTemperature:
    """The most likely temperature.

    Parameters
    ----------
    value
        T > 0, to seven significant digits.
    inverse_error
        Standard error of 1/T, `sqrt(Var r / n) / h` (White 1982): r is the derivative of an image's loss with
        respect to 1/T, h the mean second derivative. 0 at a bound.
    bounded
        Whether the search ended at its bound: no temperature is most likely.
    """

    value: float
    inverse_error: float
    bounded: bool


def fit_temperature(logits: Floats, labels: Integers) -> float:
    """Return the temperature alone of `temperature_fit`."""
    return temperature_fit(logits, labels).value


def temperature_fit(logits: Floats, labels: Integers) -> FittedTemperature:
    """Return the temperature T that minimises the negative log-likelihood of softmax(logits / T).

    The loss is convex in 1/T, so its derivative has at most one zero. That zero is bracketed and
    searched for on ln T to 1e-10: comparing values of the loss itself, flat at its minimum, could
    not tell temperatures apart below about 1e-8. The bracket has the scale of the logits, so that logits
    times a factor have T times that factor. Logits that say nothing, all alike in each image, have T = 1.

    Parameters
    ----------
    logits
        Float array (n, K).
    labels
        Integer array (n,) with values in [0, K).

    Raises
    ------
    InvalidInputError
        If shapes do not match, labels are out of range or logits are not finite.
    """
    outputs = as_array("fit_temperature: logits", logits)
    if outputs.size <= LARGE:
        outputs = np.asarray(outputs, dtype=np.float64)
    if outputs.ndim != 2 or not outputs.size or not np.isfinite(outputs).all():
        raise InvalidInputError(
            f"fit_temperature: expected finite logits (n, K), n >= 1, got shape {outputs.shape}"
        )
    truth = class_indices("fit_temperature: labels", labels, outputs.shape[:1], outputs.shape[1])
    if outputs.size > LARGE:
        return _large_fit(outputs, truth)
    shifted = np.ascontiguousarray((outputs - outputs.max(axis=1, keepdims=True)).T)  # rows of n add fast
    scale = -float(shifted.mean())
    if scale == 0:
        return FittedTemperature(1.0, 0.0, bounded=True)
    shifted /= scale
    true = shifted[truth, np.arange(len(truth))]

    def weights(log_temperature: float) -> tuple[Floats, Floats]:
        """Return unnormalised probabilities (K, n) and the mean logit under them (n,)."""
        raised = np.exp(shifted * exp(-log_temperature))
        return raised, np.einsum("kn,kn->n", raised, shifted) / raised.sum(axis=0)

    def slope(log_temperature: float) -> float:
        """Return the derivative of the loss with respect to 1/T."""
        return float(weights(log_temperature)[1].mean() - true.mean())

    low, high = -log(REACH), log(REACH)
    if slope(low) <= 0:  # even the coldest is not cold enough
        return FittedTemperature(_rounded(scale / REACH), 0.0, bounded=True)
    if slope(high) >= 0:
        return FittedTemperature(_rounded(scale * REACH), 0.0, bounded=True)
    best = brentq(slope, low, high, xtol=1e-10)
    raised, means = weights(best)
    curvature = float((np.einsum("kn,kn->n", raised, shifted**2) / raised.sum(axis=0) - means**2).mean())
    error = float(np.sqrt((means - true).var() / len(true)) / curvature) / scale
    return FittedTemperature(_rounded(exp(best) * scale), error, bounded=False)


def _large_fit(outputs: Floats, truth: Integers) -> FittedTemperature:
    """Return the same for many outputs: Newton's method from the temperature of a few thousand images."""
    few = slice(None, None, -(-len(outputs) // SAMPLE))
    start = temperature_fit(outputs[few], truth[few])
    if start.bounded or outputs[few].size > LARGE:
        return start
    found, means, squares, true = 1 / start.value, outputs[:0, 0], outputs[:0, 0], outputs[:0, 0]
    for _ in range(STEPS):
        means, squares, true = in_blocks(partial(_moments, found), outputs, truth).T
        curvature = float((squares - means**2).mean())
        step = -float((means - true).mean()) / curvature
        small = abs(step) < ENOUGH * found
        found = min(max(found + step, found / 2), found * 2)
        if small:
            break
    error = float(np.sqrt((means - true).var() / len(true)) / curvature)
    return FittedTemperature(_rounded(1 / found), error, bounded=False)


def _moments(inverse: float, logits: Floats, truth: Integers) -> Floats:
    """Return the mean and mean square of each image's logits under softmax(logits / T), and the true one."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    raised = np.exp(shifted * inverse)
    sums = raised.sum(axis=1)
    raised *= shifted
    means = raised.sum(axis=1) / sums
    raised *= shifted
    return np.stack([means, raised.sum(axis=1) / sums, shifted[np.arange(len(truth)), truth]], axis=1)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")

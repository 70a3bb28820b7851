"""An ensemble's answers, balanced: what it would say if its answers had the source's class shares.

Errors that all networks share, because all fall into the same few classes, leave agreement as it was.
Forcing the answers to given class shares exposes just these. It takes label shift for damage, so what
chance alone explains of other shares is left as it is, and who uses this limits what is believed.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from scipy.optimize import minimize_scalar

from shiftcast.errors import InvalidInputError
from shiftcast.estimators.partition import reference_members
from shiftcast.predictions import Predictions
from shiftcast.util.arrays import log_softmax, softmax
from shiftcast.util.hashing import sha256
from shiftcast.util.memory import remembered
from shiftcast.util.types import Floats, Integers

STEPS = 60
"""Sinkhorn steps at most."""
LARGEST_PRICE = 8.0
"""Bound on the log-factor of a class."""
PROBABILITY_FLOOR = 1e-12
"""Added to mean probabilities before their logarithm."""
SHARE_FLOOR = 1e-9
"""Class shares count as at least this."""
CLOSE_ENOUGH = 1e-6
"""Distance of every class from its share at which the steps end."""
LOG_SHARPNESS = (-1.5, 2.0)
"""Where ln tau is searched for."""
NEAR_BOUND = 0.05
"""How near to a bound a search ends that would go on beyond it."""
BEYOND_SEARCH = (
    "the ensemble's most likely sharpness lies beyond the range that is searched: its probabilities are far "
    "too sure or unsure on the source"
)


def fit_sharpness(logs: Floats, labels: Integers) -> float:
    """Return tau, which minimises the cross-entropy of softmax(tau logs) with the labels.

    A bounded search for ln tau in [-1.5, 2], to 1e-2.

    Parameters
    ----------
    logs
        Logarithms of class probabilities (n, K).
    labels
        Integer array (n,) with values in [0, K).
    """
    rows = np.arange(len(labels))
    best = minimize_scalar(
        lambda x: -float(log_softmax(exp(x) * logs)[rows, labels].mean()),
        bounds=LOG_SHARPNESS,
        method="bounded",
        options={"xatol": 1e-2},
    )
    return exp(float(best.x))


def search_doubt(sharpness: float) -> str:
    """Return why a sharpness is doubtful where its search ended at a bound; else nothing."""
    near = min(abs(log(sharpness) - bound) for bound in LOG_SHARPNESS)
    return BEYOND_SEARCH if near < NEAR_BOUND else ""


def balance(probabilities: Floats, shares: Floats) -> Floats:
    """Return probabilities (n, K), rescaled class by class until their means are close to given shares.

    The means aimed at are q + s (m - q) for the given shares q and the present means m, with
    s = min(1, sum_k q_k (1 - q_k) / (n sum_k (m_k - q_k)^2)): a difference as large as chance makes it
    in n images is not balanced away. Sinkhorn's steps on the log-factors u of the classes, |u| <= 8.
    Needs one array beside its answer, however many classes there are.

    Parameters
    ----------
    probabilities
        Class probabilities (n, K), each row summing to one.
    shares
        Class shares q (K,).
    """
    result: Floats = probabilities * np.exp(class_prices(probabilities, shares))
    result /= result.sum(axis=1, keepdims=True)
    return result


def class_prices(probabilities: Floats, shares: Floats) -> Floats:
    """Return the log-factor u (K,) of each class, by which `balance` rescales probabilities (n, K)."""
    n = len(probabilities)
    gap = probabilities.mean(axis=0) - shares
    squared = n * float(gap @ gap)
    chance = float((shares * (1 - shares)).sum())
    aim = np.maximum(shares + (chance / squared if squared > chance else 1.0) * gap, SHARE_FLOOR)
    prices = np.zeros(len(shares))
    for _ in range(STEPS):
        factors = np.exp(prices)
        means = factors * ((1 / (probabilities @ factors)) @ probabilities) / n
        if np.abs(means - aim).max() < CLOSE_ENOUGH:
            break
        prices += np.log(aim / (means + SHARE_FLOOR))
        prices = np.clip(prices - prices.mean(), -LARGEST_PRICE, LARGEST_PRICE)
    return prices


def ensemble_sharpness(source: Predictions) -> float:
    """Return the tau of a labelled source's reference ensemble, found once for all models it judges."""
    reference, labels = reference_members(source), source.labels
    if labels is None:  # the base class has checked; this tells the type checker
        raise InvalidInputError(f"{source.name}: has no labels")
    key = f"sharpness {sha256(labels.tobytes())}"
    return remembered(reference, key, lambda: fit_sharpness(_mean_logs(reference), labels))


def balanced_ensemble(predictions: Predictions, sharpness: float, shares: Floats) -> Floats:
    """Return the balanced probabilities (n, K) of the sharpened mean member, found once for all models."""
    reference = reference_members(predictions)
    key = f"balanced {sharpness!r} {shares.tobytes().hex()}"
    return remembered(reference, key, lambda: balance(softmax(sharpness * _mean_logs(reference)), shares))


def _mean_logs(reference: Floats) -> Floats:
    logs: Floats = np.log(reference.mean(axis=0) + PROBABILITY_FLOOR)
    return logs

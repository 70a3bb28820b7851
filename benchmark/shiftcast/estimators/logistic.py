"""Logistic regression on a model's outputs, to its last digit: no order of images or classes shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from shiftcast.util.types import Floats, Integers

RIDGE = 1e-3
"""Penalty on coefficients of standardised features, beside a mean loss: independent of how many images."""
INTERCEPT_RIDGE = 1e-9
"""Enough to keep the intercept finite where all answers are alike."""
STEPS = 100
ENOUGH = 1e-10
LARGEST_GAP = 27.6
"""Logits count as at most this far below the top one, as in probabilities of at least 1e-12."""


@dataclass(frozen=True)
class Logistic:
    """A fitted regression: log-odds `intercept` + features @ `coefficients` (d,)."""

    coefficients: Floats
    intercept: float

    def log_odds(self, features: Floats) -> Floats:
        """Return the log-odds (n,) of features (n, d)."""
        odds: Floats = features @ self.coefficients + self.intercept
        return odds

    def probability(self, features: Floats) -> Floats:
        """Return the probability (n,) of features (n, d)."""
        result: Floats = expit(self.log_odds(features))
        return result


def fit_logistic(features: Floats, positive: Floats, weights: Floats) -> Logistic:
    """Fit by Newton's method with halved steps: weighted mean log-loss plus RIDGE / 2 |coefficients|^2.

    The penalty is on the coefficients of the features scaled to unit variance.

    Parameters
    ----------
    features
        Finite array (n, d); a column that does not vary plays no part.
    positive
        1 or 0 for each row (n,).
    weights
        Weight of each row (n,), at least 0; only their ratios count.
    """
    shares = weights / weights.sum()
    design = np.ones((features.shape[1] + 1, len(features)))  # long rows multiply fast
    design[:-1] = features.T
    centre = design[:-1] @ shares
    design[:-1] -= centre[:, None]
    spread = np.sqrt(design[:-1] ** 2 @ shares)
    scale = np.where(spread > 1e-12, spread, 1.0)
    design[:-1] /= scale[:, None]
    ridge = np.full(len(design), RIDGE)
    ridge[-1] = INTERCEPT_RIDGE

    def loss(odds: Floats, coefficients: Floats) -> float:
        return float(shares @ (np.logaddexp(0, odds) - positive * odds) + ridge @ coefficients**2 / 2)

    found, odds = np.zeros(len(design)), np.zeros(len(features))
    value = loss(odds, found)
    for _ in range(STEPS):
        chances = expit(odds)
        gradient = design @ (shares * (chances - positive)) + ridge * found
        if np.abs(gradient).max() < ENOUGH:
            break
        curvature = (design * (shares * chances * (1 - chances))) @ design.T + np.diag(ridge)
        step = np.linalg.solve(curvature, -gradient)
        moved = step @ design
        length = 1.0
        while (tried := loss(odds + length * moved, found + length * step)) > value and length > 1e-6:
            length /= 2
        found, odds, value = found + length * step, odds + length * moved, tried
    coefficients = found[:-1] / scale
    return Logistic(coefficients, float(found[-1] - centre @ coefficients))


def ranks_of(means: Floats) -> Integers:
    """Return the rank of each image (n,) by its mean feature (n,); equal images have one rank.

    A rank's last bit is the image's fold: neither the order of images nor copies of them matter.
    """
    _, ranks = np.unique(np.round(means, 9), return_inverse=True)
    return ranks


def logit_gaps(logits: Floats) -> Floats:
    """Return how far each class's logit (n, K) lies below the top one, at most 27.6."""
    gaps: Floats = np.minimum(logits.max(axis=1, keepdims=True) - logits, LARGEST_GAP)
    return gaps

"""Class shares of an unlabelled set, by expectation maximisation over a classifier's probabilities."""

from __future__ import annotations

import numpy as np

from shiftcast.util.types import Floats

STEPS = 1000
"""Rounds at most, each of two steps of expectation maximisation and an extrapolated one."""
ENOUGH = 1e-11
"""How far the mean log-likelihood may lie below the largest when they end."""
FALL = 0.1
"""Part that an extrapolated step leaves of a share at least: from 0 there is no way back."""
TINY = 1e-300


def prior_by_em(probabilities: Floats, source_shares: Floats) -> Floats:
    """Return the most likely class shares (K,) of a set if only class shares differ from the source's.

    Saerens, Latinne & Decaestecker (2002), Adjusting the Outputs of a Classifier to New a Priori
    Probabilities: p_ik times q_k / s_k, normalised in each image, then q their mean over images, again and
    again from q = s. The likelihood sum_i ln sum_k q_k p_ik / s_k is concave, so where it has one maximum the
    start does not matter. Steps are extrapolated (SQUAREM, Varadhan & Roland 2008) and never lower it.

    The probabilities must be calibrated. Errors of a model that fall into few classes read as other shares.

    Parameters
    ----------
    probabilities
        Class probabilities (m, K), m at least 1, rows summing to one.
    source_shares
        Class shares s (K,) that the probabilities were learned under: the mean of calibrated source
        probabilities, which EM gives back for the source itself, or the shares of its labels. A class of
        share 0 keeps it.
    """
    known = source_shares > 0
    likelihoods = np.ascontiguousarray(probabilities.T)  # long rows multiply fast
    likelihoods = np.where(known, 1 / np.where(known, source_shares, 1.0), 0.0)[:, None] * likelihoods

    def step(shares: Floats) -> tuple[Floats, float, float]:
        """Return the next shares, the log-likelihood of those given, and how far it may be from the best."""
        sums = np.maximum(shares @ likelihoods, TINY)
        slopes = likelihoods @ (1 / sums) / len(sums)
        moved = shares * slopes
        return moved / moved.sum(), float(np.log(sums).mean()), float(slopes.max()) - 1

    shares: Floats = source_shares / source_shares.sum()
    for _ in range(STEPS):
        first, _, apart = step(shares)
        second, value, _ = step(first)
        if apart < ENOUGH:
            break
        change, curve = first - shares, second - 2 * first + shares
        length = max(float(np.linalg.norm(change)) / (float(np.linalg.norm(curve)) + TINY), 1.0)
        further = np.maximum(shares + 2 * length * change + length**2 * curve, FALL * second)
        further, reached, _ = step(further / further.sum())
        shares = further if reached >= value else second
    return shares

"""Few labels: strata of images, how many labels each gets, and the accuracy that labels measure.

All of it rests on how images were drawn, and on no model of the outputs: a bad prediction of which images are
right makes intervals wider and never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shiftcast.errors import InvalidInputError
from shiftcast.statistics.intervals import wilson
from shiftcast.util.types import Floats, Integers

MOST_STRATA, LABELS_A_STRATUM = 10, 5
"""Strata at most, and labels for each on average at least."""
LEAST_LABELS = 2
"""Of a stratum: a variance needs two."""
FLOOR = 0.2
"""Part of the labels that is spread over the images evenly, whatever their predicted difficulty."""
FEW = 30
"""Labels below which an interval is never narrower than Wilson's for as many labels drawn uniformly."""
FEW_ERRORS = 5
"""Wrong labels, or right ones, below which the same holds: most strata then show no variance, by chance."""
TINY = 1e-12
"""Variances below this are rounding: no stratum holds both right and wrong answers."""
SIGNIFICANT = 2.0
"""How many standard errors the proxy's weight must lie above 0 to be used."""
LEVEL = 0.95


@dataclass(frozen=True)
class Measured:
    """The accuracy of N images from the labels of n of them.

    Parameters
    ----------
    accuracy, low, high
        In [0, 1], with the interval's ends.
    labels
        Number of labels n.
    effective
        How many labels, drawn uniformly, would give the same width.
    weight
        Weight of the proxy (lambda), in [0, 1]; 0 where it does not help.
    """

    accuracy: float
    low: float
    high: float
    labels: int
    effective: float
    weight: float


def strata_of(chances: Floats, labels: int) -> Integers:
    """Return a stratum for each image (N,): equally many images each, from low to high chance of being right.

    There are `labels` / 5 strata, at least one and at most ten.
    """
    count = min(MOST_STRATA, max(1, labels // LABELS_A_STRATUM), len(chances))
    strata = np.empty(len(chances), dtype=np.int64)
    strata[np.argsort(chances, kind="stable")] = np.arange(len(chances)) * count // len(chances)
    return strata


def allocate(sizes: Integers, expected: Floats, labels: int) -> Integers:
    """Return how many labels each stratum gets (H,), `labels` in all.

    Neyman (1934), On the two different aspects of the representative method: n_h in proportion to N_h S_h,
    where S_h = sqrt(p_h (1 - p_h)). A part `FLOOR` is spread in proportion to N_h alone, and no stratum gets
    less than two labels, or more than it has images.

    Parameters
    ----------
    sizes
        Images of each stratum N_h (H,).
    expected
        Expected accuracy of each, p_h (H,).
    labels
        From 1 to the sum of `sizes`.
    """
    spreads = sizes * np.sqrt(expected * (1 - expected))
    even, total = sizes / sizes.sum(), spreads.sum()
    shares = FLOOR * even + (1 - FLOOR) * (spreads / total if total > 0 else even)
    least = np.minimum(sizes, LEAST_LABELS if labels >= LEAST_LABELS * len(sizes) else 0)
    wanted = np.clip(labels * shares, least, sizes)
    for _ in sizes:  # each pass brings at least one stratum to a bound, or ends
        free = (wanted > least) & (wanted < sizes)
        left = labels - wanted.sum()
        if abs(left) < 1e-9 or not free.any():
            break
        wanted[free] *= 1 + left / wanted[free].sum()
        wanted = np.clip(wanted, least, sizes)
    counts: Integers = np.floor(wanted + 1e-9).astype(np.int64)
    for stratum in np.argsort(-(wanted - counts), kind="stable").tolist() * 2:
        missing = labels - int(counts.sum())
        counts[stratum] += min(max(missing, 0), 1, sizes[stratum] - counts[stratum])
    return counts


def planned_half_width(chances: Floats, labels: int, stratified: bool = True, level: float = LEVEL) -> float:
    """Return half the width of the interval to be expected of `labels` labels.

    Parameters
    ----------
    chances
        Chance of being right of each image (N,). What is planned is as good as these are.
    labels
        From 1 to N.
    stratified
        Whether they are drawn in strata of the chances, or else uniformly.
    level
        Nominal level.
    """
    strata = strata_of(chances, labels if stratified else 1)
    sizes = np.bincount(strata)
    expected = np.clip(np.bincount(strata, chances) / sizes, 0, 1)
    counts = allocate(sizes, expected, labels)
    spread = expected * (1 - expected) * sizes / np.maximum(sizes - 1, 1)
    variance = float((_weights(sizes) ** 2 * _rates(counts, sizes) * spread).sum())
    few = _are_few(float(counts @ expected), labels)
    low, high = _interval(float(chances.mean()), variance, labels, len(chances), level, few)[:2]
    return (high - low) / 2


def labels_needed(chances: Floats, half_width: float, stratified: bool = True) -> int:
    """Return the fewest labels of which a half-width is expected; at most as many as there are images."""
    low, high = 0, len(chances)
    while high - low > 1:
        middle = (low + high) // 2
        reached = planned_half_width(chances, middle, stratified) <= half_width
        low, high = (low, middle) if reached else (middle, high)
    return high


def measured(
    right: Floats,
    chances: Floats,
    strata: Integers,
    sizes: Integers,
    mean_chance: float,
    level: float = LEVEL,
) -> Measured:
    """Return the accuracy that n labels measure: stratified difference estimator with a tuned weight.

    With W_h = N_h / N, f the proxy and weight l: l mean(f) + sum_h W_h mean_h(y - l f), and its variance
    sum_h W_h^2 (1 / n_h - 1 / N_h) s_h^2(y - l f). l minimises this variance (Angelopoulos, Duchi & Zrnic
    2024, PPI++, for uniform draws; Fogliato et al. 2024, Framework for Efficient Model Evaluation through
    Stratification, Sampling, and Estimation, for strata; Angelopoulos et al. 2023, Prediction-powered
    inference, has l = 1). It is 0 unless it lies two standard errors above 0, and where labels are few: below
    30, or below 5 right or 5 wrong ones.

    The interval is Wilson's (1927) with 1 + a (1 - a) / variance images, where a is the accuracy: with one
    stratum and l = 0 of many images that is n. Where labels are few, and where no stratum has both right and
    wrong answers, it is at most n.

    Parameters
    ----------
    right
        1 or 0 for each labelled image (n,).
    chances
        The proxy f of these images (n,): predicted chances of being right.
    strata
        Stratum of each (n,), from 0 to H - 1.
    sizes
        Images of each stratum N_h (H,).
    mean_chance
        Mean of the proxy over all N images.
    level
        Nominal level.

    Raises
    ------
    InvalidInputError
        If a stratum has no label.
    """
    counts = np.bincount(strata, minlength=len(sizes))
    if not counts.all():
        raise InvalidInputError(f"measured: no label in stratum {int(np.argmin(counts))} (from 0)")
    weights, rates, n = _weights(sizes), _rates(counts, sizes), len(right)
    few = _are_few(float(right.sum()), n)
    accuracy = min(float(weights @ (np.bincount(strata, right) / counts)), 1.0)
    # One label of a stratum has no variance: that of the whole is as large or larger in most strata.
    alone = np.where(counts == 1, accuracy * (1 - accuracy), 0.0)
    factors = weights**2 * rates
    variance = float(factors @ (_covariances(right, right, strata, counts) + alone))
    shared = float(factors @ _covariances(right, chances, strata, counts))
    own = float(factors @ _covariances(chances, chances, strata, counts))
    weight, variance = (0.0, variance) if few else _tuned(variance, shared, own, n - len(sizes) - 1)
    accuracy += weight * (mean_chance - float(weights @ (np.bincount(strata, chances) / counts)))
    accuracy = min(max(accuracy, 0.0), 1.0)
    low, high, effective = _interval(accuracy, variance, n, int(sizes.sum()), level, few)
    return Measured(accuracy, low, high, n, effective, weight)


def _tuned(variance: float, shared: float, own: float, freedom: int) -> tuple[float, float]:
    """Return the proxy's weight, 0 if it does not help, and the variance with it.

    `variance`, `own` and `shared` are those of the answers' mean, of the proxy's, and of both.
    """
    if freedom < 1 or shared <= 0 or own <= 0:
        return 0.0, variance
    best = min(shared / own, 1.0)
    reduced = max(variance - 2 * best * shared + best**2 * own, 0.0)
    if best**2 * own * freedom < SIGNIFICANT**2 * reduced:
        return 0.0, variance
    return best, reduced * (freedom + 1) / freedom  # one more number was fitted


def _are_few(right: float, labels: int) -> bool:
    """Return whether labels, of which so many are right, are too few to know variances from."""
    return labels < FEW or min(right, labels - right) < FEW_ERRORS


def _weights(sizes: Integers) -> Floats:
    weights: Floats = sizes / sizes.sum()
    return weights


def _rates(counts: Integers, sizes: Integers) -> Floats:
    """Return 1 / n_h - 1 / N_h: the variance of a mean of n_h of N_h images is this times theirs."""
    rates: Floats = 1 / np.maximum(counts, 1) - 1 / sizes
    return rates


def _covariances(a: Floats, b: Floats, strata: Integers, counts: Integers) -> Floats:
    """Return the covariance within each stratum (H,), 0 of one image alone."""
    means = (np.bincount(strata, values) / counts for values in (a, b))
    first, second = (values - mean[strata] for values, mean in zip((a, b), means, strict=True))
    covariances: Floats = np.bincount(strata, first * second) / np.maximum(counts - 1, 1)
    return covariances


def _interval(
    accuracy: float, variance: float, labels: int, images: int, level: float, few: bool
) -> tuple[float, float, float]:
    """Return Wilson's interval for an accuracy of a given variance, and the effective number of labels."""
    if labels == images:
        return accuracy, accuracy, float(images)
    inside = min(max(accuracy, 0.5 / labels), 1 - 0.5 / labels)
    ratio = variance / (inside * (1 - inside))
    if few or variance < TINY:
        ratio = max(ratio, (1 - labels / images) / max(labels - 1, 1e-9))
    n = 1 + 1 / ratio
    low, high = wilson(accuracy * n, n, level)
    return low, high, (1 + ratio) / (ratio + 1 / images)

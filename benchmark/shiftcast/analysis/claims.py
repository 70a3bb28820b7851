"""The claims of the source's abstract, each as a figure with an interval.

Simsek, Hall & Sagun (2022), "Understanding out-of-distribution accuracies through quantifying
difficulty of test samples". Intervals are percentiles of a bootstrap over images (or clusters) and
architectures; predictions, bins and thresholds stay fixed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from shiftcast.analysis.confusion import Confusion, resampling_seed
from shiftcast.predictions import Floats
from shiftcast.statistics import (
    DRAWS,
    draw_weights,
    fit_line,
    group_sums,
    percentile_interval,
    probit,
)

RIVALS = ("NoShift", "IM", "AgreementShift", "OwnLabelPartition")
PARTITION = "ConfusionPartition"
FEWEST_ARCHITECTURES = 4
"""Below four architectures a resampled line too often has fewer than two distinct points."""
LINE_COLUMNS = (
    *("set", "runs", "architectures", "slope", "slope_predicted", "slope_low", "slope_high"),
    *("intercept", "intercept_predicted", "intercept_low", "intercept_high", "r2", "agrees"),
)
PAIR_COLUMNS = ("set", "rival", "mae", "rival_mae", "difference", "low", "high")
DROP_COLUMNS = ("set", "drop", "mass", "share", "low", "high", "ratio", "centred", "holds")
ARCHITECTURE_SEED = 20_220_401
"""Seed of the resampling of architectures."""


class Resampled:
    """Bootstrap draws of every scored run's accuracy, and of the weight of each run.

    Parameters
    ----------
    confusion
        The suite's confusion.
    draws
        Number of draws.
    """

    def __init__(self, confusion: Confusion, draws: int = DRAWS) -> None:
        self.confusion, self.draws = confusion, draws
        runs = confusion.pool.scored
        self.architectures = sorted({run.key.architecture for run in runs})
        column = [self.architectures.index(run.key.architecture) for run in runs]
        count = len(self.architectures)
        self.weights: Floats = draw_weights(count, draws, ARCHITECTURE_SEED)[:, column]
        """How often each run is drawn with its architecture (draws, R)."""

    def totals(self, name: str, values: Floats) -> Floats:
        """Return sums (draws, C) of per-image values (n, C) of a set under resampling of images."""
        sums = group_sums(self.confusion.groups(name), values)
        weights = draw_weights(len(sums), self.draws, resampling_seed(name))
        result: Floats = weights @ sums
        return result

    def accuracies(self, name: str) -> Floats:
        """Return resampled accuracies (draws, R) on a labelled set that is not derived."""
        right = self.confusion.right(name)
        totals = self.totals(name, np.column_stack([np.ones(len(right)), right]))
        shares: Floats = totals[:, 1:] / totals[:, :1]
        return shares


def predicted_lines(resampled: Resampled, predicted: Mapping[tuple[str, str], Floats]) -> pd.DataFrame:
    """Return probit lines of OOD against ID accuracy: through actual and through predicted accuracy.

    `agrees` is whether no difference lies in the smallest ellipse (in the metric of the draws'
    covariance) that holds 95 % of the draws of (slope, intercept) of predicted minus actual.

    Parameters
    ----------
    resampled
        Bootstrap draws.
    predicted
        Official predictions (R,) by (estimator, target).
    """
    confusion = resampled.confusion
    rows = []
    names = confusion.natural if len(resampled.architectures) >= FEWEST_ARCHITECTURES else []
    for name in names:
        if (PARTITION, name) not in predicted:
            continue
        n_id, n = len(confusion.right(confusion.source)), len(confusion.right(name))
        x = probit(confusion.right(confusion.source).mean(axis=0), n_id)
        y = probit(confusion.right(name).mean(axis=0), n)
        guess = probit(predicted[PARTITION, name], n)
        actual, mine = fit_line(x, y), fit_line(x, guess)
        xs = probit(np.clip(resampled.accuracies(confusion.source), 0, 1), n_id)
        ys = probit(np.clip(resampled.accuracies(name), 0, 1), n)
        drawn = _lines(xs, np.broadcast_to(guess, xs.shape), resampled.weights) - _lines(
            xs, ys, resampled.weights
        )
        slope, intercept = percentile_interval(drawn[:, 0]), percentile_interval(drawn[:, 1])
        difference = np.array([mine.slope - actual.slope, mine.intercept - actual.intercept])
        rows.append(
            (
                *(name, len(x), len(resampled.architectures)),
                *(actual.slope, mine.slope, *slope),
                *(actual.intercept, mine.intercept, *intercept),
                *(actual.r2, _holds_zero(drawn, difference)),
            )
        )
    return pd.DataFrame(rows, columns=list(LINE_COLUMNS))


def _lines(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Return weighted least-squares (slope, intercept) of each draw (D, 2); NaN without spread."""
    total = weights.sum(axis=1, keepdims=True)
    mean_x, mean_y = ((weights * values).sum(axis=1, keepdims=True) / total for values in (x, y))
    sxx = (weights * (x - mean_x) ** 2).sum(axis=1)
    sxy = (weights * (x - mean_x) * (y - mean_y)).sum(axis=1)
    slope = np.divide(sxy, sxx, out=np.full_like(sxy, np.nan), where=sxx > 1e-12)
    return np.column_stack([slope, mean_y[:, 0] - slope * mean_x[:, 0]])


def _holds_zero(drawn: Floats, difference: Floats) -> bool:
    """Whether zero lies in the 95 % region of a difference, shaped by the covariance of its draws."""
    known = drawn[np.isfinite(drawn).all(axis=1)]
    if len(known) < 0.9 * len(drawn):
        return False
    inverse = np.linalg.pinv(np.cov(known.T))
    away = known - known.mean(axis=0)
    distances = np.einsum("di,ij,dj->d", away, inverse, away)
    return bool(difference @ inverse @ difference <= np.quantile(distances, 0.95))


def paired_errors(resampled: Resampled, predicted: Mapping[tuple[str, str], Floats]) -> pd.DataFrame:
    """Return the partition's mean absolute error minus that of each rival on each natural set, in pp.

    Parameters
    ----------
    resampled
        Bootstrap draws.
    predicted
        Official predictions (R,) by (estimator, target).
    """
    confusion, weights = resampled.confusion, resampled.weights
    rows = []
    for name in confusion.natural:
        actual, drawn = confusion.right(name).mean(axis=0), resampled.accuracies(name)
        for rival in RIVALS:
            if (PARTITION, name) not in predicted or (rival, name) not in predicted:
                continue
            mine, theirs = (np.abs(predicted[who, name] - actual) for who in (PARTITION, rival))
            differences = np.abs(predicted[PARTITION, name] - drawn) - np.abs(predicted[rival, name] - drawn)
            resampled_means = (weights * differences).sum(axis=1) / weights.sum(axis=1)
            low, high = percentile_interval(100 * resampled_means)
            mae, other = 100 * float(mine.mean()), 100 * float(theirs.mean())
            rows.append((name, rival, mae, other, mae - other, low, high))
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


def drop_shares(resampled: Resampled) -> pd.DataFrame:
    """Return which share of the drop comes from images of high confusion, on each natural set.

    The share is by error mass, [w'(1 - a') - w(1 - a)] / (a_ID - a_OOD) over the images above the
    in-distribution 90th percentile of the score, all runs with equal weight. `centred` is
    [(w - w')(a - a_ID) + w'(a - a')] / (a_ID - a_OOD). The claim that most of the drop comes from
    high confusion holds where the share's interval lies above one half and share / w' above one.
    """
    confusion, weights = resampled.confusion, resampled.weights
    source = confusion.source
    rows = []
    for name in confusion.natural:
        here, there = _high_sums(confusion, source), _high_sums(confusion, name)
        id_sums, ood_sums = here.mean(axis=0), there.mean(axis=0)
        runs = confusion.right(source).shape[1]
        equal = np.ones((1, runs))
        share, drop = _share(id_sums[None], ood_sums[None], equal)
        drawn, _ = _share(resampled.totals(source, here), resampled.totals(name, there), weights)
        low, high = percentile_interval(drawn)
        mass = float(ood_sums[1])
        centred = _centred(id_sums, ood_sums, runs)
        holds = bool(low > 0.5 and share[0] / mass > 1) if mass else False
        ratio = float(share[0]) / mass if mass else float("nan")
        rows.append((name, float(drop[0]), mass, float(share[0]), low, high, ratio, centred, holds))
    return pd.DataFrame(rows, columns=list(DROP_COLUMNS))


def _high_sums(confusion: Confusion, name: str) -> Floats:
    """Per image: 1, whether of high confusion, right for each run, right and of high confusion."""
    right, high = confusion.right(name), confusion.high(name).astype(np.float64)[:, None]
    return np.hstack([np.ones_like(high), high, right, right * high])


def _share(source: Floats, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the high-confusion share of the drop (D,) and the drop (D,) from sums of `_high_sums`."""
    runs = weights.shape[1]

    def parts(sums: Floats) -> tuple[Floats, Floats]:
        n, high = sums[:, :1], sums[:, 1:2]
        right, both = sums[:, 2 : 2 + runs], sums[:, 2 + runs :]
        return (high - both) / n, right / n

    total = weights.sum(axis=1)
    (wrong_id, accuracy_id), (wrong_ood, accuracy_ood) = parts(source), parts(target)
    lost = (weights * (wrong_ood - wrong_id)).sum(axis=1) / total
    drop: Floats = (weights * (accuracy_id - accuracy_ood)).sum(axis=1) / total
    share: Floats = np.divide(lost, drop, out=np.full_like(drop, np.nan), where=np.abs(drop) > 1e-12)
    return share, drop


def _centred(source: Floats, target: Floats, runs: int) -> float:
    """Return the centred share of the drop, means over runs."""
    mass, mass_ood = source[1], target[1]
    accuracy, accuracy_ood = source[2 : 2 + runs], target[2 : 2 + runs]
    inside = source[2 + runs :] / mass if mass else np.zeros(runs)
    inside_ood = target[2 + runs :] / mass_ood if mass_ood else np.zeros(runs)
    lost = (mass - mass_ood) * (inside - accuracy) + mass_ood * (inside - inside_ood)
    drop = float((accuracy - accuracy_ood).mean())
    return float(lost.mean()) / drop if abs(drop) > 1e-12 else float("nan")

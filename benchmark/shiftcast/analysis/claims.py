"""The claims of the source's abstract, each as a figure with an interval.

Simsek, Hall & Sagun (2022), "Understanding out-of-distribution accuracies through quantifying
difficulty of test samples". Intervals are percentiles of a bootstrap over images (or clusters) and
architectures; predictions, bins and thresholds stay fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shiftcast.analysis.confusion import Confusion
from shiftcast.statistics import (
    DRAWS,
    draw_weights,
    fit_line,
    inverse_probit,
    percentile_interval,
    probit,
)
from shiftcast.util.types import Floats

RIVALS = ("NoShift", "IM", "AgreementShift", "OwnLabelPartition")
PARTITION = "ConfusionPartition"
FEWEST_ARCHITECTURES = 5
"""Below five architectures too many draws hold fewer than three, and intervals are over images alone."""
FEWEST_DRAWN = 3
"""Architectures that a resampled line needs: runs of one or two say nothing about a slope."""
LINE_COLUMNS = (
    *("set", "runs", "architectures", "slope", "slope_predicted", "slope_low", "slope_high"),
    *("middle", "middle_predicted", "middle_low", "middle_high", "r2", "agrees", "lowest", "highest"),
)
PAIR_COLUMNS = ("set", "rival", "mae", "rival_mae", "difference", "low", "high")
DROP_COLUMNS = (
    *("set", "drop", "drop_low", "drop_high", "mass", "share", "low", "high", "ratio"),
    *("uninformative", "centred", "holds"),
)
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
        self.accuracies = cache(self.drawn_accuracies)
        runs = confusion.pool.scored
        self.architectures = sorted({run.key.architecture for run in runs})
        column = [self.architectures.index(run.key.architecture) for run in runs]
        count = len(self.architectures)
        keys = [(run.key.architecture, run.key.recipe) for run in runs]
        self.equal: Floats = np.array([1 / keys.count(key) for key in keys])
        """Weight of each run (R,): every architecture x recipe counts once, whatever its seeds."""
        self.plain: NDArray[np.bool_] = np.array([confusion.pool.is_plain(run) for run in runs], dtype=bool)
        """Whether each run was trained by a plain recipe (R,): lines go through these."""
        drawn = np.ones((draws, count))
        if count >= FEWEST_ARCHITECTURES:
            drawn = draw_weights(count, draws, ARCHITECTURE_SEED)
        self.weights: Floats = drawn[:, column] * self.equal
        """Weight of each run in each draw of architectures (draws, R)."""

    def totals(self, name: str, values: Floats) -> Floats:
        """Return sums (draws, C) of per-image values (n, C) of a set under resampling of images."""
        return self.confusion.resampled(name, values, self.draws)

    def drawn_accuracies(self, name: str) -> Floats:
        """Return resampled accuracies (draws, R) on a labelled set; `accuracies` keeps them."""
        right = self.confusion.right(name)
        totals = self.totals(name, np.column_stack([np.ones(len(right)), right]))
        shares: Floats = totals[:, 1:] / totals[:, :1]
        return shares


def predicted_lines(resampled: Resampled, predicted: Mapping[tuple[str, str], Floats]) -> pd.DataFrame:
    """Return probit lines of OOD against ID accuracy: through actual and through predicted accuracy.

    Lines go through the runs of plain recipes. Both are read at these runs' mean probit of ID accuracy
    (`middle`, `middle_predicted`, as accuracies). Target images and architectures are resampled; ID
    accuracies and predictions stay fixed. `agrees` is whether no difference lies in the ellipse (in the
    metric of the draws' covariance) that holds 95 % of the draws of (slope, middle) of predicted minus
    actual, on probit axes.

    Parameters
    ----------
    resampled
        Bootstrap draws.
    predicted
        Official predictions (R,) by (estimator, target).
    """
    confusion, plain = resampled.confusion, resampled.plain
    weights, equal = resampled.weights * plain, resampled.equal * plain
    owners = np.array([run.key.architecture for run in confusion.pool.scored])
    architectures = sorted(set(owners[plain]))
    drawn = np.column_stack([(weights[:, owners == name] > 0).any(axis=1) for name in architectures])
    enough = drawn.sum(axis=1) >= FEWEST_DRAWN
    weights = np.where(enough[:, None], weights, equal)  # whatever comes of the others is left out below
    rows = []
    names = confusion.natural if len(architectures) >= FEWEST_ARCHITECTURES else []
    for name in names:
        n_id, n = len(confusion.right(confusion.source)), len(confusion.right(name))
        home = confusion.right(confusion.source).mean(axis=0)
        x = probit(home, n_id)
        if (PARTITION, name) not in predicted or x[plain].min() == x[plain].max():
            continue
        x = x - float((equal * x).sum() / equal.sum())
        y = probit(confusion.right(name).mean(axis=0), n)
        guess = probit(predicted[PARTITION, name], n)
        (actual,), (mine,) = (_lines(x, values, equal[None]) for values in (y, guess))
        ys = probit(np.clip(resampled.accuracies(name), 0, 1), n)
        lines, guesses = _lines(x, ys, weights), _lines(x, guess, weights)
        lines[~enough] = np.nan
        differences = guesses - lines
        gaps = inverse_probit(guesses[:, 1]) - inverse_probit(lines[:, 1])
        rows.append(
            (
                *(name, int(plain.sum()), len(architectures)),
                *(actual[0], mine[0], *percentile_interval(differences[:, 0])),
                *(float(inverse_probit(actual[1])), float(inverse_probit(mine[1]))),
                *percentile_interval(gaps),
                *(fit_line(x[plain], y[plain]).r2, _holds_zero(differences, mine - actual)),
                *(float(home[plain].min()), float(home[plain].max())),
            )
        )
    return pd.DataFrame(rows, columns=list(LINE_COLUMNS))


def _lines(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Return weighted least-squares (slope, value at 0) of each draw (D, 2); NaN without spread.

    `x` is (R,), `y` (R,) or (D, R), `weights` (D, R).
    """
    x, y = np.broadcast_to(x, weights.shape), np.broadcast_to(y, weights.shape)
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
    rows = []
    for name in resampled.confusion.natural:
        for rival in RIVALS:
            if (PARTITION, name) not in predicted or (rival, name) not in predicted:
                continue
            pair = paired_difference(resampled, [[name]], predicted, PARTITION, rival)
            rows.append((name, rival, *pair))
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


def paired_difference(
    resampled: Resampled,
    groups: Sequence[Sequence[str]],
    predicted: Mapping[tuple[str, str], Floats],
    first: str,
    second: str,
) -> tuple[float, float, float, float, float]:
    """Return the mean absolute errors of two estimators, their difference and its interval, in pp.

    Parameters
    ----------
    resampled
        Bootstrap draws: of images, shared by all sets made from the same ones, and of architectures.
    groups
        Labelled sets of each group: errors are averaged within groups, then over groups.
    predicted
        Official predictions (R,) by (estimator, target).
    first, second
        Names of the estimators.

    Returns
    -------
    tuple
        MAE of the first and of the second, first minus second, low, high.
    """
    equal, weights = resampled.equal, resampled.weights
    errors, draws = np.zeros(2), np.zeros(resampled.draws)
    for group in groups:
        for name in group:
            share = 1 / (len(groups) * len(group))
            guesses = [predicted[who, name] for who in (first, second)]
            actual, drawn = resampled.confusion.right(name).mean(axis=0), resampled.accuracies(name)
            gaps = np.abs(np.stack(guesses) - actual)
            errors += 100 * share * (equal * gaps).sum(axis=1) / equal.sum()
            differences = np.abs(guesses[0] - drawn) - np.abs(guesses[1] - drawn)
            draws += 100 * share * (weights * differences).sum(axis=1) / weights.sum(axis=1)
    mae, other = errors.tolist()
    # Noise lengthens short errors: draws are moved to where the observed difference is.
    low, high = percentile_interval(draws - draws.mean() + mae - other)
    return mae, other, mae - other, low, high


def drop_shares(resampled: Resampled) -> pd.DataFrame:
    """Return which share of the drop comes from images of high confusion, on each natural set.

    The share is by error mass, [w'(1 - a') - w(1 - a)] / (a_ID - a_OOD) over the images above the
    in-distribution 90th percentile of the score, every model with equal weight. `uninformative` is
    what it would be for a score that says nothing about accuracy, at the same masses:
    w' + (w' - w)(1 - a_ID) / (a_ID - a_OOD). `centred` is
    [(w - w')(a - a_ID) + w'(a - a')] / (a_ID - a_OOD), which is w' for such a score. The claim
    that most of the drop comes from high confusion holds where the share's interval lies above one
    half and share / w' above one. Where accuracy does not fall, there is nothing to share out: the
    shares are NaN.
    """
    confusion, equal = resampled.confusion, resampled.equal[None]
    source = confusion.source
    rows = []
    for name in confusion.natural:
        here, there = _high_sums(confusion, source), _high_sums(confusion, name)
        id_sums, ood_sums = here.mean(axis=0), there.mean(axis=0)
        share, drop = (float(value[0]) for value in _share(id_sums[None], ood_sums[None], equal))
        drawn, drops = _share(
            resampled.totals(source, here), resampled.totals(name, there), resampled.weights
        )
        fall = percentile_interval(drops)
        mass, before = float(ood_sums[1]), float(id_sums[1])
        runs = equal.shape[1]
        accuracy = float((equal[0] * id_sums[2 : 2 + runs]).sum() / equal.sum())
        low, high = percentile_interval(drawn)
        nothing = mass + (mass - before) * (1 - accuracy) / drop if drop else float("nan")
        centred = _centred(id_sums, ood_sums, equal[0])
        ratio = share / mass if mass else float("nan")
        if not fall[0] > 0:
            share = low = high = ratio = nothing = centred = float("nan")
        holds = bool(low > 0.5 and ratio > 1)
        rows.append((name, drop, *fall, mass, share, low, high, ratio, nothing, centred, holds))
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


def _centred(source: Floats, target: Floats, weights: Floats) -> float:
    """Return the centred share of the drop, means over runs of the given weights (R,)."""
    runs = len(weights)
    mass, mass_ood = source[1], target[1]
    accuracy, accuracy_ood = source[2 : 2 + runs], target[2 : 2 + runs]
    inside = source[2 + runs :] / mass if mass else np.zeros(runs)
    inside_ood = target[2 + runs :] / mass_ood if mass_ood else np.zeros(runs)
    lost = (mass - mass_ood) * (inside - accuracy) + mass_ood * (inside - inside_ood)
    drop = float((weights * (accuracy - accuracy_ood)).sum())
    return float((weights * lost).sum()) / drop if abs(drop) > 1e-12 else float("nan")

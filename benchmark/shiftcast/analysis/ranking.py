"""Which estimators the board can tell apart: their errors in a paired bootstrap, ranks, and the headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.analysis.claims import Resampled
from shiftcast.statistics import bootstrap_p, draw_weights, holm, percentile_interval, rank_intervals
from shiftcast.util.hashing import sha256
from shiftcast.util.types import Floats

FEWEST_GROUPS = 6
"""Shifts from which they are resampled as well; below, figures are conditional on these."""
RANK_DRAWS = 10_000
"""Draws behind ranks and the headline's p-values."""

Predicted = Mapping[tuple[str, str], Floats]
Groups = Mapping[str, Sequence[str]]


def board_draws(resampled: Resampled, groups: Groups, predicted: Predicted, names: Sequence[str]) -> Floats:
    """Return the board's mean absolute errors in bootstrap draws, in pp.

    Images are resampled (shared by all runs, and by all sets made from the same ones), architectures
    with their recipes and seeds, and shifts where there are six or more. Predictions stay fixed.

    Parameters
    ----------
    resampled
        Draws of accuracies and of runs' weights.
    groups
        Labelled sets of each shift of one kind.
    predicted
        Official predictions (R,) by (estimator, target); all that are asked for must be there.
    names
        The estimators, J of them.

    Returns
    -------
    Floats
        (D + 1, J): the draws, and last the observed errors. Draws are moved to a mean of the observed
        ones, since noise lengthens short errors.
    """
    weights = np.vstack([resampled.weights, resampled.equal])
    totals = weights.sum(axis=1)
    shares = _group_weights(resampled, groups)
    found = np.zeros((len(weights), len(names)))
    for column, targets in zip(shares.T, groups.values(), strict=True):
        for target in targets:
            actual = resampled.confusion.right(target).mean(axis=0)
            accuracies = np.vstack([resampled.drawn_accuracies(target), actual])
            for place, name in enumerate(names):
                errors = (weights * np.abs(predicted[name, target] - accuracies)).sum(axis=1) / totals
                found[:, place] += 100 * column * errors / len(targets)
    found[:-1] += found[-1] - np.nanmean(found[:-1], axis=0)
    return found


def _group_weights(resampled: Resampled, groups: Groups) -> Floats:
    """Return the weight of each shift (D + 1, G): equal, or drawn anew where there are enough."""
    count, draws = len(groups), resampled.draws
    equal = np.full((draws + 1, count), 1 / count)
    if count >= FEWEST_GROUPS:
        seed = int(sha256(("shifts|" + "|".join(groups)).encode())[:8], 16)
        equal[:-1] = draw_weights(count, draws, seed) / count
    return equal


def ranking(
    resampled: Resampled, groups: Groups, predicted: Predicted, tracks: Mapping[str, str], headline: str
) -> pd.DataFrame:
    """Return what can be said of estimators' errors on one kind of shift: see `RANK_COLUMNS`.

    Parameters
    ----------
    resampled, groups, predicted
        As in `board_draws`.
    tracks
        Track of each estimator by name; those that lack a prediction of any run are left out.
    headline
        The estimator that the others are compared with.
    """
    targets = [target for own in groups.values() for target in own]
    names = [name for name in tracks if targets and all((name, target) in predicted for target in targets)]
    if not names:
        return pd.DataFrame(columns=list(RANK_COLUMNS))
    found = board_draws(resampled, groups, predicted, names)
    draws, points = found[:-1], found[-1]
    rows: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(names):
        low, high = percentile_interval(draws[:, place])
        rows[name] = {"estimator": name, "track": tracks[name], "mae": float(points[place])}
        rows[name] |= {"mae_low": low, "mae_high": high}
    for track in dict.fromkeys(tracks[name] for name in names):
        own = [place for place, name in enumerate(names) if tracks[name] == track]
        ranks = rank_intervals(points[own], draws[:, own])
        for place, low, high in zip(own, ranks.low, ranks.high, strict=True):
            rows[names[place]] |= {"rank_low": int(low), "rank_high": int(high)}
    if headline in names:
        base = names.index(headline)
        others = [place for place in range(len(names)) if place != base]
        apart = draws[:, [base]] - draws
        p_values = [bootstrap_p(points[base] - points[place], apart[:, place]) for place in others]
        for place, p_value in zip(others, holm(p_values), strict=True):
            low, high = percentile_interval(apart[:, place])
            difference = float(points[base] - points[place])
            rows[names[place]] |= {"difference": difference, "low": low, "high": high, "p": float(p_value)}
    return pd.DataFrame(list(rows.values()), columns=list(RANK_COLUMNS))


RANK_COLUMNS = (
    *("estimator", "track", "mae", "mae_low", "mae_high", "rank_low", "rank_high"),
    *("difference", "low", "high", "p"),
)

"""How sure effective robustness is, given the noise of images and of the architectures behind a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from shiftcast.analysis.claims import FEWEST_ARCHITECTURES, Resampled
from shiftcast.statistics import inverse_probit, percentile_interval, probit
from shiftcast.util.types import Floats

ROBUSTNESS_COLUMNS = ("architecture", "recipe", "group", "low", "high")
MEAN = ""
"""The group that stands for the mean over those that models are ranked by."""


def robustness_intervals(
    resampled: Resampled, groups: Mapping[str, Sequence[str]], ranking: Sequence[str]
) -> pd.DataFrame:
    """Return 95 % intervals of each model's effective robustness (pp).

    Source and target images, and the architectures behind the line, are drawn anew; a model's own
    architecture stays out of its line, and its own accuracy moves with the images.

    Parameters
    ----------
    resampled
        Bootstrap draws of accuracies and of runs' weights.
    groups
        Labelled sets of each group that all runs hold.
    ranking
        Groups over whose mean an interval is given too, as the group "".

    Returns
    -------
    DataFrame
        Columns `architecture`, `recipe`, `group`, `low`, `high` (NaN where lines are undefined too often);
        empty with fewer than five architectures of plain recipes.
    """
    runs = resampled.confusion.pool.scored
    owners = np.array([run.key.architecture for run in runs])
    models = [(run.key.architecture, run.key.recipe) for run in runs]
    if len(set(owners[resampled.plain])) < FEWEST_ARCHITECTURES:
        return pd.DataFrame(columns=list(ROBUSTNESS_COLUMNS))
    source = resampled.confusion.source
    home = probit(resampled.accuracies(source), len(resampled.confusion.right(source)))
    found = {}
    for group, sets in groups.items():
        accuracy = np.mean([resampled.accuracies(name) for name in sets], axis=0)
        n = min(len(resampled.confusion.right(name)) for name in sets)
        weights = resampled.weights * resampled.plain / resampled.equal  # as the line of the figure: by run
        expected = _expected(home, probit(accuracy, n), weights, owners)
        found[group] = 100 * (accuracy - inverse_probit(expected))
    if ranking and set(ranking) <= set(found):
        found[MEAN] = np.mean([found[group] for group in ranking], axis=0)
    rows = []
    for group, values in found.items():
        for model in sorted(set(models)):
            own = values[:, [one == model for one in models]].mean(axis=1)
            rows.append((*model, group, *percentile_interval(own)))
    return pd.DataFrame(rows, columns=list(ROBUSTNESS_COLUMNS))


def _expected(x: Floats, y: Floats, weights: Floats, owners: np.ndarray) -> Floats:
    """Return each run's height (draws, R) on the weighted line through all other architectures' runs.

    NaN where fewer than two different x carry it.
    """
    sums = [weights, weights * x, weights * y, weights * x * x, weights * x * y]
    totals = [values.sum(axis=1) for values in sums]
    heights = np.empty_like(x)
    for name in sorted(set(owners)):
        own = owners == name
        w, wx, wy, wxx, wxy = (
            total - values[:, own].sum(axis=1) for total, values in zip(totals, sums, strict=True)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = wxx / w - (wx / w) ** 2
            slope = np.where(spread > 1e-9, (wxy / w - wx * wy / w**2) / spread, np.nan)
            heights[:, own] = (wy / w + slope * -wx / w)[:, None] + slope[:, None] * x[:, own]
    return heights

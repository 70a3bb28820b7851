"""Intervals of effective robustness against a slow loop over draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from shiftcast.analysis.claims import Resampled
from shiftcast.analysis.confusion import Confusion
from shiftcast.analysis.robustness import robustness_intervals


def gauge(shares, n):
    return norm.ppf(np.clip(shares, 0.5 / n, 1 - 0.5 / n))


def slow(resampled, sets):
    """Draw by draw and run by run, with numpy's own weighted line."""
    confusion = resampled.confusion
    owners = [run.key.architecture for run in confusion.pool.scored]
    home, away = resampled.accuracies(confusion.source), [resampled.accuracies(name) for name in sets]
    n_id, n = (len(confusion.right(name)) for name in (confusion.source, sets[0]))
    values = np.full(home.shape, np.nan)
    for draw in range(resampled.draws):
        accuracy = np.mean([one[draw] for one in away], axis=0)
        x, y = gauge(home[draw], n_id), gauge(accuracy, n)
        for run, owner in enumerate(owners):
            used = [
                place
                for place, other in enumerate(owners)
                if other != owner and resampled.plain[place] and resampled.weights[draw, place] > 0
            ]
            if len({round(x[place], 12) for place in used}) < 2:
                continue
            weights = np.sqrt([resampled.weights[draw, p] / resampled.equal[p] for p in used])
            line = np.polyfit(x[used], y[used], 1, w=weights)
            values[draw, run] = 100 * (accuracy[run] - norm.cdf(np.polyval(line, x[run])))
    return values


def test_intervals_are_those_of_a_slow_loop(make_world):
    world = make_world()
    resampled = Resampled(Confusion(world.pool), draws=60)
    resampled.plain = np.ones(len(world.pool.scored), dtype=bool)
    name = resampled.confusion.natural[0]
    found = robustness_intervals(resampled, {"there": [name]}, ["there"])
    assert set(found["group"]) == {"there", ""}
    values = slow(resampled, [name])
    keys = [(run.key.architecture, run.key.recipe) for run in world.pool.scored]
    for row in found.to_dict("records"):
        own = values[:, [key == (row["architecture"], row["recipe"]) for key in keys]].mean(axis=1)
        low, high = np.quantile(own[np.isfinite(own)], [0.025, 0.975])
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-6)
        assert row["low"] < row["high"]

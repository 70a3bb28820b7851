"""Rank intervals: by hand, against simulation, and where nothing can be said."""

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.statistics import bootstrap_p, holm, rank_intervals


def bootstrapped(means, n=400, draws=500, seed=0):
    """Figures of J systems on n shared items, and their paired bootstrap."""
    random = np.random.RandomState(seed)
    items = random.normal(size=(n, 1)) + np.asarray(means) + 0.5 * random.normal(size=(n, len(means)))
    weights = random.multinomial(n, np.full(n, 1 / n), size=draws) / n
    return items.mean(axis=0), weights @ items


def test_what_is_far_apart_is_ranked_and_what_is_close_is_not():
    points, draws = bootstrapped([0.0, 1.0, 1.0, 3.0])
    found = rank_intervals(points, draws)
    assert found.low.tolist() == [1, 2, 2, 4]
    assert found.high.tolist() == [1, 3, 3, 4]
    assert found.below[0].tolist() == [False, True, True, True]
    assert found.tied_with_first().tolist() == [True, False, False, False]


def slow(points, draws, level):
    """The same, pair by pair."""
    count = len(points)
    pairs = [(j, k) for j in range(count) for k in range(count) if j < k]
    spread = {(j, k): np.std(draws[:, k] - draws[:, j], ddof=1) for j, k in pairs}
    middle = {pair: np.mean(draws[:, pair[1]] - draws[:, pair[0]]) for pair in pairs}
    largest = [max(abs(draw[k] - draw[j] - middle[j, k]) / spread[j, k] for j, k in pairs) for draw in draws]
    critical = np.quantile(largest, level)
    low, high = [1] * count, [count] * count
    for j, k in pairs:
        gap = points[k] - points[j]
        if abs(gap) > critical * spread[j, k]:
            better, worse = (j, k) if gap > 0 else (k, j)
            low[worse] += 1
            high[better] -= 1
    return low, high


def test_intervals_are_those_of_the_slow_form():
    points, draws = bootstrapped(np.linspace(0, 0.4, 7), draws=300, seed=3)
    found = rank_intervals(points, draws)
    assert (found.low.tolist(), found.high.tolist()) == slow(points, draws, 0.95)


def test_all_intervals_hold_together_as_often_as_they_promise():
    means = np.array([0.0, 0.05, 0.05, 0.1, 0.3])
    true_low = [1 + (means < m).sum() for m in means]
    true_high = [(means <= m).sum() for m in means]
    held = []
    for seed in range(120):
        found = rank_intervals(*bootstrapped(means, n=150, draws=300, seed=seed))
        inside = (found.low <= true_low) & (found.high >= true_high)
        held.append(inside.all())
    assert np.mean(held) > 0.9


def test_one_figure_has_one_rank():
    found = rank_intervals([3.0], np.full((200, 1), 3.0))
    assert (found.low.tolist(), found.high.tolist()) == ([1], [1])


def test_equal_figures_share_all_ranks():
    draws = np.repeat(np.random.RandomState(0).normal(size=(200, 1)), 3, axis=1)
    found = rank_intervals([0.0, 0.0, 0.0], draws)
    assert found.low.tolist() == [1, 1, 1]
    assert found.high.tolist() == [3, 3, 3]


def test_undefined_draws_are_left_out_and_few_are_refused():
    points, draws = bootstrapped([0.0, 2.0], draws=300)
    spoilt = draws.copy()
    spoilt[::10, 0] = np.nan
    assert rank_intervals(points, spoilt).high[0] == 1
    with pytest.raises(InvalidInputError, match="100 finite draws or more, got 30"):
        rank_intervals(points, draws[:30])
    with pytest.raises(InvalidInputError, match=r"got \(2,\) and \(300, 1\)"):
        rank_intervals(points, draws[:, :1])


def test_holm_by_hand():
    # The smallest of m is multiplied by m, the next by m - 1, and none may fall below an earlier one.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


def test_p_values_of_no_difference_are_even():
    values = []
    for seed in range(200):
        points, draws = bootstrapped([0.0, 0.0], n=100, draws=200, seed=seed)
        values.append(bootstrap_p(points[1] - points[0], draws[:, 1] - draws[:, 0]))
    assert 0.02 < np.mean(np.array(values) < 0.1) < 0.2
    assert bootstrap_p(9.0, np.random.RandomState(0).normal(size=999)) == pytest.approx(1 / 1000)

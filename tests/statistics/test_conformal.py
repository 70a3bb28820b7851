"""Group-weighted split conformal intervals: by hand, and by how often they hold."""

import numpy as np
import pytest
from scipy.stats import norm

from shiftcast.errors import InvalidInputError
from shiftcast.statistics import conformal_interval, conformal_reach, probit_residuals, supported_level


@pytest.mark.parametrize(
    ("groups", "level"),
    [(0, None), (3, None), (4, 0.8), (8, 0.8), (9, 0.9), (18, 0.9), (19, 0.95), (400, 0.95)],
)
def test_supported_levels(groups, level):
    assert supported_level(groups) == level


def test_reach_by_hand():
    # four groups: each weighs 1/5, so 80 % is the largest of all sizes and 60 % leaves out 1/5
    groups = [[0.1, -0.2], [0.3], [-0.4, 0.05, 0.0, 0.0], [0.9]]
    assert conformal_reach(groups, 0.8) == 0.9
    assert conformal_reach(groups, 0.6) == 0.4
    # up to 0.2: 2/10 + 3/20 = 0.35; with 0.3: 0.55
    assert conformal_reach(groups, 0.35) == 0.2
    assert conformal_reach(groups, 0.36) == 0.3


def test_a_group_weighs_the_same_however_many_rows_it_has():
    few = [[0.1], [0.2], [0.3], [0.4], [5.0]]
    many = [[0.1] * 100, [0.2], [0.3], [0.4] * 7, [5.0]]
    for level in (0.2, 0.5, 0.65, 0.8):
        assert conformal_reach(few, level) == conformal_reach(many, level)


def test_levels_beyond_the_groups_are_refused():
    with pytest.raises(InvalidInputError, match=r"4 groups support levels up to 0\.8, got 0\.9"):
        conformal_reach([[0.1]] * 4, 0.9)
    with pytest.raises(InvalidInputError, match="at least one residual in each group"):
        conformal_reach([[0.1], []], 0.5)


def test_interval_is_even_on_the_probit_scale():
    low, high, extended = conformal_interval(0.8, 1000, 0.5)
    centre = norm.ppf(0.8)
    assert low == pytest.approx(norm.cdf(centre - 0.5), abs=1e-6)
    assert high == pytest.approx(norm.cdf(centre + 0.5), abs=1e-6)
    assert not extended


@pytest.mark.parametrize(("accuracy", "n"), [(0.0, 50), (1.0, 50), (1.0, 1)])
def test_interval_is_extended_to_hold_what_it_is_around(accuracy, n):
    low, high, extended = conformal_interval(accuracy, n, 0.01)
    assert low <= accuracy <= high
    assert extended


@pytest.mark.parametrize("accuracy", [0.0, 0.3, 1.0])
def test_an_interval_learned_without_any_error_has_some_width(accuracy):
    low, high, _ = conformal_interval(accuracy, 10_000_000, 0.0)
    assert 0 <= low <= accuracy <= high <= 1
    assert f"{100 * low:.2f}" != f"{100 * high:.2f}"


def test_residuals_clip_each_share_by_its_own_images():
    found = probit_residuals([1.0, 0.5], [0.5, 0.0], [10, 100])
    np.testing.assert_allclose(found, [norm.ppf(0.95), -norm.ppf(0.005)])


@pytest.mark.parametrize(("groups", "level"), [(4, 0.8), (9, 0.9), (19, 0.95)])
def test_intervals_hold_as_often_as_they_say(groups, level):
    """Shifts drawn alike, rows of a shift alike too: a new shift is covered at the level or above."""
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        middle = random.normal(size=groups + 1)  # how far a shift throws all models off
        rows = [middle[g] + random.normal(size=random.integers(1, 12)) / 2 for g in range(groups)]
        new = middle[-1] + random.normal() / 2
        hits += abs(new) <= conformal_reach(rows, level)
    assert level - 0.02 <= hits / 2000


def test_rows_as_if_independent_would_not_hold():
    """What the weights are for: pooling rows makes many rows of few shifts look like much evidence."""
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        middle = random.normal(size=5)
        rows = np.concatenate([middle[g] + random.normal(size=100) / 10 for g in range(4)])
        hits += abs(middle[-1] + random.normal() / 10) <= np.quantile(np.abs(rows), 0.8)
    assert hits / 1000 < 0.79

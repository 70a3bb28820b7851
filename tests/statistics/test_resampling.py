"""The bootstrap over images: sums, weights, and whether its intervals cover what they say."""

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.statistics import (
    draw_weights,
    drawn_sums,
    effective_count,
    group_sums,
    image_groups,
    percentile_interval,
)


def test_images_are_shared_out_in_equal_parts():
    groups = image_groups(1050, seed=1)
    counts = np.bincount(groups)
    assert len(counts) == 200
    assert set(counts) == {5, 6}
    np.testing.assert_array_equal(groups, image_groups(1050, seed=1))
    assert (groups != image_groups(1050, seed=2)).any()
    assert len(np.unique(image_groups(7, seed=0))) == 7


def test_clusters_are_groups_of_their_own():
    np.testing.assert_array_equal(image_groups(4, 0, np.array([9, 2, 9, 5])), [2, 0, 2, 1])


@pytest.mark.parametrize(("n", "clusters"), [(0, None), (3, np.array([1, 2]))])
def test_groups_refuse_what_does_not_fit(n, clusters):
    with pytest.raises(InvalidInputError, match="image_groups"):
        image_groups(n, 0, clusters)


def test_sums_are_those_of_a_loop():
    random = np.random.RandomState(0)
    groups, values = image_groups(103, 3), random.normal(size=(103, 4))
    sums = group_sums(groups, values)
    for group in range(groups.max() + 1):
        np.testing.assert_allclose(sums[group], values[groups == group].sum(axis=0))
    np.testing.assert_allclose(group_sums(groups, values[:, 0])[:, 0], sums[:, 0])


def test_a_group_without_images_has_sums_of_nothing():
    groups = np.array([0, 3, 3])
    np.testing.assert_array_equal(group_sums(groups, np.array([1.0, 2.0, 4.0]), 5)[:, 0], [1, 0, 0, 6, 0])


def test_weights_draw_as_many_groups_as_there_are():
    weights = draw_weights(70, 500, seed=4)
    assert weights.shape == (500, 70)
    assert (weights.sum(axis=1) == 70).all()
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_array_equal(weights, draw_weights(70, 500, seed=4))
    stream = np.random.RandomState(4).multinomial(70, np.full(70, 1 / 70), size=2500)
    np.testing.assert_array_equal(draw_weights(70, 2500, seed=4), stream)  # chunks change nothing
    sums = np.arange(140.0).reshape(70, 2)
    np.testing.assert_array_equal(drawn_sums(sums, 2500, seed=4), stream @ sums)


def test_intervals_leave_out_what_is_undefined():
    draws = np.arange(1001.0)
    assert percentile_interval(draws) == pytest.approx((25, 975))
    few = draws.copy()
    few[:50] = np.nan
    assert np.isfinite(percentile_interval(few)).all()
    many = draws.copy()
    many[:200] = np.nan
    assert np.isnan(percentile_interval(many)).all()


@pytest.mark.parametrize("size", [1, 10])
def test_intervals_of_a_mean_cover_the_truth(size):
    """Also where images come in clusters that are right or wrong together."""
    random = np.random.RandomState(5)
    weights, covered = draw_weights(200, 400, seed=6), 0
    for _ in range(400):
        right = np.repeat(random.uniform(size=2000 // size) < 0.7, size)
        clusters = np.repeat(np.arange(2000 // size), size) if size > 1 else None
        totals = weights @ group_sums(
            image_groups(2000, 7, clusters), np.column_stack([np.ones(2000), right])
        )
        low, high = percentile_interval(totals[:, 1] / totals[:, 0])
        covered += low <= 0.7 <= high
    assert 0.915 < covered / 400 < 0.98


def test_images_of_one_object_that_are_right_together_count_once():
    random = np.random.RandomState(2)
    clusters = np.repeat(np.arange(400), 5)
    together = np.repeat(random.uniform(size=400) < 0.6, 5)
    alone = random.uniform(size=2000) < 0.6
    assert effective_count(together, clusters) == pytest.approx(399)
    assert effective_count(alone, clusters) == pytest.approx(2000, rel=0.15)
    assert effective_count(alone, None) == 2000
    assert effective_count(np.ones(2000, dtype=bool), clusters) == 400
    assert effective_count(np.array([True, False]), np.array([3, 3])) == 1


def test_the_effective_count_gives_the_spread_over_resampled_objects():
    random = np.random.RandomState(3)
    clusters = np.sort(random.randint(0, 150, 1500))
    right = random.uniform(size=1500) < random.beta(2, 1, size=150)[clusters]
    accuracy, groups = right.mean(), image_groups(1500, 0, clusters)
    totals = draw_weights(groups.max() + 1, 4000, 1) @ group_sums(
        groups, np.column_stack([np.ones(1500), right])
    )
    spread = (totals[:, 1] / totals[:, 0]).std()
    expected = np.sqrt(accuracy * (1 - accuracy) / effective_count(right, clusters))
    assert expected == pytest.approx(spread, rel=0.08)

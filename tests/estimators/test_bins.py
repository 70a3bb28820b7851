"""The mathematics of partitions: bins, merging, estimate, variance and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast.estimators.bins import bin_index, merge_bins, partition_accuracy, partition_variance


def test_bins_open_at_their_lower_edge_and_the_last_holds_the_largest_score() -> None:
    scores = np.array([0.0, 0.0999, 0.1, 0.3, 0.7, 0.95, 1.0])
    assert bin_index(scores, 1.0, 10).tolist() == [0, 0, 1, 3, 7, 9, 9]
    assert bin_index(np.array([0.0, 0.44, 0.45, 0.9]), 0.9, 2).tolist() == [0, 0, 1, 1]
    assert bin_index(scores, 1.0, 1).tolist() == [0] * 7


@pytest.mark.parametrize(
    ("counts", "home"),
    [
        ([50, 30, 25, 20], [0, 1, 2, 3]),
        ([50, 30, 25, 19], [0, 1, 2, 2]),
        ([50, 15, 10, 5], [0, 1, 1, 1]),  # 5 joins 10, 15 joins 15: thirty stand
        ([50, 5, 30, 0], [0, 0, 2, 2]),
        ([5, 30, 40, 50], [1, 1, 2, 3]),  # the least confused bin can only join upwards
        ([5, 0, 4, 50], [3, 3, 3, 3]),
        ([5, 0, 4, 6], [0, 0, 0, 0]),  # too few for any bin: one bin, which is NoShift
    ],
)
def test_merging_by_hand(counts: list[int], home: list[int]) -> None:
    assert merge_bins(np.array(counts), 20).tolist() == home


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 30))
def test_merged_bins_are_large_enough_or_alone(counts: list[int], min_count: int) -> None:
    home = merge_bins(np.array(counts), min_count)
    held = np.bincount(home, weights=counts, minlength=len(counts))
    assert held.sum() == sum(counts)
    standing = sorted(set(home.tolist()))
    assert len(standing) == 1 or all(held[b] >= min_count for b in standing)
    assert (np.diff(home) >= 0).all()  # neighbours only


def test_estimate_and_variance_by_hand() -> None:
    target, source, right = np.array([10, 30]), np.array([80, 20]), np.array([76, 10])
    assert partition_accuracy(target, source, right) == pytest.approx(0.25 * 0.95 + 0.75 * 0.5)
    a, b = 76.5 / 81, 10.5 / 21
    learning = 0.0625 * a * (1 - a) / 80 + 0.5625 * b * (1 - b) / 20
    noise = (0.25 * a * (1 - a) + 0.75 * b * (1 - b)) / 40
    drawing = (0.25 * a**2 + 0.75 * b**2 - (0.25 * a + 0.75 * b) ** 2) / 40
    assert partition_variance(target, source, right) == pytest.approx(learning + noise)
    assert partition_variance(target, source, right, "population") == pytest.approx(learning + drawing)


def test_bins_without_source_images_are_passed_over() -> None:
    merged = np.array([10, 0, 30]), np.array([80, 0, 20]), np.array([76, 0, 10])
    plain = np.array([10, 30]), np.array([80, 20]), np.array([76, 10])
    assert partition_accuracy(*merged) == partition_accuracy(*plain)
    assert partition_variance(*merged) == pytest.approx(partition_variance(*plain))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_moving_mass_to_a_less_accurate_bin_lowers_the_estimate(seed: int) -> None:
    random = np.random.default_rng(seed)
    source = random.integers(20, 200, 5)
    right = random.binomial(source, random.random(5))
    target = random.integers(1, 50, 5)
    order = np.argsort(right / source)
    worst, best = order[0], order[-1]
    moved = target.copy()
    moved[[best, worst]] += (-1, 1)
    difference = partition_accuracy(moved, source, right) - partition_accuracy(target, source, right)
    gap = right[worst] / source[worst] - right[best] / source[best]
    assert difference == pytest.approx(gap / target.sum(), abs=1e-12)


def covered(estimand: str, draws: int = 3000) -> dict[str, float]:
    """How often the interval holds the accuracy on the m images, and the population's."""
    random = np.random.default_rng(1)
    accuracy = np.array([0.99, 0.95, 0.85, 0.6, 0.4])
    source_mass, target_mass = np.array([0.7, 0.12, 0.08, 0.06, 0.04]), np.array([0.5, 0.15, 0.13, 0.12, 0.1])
    n, m = 10_000, 2000
    hits = {"images": 0, "population": 0}
    for _ in range(draws):
        source, target = random.multinomial(n, source_mass), random.multinomial(m, target_mass)
        right = random.binomial(source, accuracy)
        estimate = partition_accuracy(target, source, right)
        half = 1.959964 * partition_variance(target, source, right, estimand) ** 0.5
        hits["images"] += abs(estimate - random.binomial(target, accuracy).sum() / m) <= half
        hits["population"] += abs(estimate - target_mass @ accuracy) <= half
    return {key: hit / draws for key, hit in hits.items()}


def test_intervals_cover_what_they_are_for_and_only_that() -> None:
    assert covered("images")["images"] == pytest.approx(0.95, abs=0.012)
    population = covered("population")
    assert population["population"] == pytest.approx(0.95, abs=0.012)
    assert population["images"] < 0.9  # the wrong formula for the accuracy on these images


def test_interval_covers_small_sources_without_errors() -> None:
    """Smoothing: 30 source images, all right, must not promise a target without errors."""
    random = np.random.default_rng(2)
    hits, draws = 0, 3000
    for _ in range(draws):
        right = random.binomial(30, 0.97)
        counts = np.array([200]), np.array([30]), np.array([right])
        half = 1.959964 * partition_variance(*counts) ** 0.5
        hits += abs(partition_accuracy(*counts) - random.binomial(200, 0.97) / 200) <= half
    assert hits / draws > 0.93

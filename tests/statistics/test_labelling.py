"""Few labels: allocation, planned widths, and the answer of labels, against figures worked out by hand."""

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.statistics import wilson
from shiftcast.statistics.labelling import (
    allocate,
    labels_needed,
    measured,
    planned_half_width,
    strata_of,
)


def test_strata_hold_equally_many_images_in_order_of_their_chances():
    chances = np.linspace(1, 0, 23)
    strata = strata_of(chances, 50)
    assert np.bincount(strata).tolist() == [3, 2, 2, 3, 2, 2, 3, 2, 2, 2]
    assert (np.diff(strata) <= 0).all()
    assert strata_of(chances, 20).max() == 3  # five labels a stratum
    assert strata_of(chances, 4).max() == 0


def test_labels_go_by_size_and_spread_with_a_fifth_spread_evenly():
    # S = 0.5 and 0.3: Neyman's shares 5/8 and 3/8, mixed with 1/2 each.
    assert allocate(np.array([500, 500]), np.array([0.5, 0.9]), 100).tolist() == [60, 40]


def test_no_stratum_is_left_out_or_gets_more_than_it_has():
    counts = allocate(np.array([1000, 1000, 3]), np.array([0.5, 0.5, 0.999]), 100)
    assert counts.tolist() == [49, 49, 2]
    assert allocate(np.array([4, 1000]), np.array([0.5, 1.0]), 900).tolist() == [4, 896]
    assert allocate(np.array([5, 5]), np.array([1.0, 1.0]), 10).tolist() == [5, 5]


@pytest.mark.parametrize("labels", [1, 3, 7, 50, 99, 100])
def test_all_labels_are_given_out(labels):
    random = np.random.default_rng(labels)
    chances = random.beta(5, 1, size=100)
    strata = strata_of(chances, labels)
    sizes = np.bincount(strata)
    counts = allocate(sizes, np.bincount(strata, chances) / sizes, labels)
    assert counts.sum() == labels
    assert (counts <= sizes).all()
    assert (counts >= min(labels, 2)).all()


def test_one_stratum_without_a_proxy_is_wilsons_interval():
    right = np.repeat([1.0, 0.0], [70, 30])
    found = measured(right, np.full(100, 0.5), np.zeros(100, dtype=int), np.array([10**12]), 0.5)
    assert (found.low, found.high) == pytest.approx(wilson(70, 100), abs=1e-9)
    assert found.effective == pytest.approx(100)
    assert found.weight == 0


def test_strata_count_by_their_images():
    # 100 images at 9 of 10, 300 at 5 of 10: 0.25 * 0.9 + 0.75 * 0.5; variances s^2 = 0.1 and 0.25 / 0.9.
    right = np.array([1.0] * 9 + [0.0] + [1.0, 0.0] * 5)
    strata = np.repeat([0, 1], 10)
    found = measured(right, np.full(20, 0.5), strata, np.array([100, 300]), 0.5)
    assert found.accuracy == pytest.approx(0.6)
    variance = 0.25**2 * 0.1 * (1 / 10 - 1 / 100) + 0.75**2 * (0.25 / 0.9) * (1 / 10 - 1 / 300)
    ratio = variance / (0.6 * 0.4)
    n = 1 + 1 / ratio
    assert n < 20  # no better than twenty uniform labels, so that nothing is cut
    assert (found.low, found.high) == pytest.approx(wilson(0.6 * n, n))
    assert found.effective == pytest.approx((1 + ratio) / (ratio + 1 / 400))


def test_a_proxy_that_tells_right_from_wrong_counts_and_one_that_does_not_is_refused():
    random = np.random.default_rng(0)
    chances = random.uniform(size=20_000)
    right = (random.uniform(size=20_000) < chances).astype(float)
    rows, none = random.permutation(20_000)[:200], np.zeros(200, dtype=int)
    good = measured(right[rows], chances[rows], none, np.array([20_000]), float(chances.mean()))
    assert 0.6 < good.weight <= 1
    assert good.effective > 260  # R^2 is a third: 300 by the formula
    bad = measured(right[rows], random.uniform(size=200), none, np.array([20_000]), 0.5)
    assert bad.weight == 0
    assert bad.accuracy == pytest.approx(right[rows].mean())
    opposite = measured(right[rows], 1 - chances[rows], none, np.array([20_000]), 0.5)
    assert opposite.weight == 0


def test_below_thirty_labels_no_interval_is_narrower_than_wilsons():
    right = np.repeat([1.0, 0.0], 10)
    strata = np.repeat([0, 1], 10)  # strata tell all: their own variances are 0
    found = measured(right, right, strata, np.array([10**9, 10**9]), 0.5)
    assert (found.low, found.high) == pytest.approx(wilson(10, 20), abs=1e-6)
    assert found.weight == 0


def test_all_right_all_wrong_one_label_and_all_labels():
    many, none = np.array([10**9]), np.zeros(40, dtype=int)
    ones = measured(np.ones(40), np.full(40, 0.9), none, many, 0.9)
    assert (ones.low, ones.high) == (pytest.approx(wilson(40, 40)[0]), 1.0)
    zeros = measured(np.zeros(40), np.full(40, 0.9), none, many, 0.9)
    assert (zeros.low, zeros.high) == (0.0, pytest.approx(wilson(0, 40)[1]))
    single = measured(np.ones(1), np.ones(1), none[:1], many, 0.9)
    assert (single.low, single.high) == pytest.approx(wilson(1, 1), abs=1e-6)
    everything = measured(np.array([1.0, 0, 0, 1]), np.ones(4), none[:4], np.array([4]), 1.0)
    assert (everything.accuracy, everything.low, everything.high) == (0.5, 0.5, 0.5)
    with pytest.raises(InvalidInputError, match="no label in stratum 1"):
        measured(np.ones(2), np.ones(2), none[:2], np.array([5, 5]), 0.9)


def test_the_plan_is_wilsons_for_uniform_draws_and_less_in_strata():
    chances = np.repeat([0.95, 0.45], 50_000)
    assert labels_needed(np.full(10**6, 0.7), 0.05, stratified=False) == pytest.approx(320, abs=2)
    uniform, strata = (labels_needed(chances, 0.02, stratified) for stratified in (False, True))
    # Variances 0.7 * 0.3 against (0.5 * (0.218 + 0.4975))^2; a fifth of the labels is spread evenly.
    assert strata / uniform == pytest.approx(0.128 / 0.21, rel=0.03)
    assert planned_half_width(chances, strata) <= 0.02 < planned_half_width(chances, strata - 1)
    assert labels_needed(np.full(50, 0.5), 0.001) == 50


def test_intervals_hold_and_are_narrower_in_strata():
    random = np.random.default_rng(1)
    chances = random.beta(2, 1, size=3000)
    right = (random.uniform(size=3000) < chances).astype(float)
    strata = strata_of(chances, 100)
    sizes = np.bincount(strata)
    counts = allocate(sizes, np.bincount(strata, chances) / sizes, 100)
    held, effective = [], []
    for _ in range(400):
        rows = np.concatenate(
            [random.permutation(np.flatnonzero(strata == h))[:n] for h, n in enumerate(counts)]
        )
        found = measured(right[rows], chances[rows], strata[rows], sizes, float(chances.mean()))
        held.append(found.low <= right.mean() <= found.high)
        effective.append(found.effective)
    assert 0.92 <= np.mean(held) <= 0.98  # three standard errors around 95 %
    assert np.median(effective) > 115


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_few_errors_never_give_narrower_intervals_than_as_many_uniform_labels(wrong):
    """32 labels in ten strata, one label alone in each of nine: no variance is known there."""
    strata = np.repeat(np.arange(10), [23, *[1] * 9])
    right = np.ones(32)
    right[:wrong] = 0
    chances = np.linspace(0.5, 1, 32)
    found = measured(right, chances, strata, np.full(10, 200), float(chances.mean()))
    low, high = wilson(32 * found.accuracy, 32)
    assert found.weight == 0
    assert found.high - found.low >= 0.98 * (high - low)  # a draw from 2000 images, not from any number
    assert found.low <= low + 0.002


@pytest.mark.parametrize(("accuracy", "images"), [(0.99, 50), (0.999, 50), (0.9985, 200)])
@pytest.mark.parametrize("empty", [0.0, 0.4])
def test_intervals_hold_where_errors_are_rare_and_labels_were_left_out(accuracy, images, empty):
    """Simulated: predicted chances are the true ones, of which most lie near 1; 200 samples."""
    random = np.random.default_rng(images)
    chances = random.beta(3 * accuracy, 3 * (1 - accuracy), 2000)
    right = (random.random(2000) < chances).astype(float)
    strata = strata_of(chances, images)
    sizes = np.bincount(strata)
    counts = allocate(sizes, np.bincount(strata, chances) / sizes, images)
    held = drawn = 0
    for _ in range(200):
        rows = np.concatenate(
            [random.choice(np.flatnonzero(strata == h), n, replace=False) for h, n in enumerate(counts)]
        )
        rows = rows[random.random(len(rows)) >= empty]
        if len(np.unique(strata[rows])) == len(sizes):
            found = measured(right[rows], chances[rows], strata[rows], sizes, float(chances.mean()))
            held += found.low <= right.mean() <= found.high
            drawn += 1
    assert drawn > 20
    assert held / drawn >= 0.93

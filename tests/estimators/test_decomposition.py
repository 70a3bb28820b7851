"""The drop taken apart over bins, by hand and as identities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import ConfusionPartition, decompose_drop
from shiftcast.testing import make_predictions


def images(right: list[int], wrong: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Bins and correctness of images, given counts of right and wrong ones in each bin."""
    bins = [b for b, count in enumerate(right) for _ in range(count)]
    errors = [b for b, count in enumerate(wrong) for _ in range(count)]
    return np.array(bins + errors), np.array([True] * len(bins) + [False] * len(errors))


def test_by_hand() -> None:
    # source: w (0.8, 0.2), a (0.875, 0.5), a_ID 0.8; target: w' (0.4, 0.6), a' (0.75, 1/3), a_OOD 0.5
    parts = decompose_drop(*images([7, 1], [1, 1]), *images([3, 2], [1, 4]), bins=2)
    assert parts.drop == pytest.approx(0.3)
    assert parts.mass_shift == pytest.approx(0.4 * 0.875 - 0.4 * 0.5)
    assert parts.within_shift == pytest.approx(0.4 * 0.125 + 0.6 * (0.5 - 1 / 3))
    assert parts.error_mass == pytest.approx([0.1 - 0.1, 0.4 - 0.1])
    assert parts.shares == pytest.approx([0, 1])
    assert parts.centred == pytest.approx([0.4 * 0.075 + 0.05, -0.4 * -0.3 + 0.1])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_identities(seed: int) -> None:
    random = np.random.default_rng(seed)
    source, target = random.integers(0, 4, 200), random.integers(0, 4, 150)
    right, right_target = random.random(200) < 0.9, random.random(150) < 0.6
    parts = decompose_drop(source, right, target, right_target, 4)
    assert parts.drop == pytest.approx(right.mean() - right_target.mean())
    for total in (parts.mass_shift + parts.within_shift, parts.error_mass.sum(), parts.centred.sum()):
        assert total == pytest.approx(parts.drop, abs=1e-12)


def test_within_shift_is_the_signed_error_of_the_partition() -> None:
    source, target = make_predictions(2000, seed=1), make_predictions(1500, seed=2, shift=0.8)
    fitted = ConfusionPartition().fit(source)
    parts = decompose_drop(
        fitted.bins_of(source), source.correct, fitted.bins_of(target), target.correct, fitted.bins
    )
    error = fitted.predict(target).accuracy - target.accuracy
    assert parts.within_shift == pytest.approx(error, abs=1e-6)


def test_empty_target_bins_and_absent_drops() -> None:
    parts = decompose_drop(*images([7, 1], [1, 1]), *images([4, 0], [1, 0]), bins=2)
    assert parts.drop == 0
    assert parts.shares is None
    assert parts.centred.sum() == pytest.approx(0)


def test_refusals() -> None:
    source = images([7, 0], [1, 0])
    with pytest.raises(InvalidInputError, match=r"target has images in bins \[1\]"):
        decompose_drop(*source, *images([1, 1], [1, 1]), bins=2)
    with pytest.raises(InvalidInputError, match=r"source bins in 0\.\.1, got 0\.\.2"):
        decompose_drop(*images([7, 1, 1], [0, 0, 0]), *source, bins=2)
    with pytest.raises(InvalidInputError, match="one bin and one correctness for each target image"):
        decompose_drop(*source, np.array([0]), np.array([True, False]), bins=2)

"""NoShift and MeanShift worked by hand, and how often their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators import MeanShift, NoShift
from shiftcast.predictions import Predictions


def set_of(right: int, n: int, name: str = "source", group: str = "") -> Predictions:
    """Two classes, always class 0 predicted, the first `right` images rightly."""
    labels = np.array([0] * right + [1] * (n - right))
    return Predictions(name, np.tile([2.0, 0.0], (n, 1)), group=group, labels=labels)


OTHERS = [
    set_of(60, 100, "fog-1", "fog"),
    set_of(40, 100, "fog-5", "fog"),
    set_of(70, 100, "snow-1", "snow"),
]


def test_no_shift_is_source_accuracy_with_one_bin_interval() -> None:
    estimate = NoShift().fit(set_of(90, 100)).predict(set_of(0, 400))
    a = 90.5 / 101
    half = 1.959964 * (a * (1 - a) * (1 / 100 + 1 / 400)) ** 0.5
    assert estimate.accuracy == 0.9
    assert (estimate.low, estimate.high) == pytest.approx((0.9 - half, 0.9 + half), abs=1e-6)


def test_no_shift_covers_when_nothing_shifted() -> None:
    random = np.random.default_rng(0)
    draws = zip(random.binomial(500, 0.9, 2000), random.binomial(300, 0.9, 2000), strict=True)
    fitted = {right: NoShift().fit(set_of(right, 500)) for right in range(400, 501)}
    target = set_of(0, 300)
    covered = []
    for right, actual in draws:
        estimate = fitted[int(right)].predict(target)
        covered.append(estimate.low <= actual / 300 <= estimate.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_mean_shift_averages_within_groups_then_over_them() -> None:
    # fog drops 0.9 - (0.6 + 0.4) / 2 = 0.4, snow 0.2: mean drop 0.3, so 0.6
    estimate = MeanShift().fit(set_of(90, 100), OTHERS).predict(set_of(0, 200, "rain"))
    assert estimate.accuracy == 0.6
    assert estimate.diagnostics["mean_drop"] == pytest.approx(0.3)
    assert estimate.diagnostics["groups"] == 2


def test_mean_shift_interval_by_hand() -> None:
    def error(right: int, n: int = 100) -> float:
        share = (right + 0.5) / (n + 1)
        return float(np.sqrt(share * (1 - share) / n))

    estimate = MeanShift().fit(set_of(90, 100), OTHERS).predict(set_of(0, 200, "rain"))
    fog = (error(60) + error(40)) / 2
    variance = (fog**2 + error(70) ** 2) / 4 + error(120, 200) ** 2
    assert estimate.high - 0.6 == pytest.approx(1.959964 * variance**0.5, abs=1e-6)


def test_mean_shift_needs_labelled_others_of_other_groups() -> None:
    with pytest.raises(RequirementError, match="others"):
        MeanShift().fit(set_of(90, 100))
    with pytest.raises(RequirementError, match="'snow-1' has none"):
        MeanShift().fit(set_of(90, 100), [OTHERS[0], OTHERS[2].without_labels()])
    with pytest.raises(InvalidInputError, match="group 'fog', whose labels were used in fit"):
        MeanShift().fit(set_of(90, 100), OTHERS).predict(set_of(0, 50, "fog-3", "fog"))

"""Scaled drops against slow loops, worlds in which a factor helps and in which it harms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import AgreementShift, DifferenceOfConfidences, NoShift, Scaled
from shiftcast.testing import make_predictions

SOURCE = make_predictions(900, seed=1, name="source")
TARGET = make_predictions(700, seed=2, shift=0.8, name="target")
OTHERS = [
    make_predictions(
        300 + 50 * i, seed=3 + i, shift=i / 4, name=f"set-{i}", group=("fog", "snow", "blur")[i % 3]
    )
    for i in range(7)
]


def gauge(share, n):
    return norm.ppf(min(max(share, 0.5 / n), 1 - 0.5 / n))


def slow_factor(plain, others):
    base = gauge(SOURCE.accuracy, len(SOURCE))
    above = below = 0.0
    for other in others:
        drop = gauge(plain.predict(other).accuracy, len(other)) - base
        above += drop * (gauge(other.accuracy, len(other)) - base)
        below += drop**2
    return above / below


@pytest.mark.parametrize("estimator", [DifferenceOfConfidences(), AgreementShift()])
def test_answers_are_those_of_slow_loops(estimator):
    plain = estimator.__class__().fit(SOURCE)
    factor, base = slow_factor(plain, OTHERS), gauge(SOURCE.accuracy, 900)
    answer = Scaled(estimator).fit(SOURCE, OTHERS).predict(TARGET)
    expected = norm.cdf(base + factor * (gauge(plain.predict(TARGET).accuracy, 700) - base))
    assert answer.accuracy == pytest.approx(expected, abs=1e-6)
    assert answer.diagnostics["factor"] == pytest.approx(factor)
    left = [slow_factor(plain, [o for o in OTHERS if o.group != g]) for g in ("fog", "snow", "blur")]
    assert answer.diagnostics["factor_error"] == pytest.approx(
        (2 / 3 * sum((np.array(left) - np.mean(left)) ** 2)) ** 0.5
    )


def test_the_order_of_labelled_sets_changes_nothing():
    first, second = (
        Scaled(AgreementShift()).fit(SOURCE, sets).predict(TARGET) for sets in (OTHERS, OTHERS[::-1])
    )
    assert first.accuracy == pytest.approx(second.accuracy, abs=2e-6)


def test_where_confidence_always_shows_half_of_the_drop_the_factor_repairs_it():
    """A model that stays sure of itself: nearly the same part of each drop is hidden from its confidence."""
    source, target, *others = (
        make_predictions(6000, seed=20 + i, shift=shift, name=f"set-{i}")
        for i, shift in enumerate((0.0, 1.0, 0.5, 0.8, 1.2))
    )
    calm = [p.__class__(p.name, p.logits * 3, labels=p.labels) for p in (source, target, *others)]
    plain = DifferenceOfConfidences().fit(calm[0]).predict(calm[1])
    scaled = Scaled(DifferenceOfConfidences()).fit(calm[0], calm[2:]).predict(calm[1])
    assert plain.accuracy - target.accuracy > 0.05
    assert abs(scaled.accuracy - target.accuracy) < 0.02
    assert scaled.flagged == ""


def test_a_factor_learned_where_labels_are_wrong_harms_elsewhere():
    """Errors that no output shows, on the labelled sets alone, are taken for what confidence hides."""
    random = np.random.default_rng(0)
    spoilt = [
        o.with_labels(np.where(random.random(len(o)) < 0.3, random.integers(0, 10, len(o)), o.labels))
        for o in OTHERS
    ]
    honest = Scaled(AgreementShift()).fit(SOURCE, OTHERS).predict(TARGET)
    misled = Scaled(AgreementShift()).fit(SOURCE, spoilt).predict(TARGET)
    assert misled.accuracy < honest.accuracy - 0.05


def test_drops_that_teach_no_factor_stay_as_they_are_and_the_target_s_own_group_is_refused():
    plain = Scaled(NoShift()).fit(SOURCE, OTHERS).predict(TARGET)
    assert (plain.accuracy, plain.diagnostics["factor"]) == (pytest.approx(SOURCE.accuracy, abs=1e-6), 1.0)
    with pytest.raises(InvalidInputError, match="belongs to group 'fog'"):
        Scaled(AgreementShift()).fit(SOURCE, OTHERS).predict(OTHERS[0])
    single = Scaled(AgreementShift()).fit(SOURCE, OTHERS[1:2]).predict(TARGET)
    assert single.diagnostics["factor_error"] is None

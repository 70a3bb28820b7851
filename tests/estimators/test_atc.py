"""ATC against brute force in exact arithmetic, ties and saturation included."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast.estimators import ATC
from shiftcast.estimators.atc import (
    find_threshold,
    max_confidence_score,
    negative_entropy_score,
    passing_share,
)
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions


def brute_force(source: list[int], right: int, target: list[int]) -> Fraction:
    """The formula of the estimators page over exact fractions."""
    n, m = len(source), len(target)
    if right == n:
        return Fraction(1)
    if right == 0:
        return Fraction(0)
    t = sorted(source, reverse=True)[right - 1]
    phi = Fraction(right - sum(s > t for s in source), sum(s == t for s in source))
    return Fraction(sum(s > t for s in target), m) + phi * Fraction(sum(s == t for s in target), m)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
    st.lists(st.integers(-1, 7), min_size=1, max_size=30),
    st.data(),
)
def test_against_brute_force_with_many_ties(
    source: list[int], target: list[int], data: st.DataObject
) -> None:
    right = data.draw(st.integers(0, len(source)))
    threshold, tied = find_threshold(np.array(source, dtype=float), right)
    share = passing_share(np.array(target, dtype=float), threshold, tied).mean()
    assert share == pytest.approx(float(brute_force(source, right, target)), abs=1e-12)
    # and the source itself: exactly as many pass as are right
    own = passing_share(np.array(source, dtype=float), threshold, tied).mean()
    assert own == pytest.approx(right / len(source), abs=1e-12)


@pytest.mark.parametrize("score", ["max_confidence", "negative_entropy"])
def test_estimator_against_brute_force_on_ranks(score: str) -> None:
    source, target = make_predictions(200, seed=1), make_predictions(150, seed=2, shift=1.0)

    def plain(p: Predictions) -> list[float]:
        rows = p.probabilities.tolist()
        if score == "max_confidence":
            return [max(row) for row in rows]
        return [sum(v * np.log(v) for v in row) for row in rows]

    expected = brute_force(plain(source), int(source.correct.sum()), plain(target))
    assert ATC(score=score).fit(source).predict(target).accuracy == pytest.approx(float(expected), abs=1e-6)


def test_max_confidence_orders_as_the_largest_probability_does() -> None:
    p = make_predictions(500, seed=3)
    by_score, by_probability = np.argsort(max_confidence_score(p)), np.argsort(p.probabilities.max(axis=1))
    assert np.array_equal(by_score, by_probability)


def test_max_confidence_by_hand() -> None:
    # z = (2, 0, 0): sum over the others exp(-2) + exp(-2)
    p = Predictions("p", np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]]))
    assert max_confidence_score(p) == pytest.approx([2 - np.log(2), -np.log(1 + np.exp(-1))], abs=1e-9)


def test_max_confidence_does_not_saturate() -> None:
    # every largest probability below is exactly 1.0 in float64, and exp(-2000) is 0.0
    margins = np.array([40.0, 50.0, 800.0, 2000.0, 100_000.0])
    p = Predictions("p", np.stack([margins, np.zeros(5), np.zeros(5)], axis=1))
    assert set(p.probabilities.max(axis=1)) == {1.0}
    assert (np.diff(max_confidence_score(p)) > 0).all()
    source = Predictions("s", p.logits, labels=np.array([1, 1, 0, 0, 0]))
    target = Predictions("t", p.logits[[0, 1, 1, 2]])
    assert ATC().fit(source).predict(target).accuracy == 0.25


def test_order_of_classes_makes_no_tie_and_breaks_none() -> None:
    logits = make_predictions(200, 10, seed=4).logits
    shuffled = np.random.default_rng(0).permuted(logits, axis=1)
    for score in (max_confidence_score, negative_entropy_score):
        assert np.array_equal(score(Predictions("a", logits)), score(Predictions("b", shuffled)))


def test_negative_entropy_takes_zero_times_its_logarithm_for_zero() -> None:
    p = Predictions("p", np.array([[1.0, 0.0], [0.5, 0.5]]), kind="probabilities")
    assert negative_entropy_score(p) == pytest.approx([0, -np.log(2)], abs=1e-9)


def test_all_right_and_none_right() -> None:
    source, target = make_predictions(100, seed=5), make_predictions(80, seed=6, shift=2)
    for labels, expected in ((source.predicted, 1.0), ((source.predicted + 1) % 10, 0.0)):
        fitted = ATC().fit(Predictions("s", source.logits, labels=labels))
        estimate = fitted.predict(target)
        assert estimate.accuracy == expected
        assert estimate.diagnostics["threshold"] is None


def test_interval_by_hand() -> None:
    # scores fall 4, 3, 2, 1; images 1 and 3 are right, so images 1 and 2 pass: residuals 0, -1, 1, 0
    logits = np.array([[4.0, 0.0], [3.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    source = Predictions("s", logits, labels=np.array([0, 1, 0, 1]))
    estimate = ATC(level=0.5).fit(source).predict(Predictions("t", logits[:2].repeat(50, axis=0)))
    assert estimate.accuracy == 1.0
    assert 1 - estimate.low == pytest.approx(0.674490 * np.sqrt(2 / 3 * (1 / 4 + 1 / 100)), abs=1e-6)


def test_the_error_of_the_threshold_grows_with_the_images_that_lie_at_it() -> None:
    """Sources drawn again and again, one large target with many more scores near the threshold."""

    def drawn(random: np.random.Generator, n: int, spread: float) -> Predictions:
        margin = np.abs(random.normal(loc=1.0, scale=spread, size=n))
        wrong = random.random(n) < 1 / (1 + np.exp(margin))
        return Predictions("drawn", np.stack([margin, np.zeros(n)], axis=1), labels=wrong.astype(np.int64))

    target = drawn(np.random.default_rng(0), 40_000, 0.25)
    random = np.random.default_rng(1)
    answers = [ATC().fit(drawn(random, 500, 1.5)).predict(target) for _ in range(300)]
    spread = np.std([answer.accuracy for answer in answers])
    stated = np.mean([(answer.high - answer.low) / 2 / 1.959964 for answer in answers])
    assert stated == pytest.approx(spread, rel=0.25)

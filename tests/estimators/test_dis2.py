"""The critic's bound against a general optimiser and slow loops; worlds in which it holds, and fails."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from scipy.optimize import minimize

from shiftcast.estimators import Dis2
from shiftcast.estimators.dis2 import RIDGE, fit_critic
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from worlds import drawn_to_a_class, world


def slow_loss(flat, source, source_classes, target, target_classes):
    """Rosenfeld & Garg's objective, an image at a time."""
    critic = flat.reshape(source.shape[1], -1)
    total = RIDGE / 2 * (flat**2).sum()
    for row, k in zip(source, source_classes, strict=True):
        odds = row @ critic
        total += (np.log(np.exp(odds).sum()) - odds[k]) / len(source)
    for row, k in zip(target, target_classes, strict=True):
        odds = row @ critic
        total += np.log1p(np.exp(odds[k] - np.delete(odds, k).mean())) / len(target)
    return total


def test_the_critic_minimises_the_published_loss(monkeypatch):
    monkeypatch.setattr("shiftcast.estimators.dis2.STEPS", 500)
    random = np.random.default_rng(0)
    features = [np.column_stack([random.normal(size=(n, 3)), np.ones(n)]) for n in (40, 30)]
    classes = [random.integers(0, 3, len(one)) for one in features]
    given = (features[0], classes[0], features[1], classes[1])
    found = fit_critic(*given)
    best = minimize(slow_loss, np.zeros(12), args=given, method="BFGS")
    assert found == pytest.approx(best.x.reshape(4, 3), abs=2e-3)
    assert slow_loss(found.ravel(), *given) == pytest.approx(best.fun, abs=1e-6)


def test_the_bound_is_the_accuracy_less_discrepancy_and_margin():
    source = make_predictions(400, seed=1, name="source")
    target = make_predictions(300, seed=2, shift=0.8, name="target")
    answer = Dis2(level=0.9).fit(source).predict(target)
    margin = sqrt((400 + 4 * 300) * log(10) / (2 * 400 * 300))
    assert answer.diagnostics["margin"] == pytest.approx(margin)
    lost = answer.diagnostics["discrepancy"]
    assert answer.accuracy == pytest.approx(max(source.accuracy - max(lost, 0) - margin, 0), abs=1e-6)
    assert (answer.low, answer.high) == (answer.accuracy, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_without_a_shift_it_holds_and_is_near(seed):
    source, target = world(seed).select(np.arange(4000)), world(seed + 50).select(np.arange(4000))
    bound = Dis2().fit(source).predict(target).accuracy
    assert target.accuracy - 0.15 < bound <= target.accuracy


def test_it_holds_on_a_mild_shift_of_difficulty():
    source, target = world(0, hard=0.3), world(1, hard=0.5)
    assert Dis2().fit(source).predict(target).accuracy <= target.accuracy


def test_errors_that_follow_from_no_logits_break_it():
    """Hard images are wrong at random: no critic disagrees on them as often as the truth does."""
    source, target = world(0, hard=0.3), world(1, hard=1.0)
    assert Dis2().fit(source).predict(target).accuracy > target.accuracy + 0.03


def test_it_holds_where_a_class_draws_images_and_agreement_does_not_see_it():
    source, target = world(0, hard=0.3), drawn_to_a_class(world(1, hard=0.8), share=0.4, strength=3.0)
    assert Dis2().fit(source).predict(target).accuracy <= target.accuracy


def test_wrong_labels_that_no_output_shows_break_it():
    """The truth disagrees with the model on the target more than any critic of its logits can."""
    source, target = world(0), world(1, own_errors=0.5)
    assert Dis2().fit(source).predict(target).accuracy > target.accuracy + 0.1


def test_classes_that_are_never_predicted_and_single_images_work():
    source = make_predictions(60, seed=1, name="source")
    one = Predictions("one", make_predictions(1, seed=3).logits)
    assert 0 <= Dis2().fit(source).predict(one).accuracy <= 1

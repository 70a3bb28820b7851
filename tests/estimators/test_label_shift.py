"""Diagnoses of label shift against slow loops, and worlds in which they are right or must be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from shiftcast.calibration import fit_temperature
from shiftcast.estimators import COTT, PriorCOTT, PriorTransfer
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax
from worlds import drawn_to_a_class, world

SOURCE = make_predictions(500, 4, seed=1, name="source")
TARGET = make_predictions(300, 4, seed=2, shift=0.8, name="target")


def slow_shares(source, target):
    """Class shares of the target, by plain expectation maximisation, an image at a time."""
    temperature = fit_temperature(source.logits, source.labels)
    means = softmax(source.logits / temperature).mean(axis=0)
    shares = means.copy()
    for _ in range(3000):
        moved = np.zeros(4)
        for row in softmax(target.logits / temperature):
            weighted = row * shares / means
            moved += weighted / weighted.sum()
        moved /= len(target)
        if np.abs(moved - shares).max() < 1e-12:
            break
        shares = moved
    own = np.bincount(source.labels, minlength=4) / len(source) * shares / means
    return own / own.sum()


def test_transfer_is_that_of_slow_loops():
    shares = slow_shares(SOURCE, TARGET)
    expected = 0.0
    for k in range(4):
        of_class = SOURCE.labels == k
        expected += shares[k] * (SOURCE.predicted[of_class] == k).mean()
    answer = PriorTransfer().fit(SOURCE).predict(TARGET)
    assert answer.accuracy == pytest.approx(expected, abs=2e-5)
    moved = np.abs(shares - np.bincount(SOURCE.labels) / 500).sum() / 2
    assert answer.diagnostics["total_variation"] == pytest.approx(moved, abs=2e-5)


def test_transport_to_the_shares_found_is_that_with_a_given_prior():
    shares = slow_shares(SOURCE, TARGET)
    given = COTT(prior=shares).fit(SOURCE).predict(TARGET)
    assert PriorCOTT().fit(SOURCE).predict(TARGET).accuracy == pytest.approx(given.accuracy, abs=1 / 300)


@pytest.mark.parametrize("seed", range(4))
def test_label_shift_is_solved_and_found(seed):
    source, target = world(seed, hard=0.8), world(seed + 10, hard=0.8, common=8.0)
    shares = [np.bincount(one.labels) / len(one) for one in (source, target)]
    true = np.abs(shares[1] - shares[0]).sum() / 2
    for estimator, within in ((PriorTransfer(), 0.01), (PriorCOTT(), 0.03)):  # one threshold is coarser
        answer = estimator.fit(source).predict(target)
        assert answer.accuracy == pytest.approx(target.accuracy, abs=within)
        assert answer.diagnostics["total_variation"] == pytest.approx(true, abs=0.02)
    assert COTT().fit(source).predict(target).accuracy < target.accuracy - 0.1  # it is not told


def test_intervals_of_transfer_hold_under_label_shift_as_often_as_they_say():
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        source, target = world(2 * seed, hard=0.8), world(2 * seed + 1, hard=0.8, common=4.0)
        source, target = (one.select(random.choice(len(one), 600)) for one in (source, target))
        answer = PriorTransfer().fit(source).predict(target)
        held += answer.low <= target.accuracy <= answer.high
    assert held >= 52  # 57 expected of 95 %


def test_collapse_into_a_class_is_read_as_label_shift_and_missed():
    source, target = world(0, hard=0.3), drawn_to_a_class(world(1, hard=0.8), share=0.6, strength=3.0)
    plain = COTT().fit(source).predict(target).accuracy - target.accuracy
    for estimator in (PriorTransfer(), PriorCOTT()):
        answer = estimator.fit(source).predict(target)
        assert answer.accuracy > target.accuracy + 0.2 > target.accuracy + plain + 0.1
        assert answer.diagnostics["total_variation"] > 0.3  # of labels: 0.01


def test_difficulty_is_no_label_shift_and_transfer_misses_it():
    answer = PriorTransfer().fit(world(0, hard=0.3)).predict(world(1, hard=0.8))
    assert answer.accuracy > world(1, hard=0.8).accuracy + 0.1
    assert answer.diagnostics["total_variation"] < 0.05

"""Fitted temperatures against cases with a closed-form answer and a plain search on the loss."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from shiftcast.calibration import fit_temperature, scalable_logits, temperature_fit
from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import log_softmax, softmax


@pytest.mark.parametrize(("right", "margin"), [(9, 1.0), (7, 3.0), (6, 0.5)])
def test_two_classes_with_one_margin_have_a_closed_form(right: int, margin: float) -> None:
    # every image says class 0 by the same margin, r of 10 rightly: sigmoid(margin / T) = r / 10
    logits = np.tile([margin, 0.0], (10, 1))
    labels = np.array([0] * right + [1] * (10 - right))
    share = right / 10
    assert fit_temperature(logits, labels) == pytest.approx(margin / log(share / (1 - share)), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_against_a_search_on_the_loss(seed: int) -> None:
    source = make_predictions(500, seed=seed)
    labels = source.labels

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(source.logits / np.exp(log_temperature))
        return -float(log_p[np.arange(500), labels].mean())

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    assert fit_temperature(source.logits, labels) == pytest.approx(np.exp(best.x), rel=1e-5)


def test_calibrated_logits_get_their_own_temperature_back() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(200_000, 4)) * 2
    labels = (softmax(logits).cumsum(axis=1) > random.random((200_000, 1))).argmax(axis=1)
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.02)
    assert fit_temperature(logits * 2.5, labels) == pytest.approx(2.5, abs=0.05)


def test_answer_is_rounded_and_indifferent_to_order_and_offset() -> None:
    source = make_predictions(300, seed=5)
    order = np.random.default_rng(1).permutation(300)
    temperature = fit_temperature(source.logits, source.labels)
    assert temperature == round(temperature, 6)
    assert fit_temperature(source.logits[order], source.labels[order]) == temperature
    assert fit_temperature(source.logits + 3.0, source.labels) == temperature


def test_all_right_and_all_wrong_stop_at_the_bounds() -> None:
    logits = np.array([[4.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
    for factor in (1e-3, 1.0, 1e6):  # the mean distance to the largest logit is (0 + 4 + 3 + 0 + 2 + 1) / 6
        right, wrong = (temperature_fit(factor * logits, np.array(labels)) for labels in ([0, 1], [1, 0]))
        assert right.value == pytest.approx(factor * 10 / 6 / 1e4, rel=1e-6)
        assert wrong.value == pytest.approx(factor * 10 / 6 * 1e4, rel=1e-6)
        assert right.bounded
        assert wrong.bounded


@given(exponent=st.floats(-12, 12), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=30)
def test_a_factor_on_all_logits_is_a_factor_on_the_temperature(exponent: float, seed: int) -> None:
    source, factor = make_predictions(200, seed=seed), 10**exponent
    plain, scaled = (temperature_fit(k * source.logits, source.labels) for k in (1.0, factor))
    assert scaled.value == pytest.approx(factor * plain.value, rel=2e-6)  # seven digits
    assert factor * scaled.inverse_error == pytest.approx(plain.inverse_error, rel=1e-5)
    assert not scaled.bounded


def test_the_error_of_the_inverse_temperature_is_its_spread_over_samples() -> None:
    fits = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        logits = random.normal(size=(400, 5)) * 2
        labels = (softmax(logits).cumsum(axis=1) > random.random((400, 1))).argmax(axis=1)
        fits.append(temperature_fit(logits, labels))
    spread = np.std([1 / fit.value for fit in fits])
    assert np.mean([fit.inverse_error for fit in fits]) == pytest.approx(spread, rel=0.12)


def test_logits_that_say_nothing_leave_the_temperature_alone() -> None:
    assert fit_temperature(np.full((4, 3), 7.0), np.array([0, 1, 2, 0])) == 1.0


def test_probabilities_are_scaled_through_their_logarithm() -> None:
    source = make_predictions(300, seed=6)
    as_probabilities = Predictions("p", source.probabilities, kind="probabilities")
    direct = fit_temperature(source.logits, source.labels)
    assert fit_temperature(scalable_logits(as_probabilities), source.labels) == pytest.approx(
        direct, abs=1e-5
    )
    certain = Predictions("p", np.array([[1.0, 0.0]]), kind="probabilities")
    assert scalable_logits(certain).tolist() == [[0.0, pytest.approx(log(1e-12))]]


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), "labels: expected values in 0..2"),
        (np.zeros((2, 3)), np.array([0]), "labels: expected shape"),
        (np.array([[np.nan, 0.0]]), np.array([0]), "finite logits"),
        (np.zeros((0, 3)), np.zeros(0, dtype=int), "finite logits"),
        (np.zeros(3), np.array([0]), "finite logits"),
    ],
)
def test_bad_input_is_refused(logits: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        fit_temperature(logits, labels)

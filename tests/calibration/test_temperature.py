"""Fitted temperatures against cases with a closed-form answer and a plain search on the loss."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from shiftcast.calibration import fit_temperature, scalable_logits
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
    assert fit_temperature(logits, np.array([0, 1])) == 0.01
    assert fit_temperature(logits, np.array([1, 0])) == 100.0


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

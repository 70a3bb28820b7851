"""Estimators that scale by the source's temperature first, against logits that were divided beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from shiftcast.calibration import Temperature
from shiftcast.errors import UnknownNameError
from shiftcast.estimators import ATC, COT, COTT, Calibrated
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import log_softmax
from worlds import world

SOURCE = make_predictions(600, 4, seed=1, name="source")
TARGET = make_predictions(500, 4, seed=2, shift=0.8, name="target")
PLAIN = {"ATC-MC": ATC, "ATC-NE": lambda **own: ATC("negative_entropy", **own), "COT": COT, "COTT": COTT}


def slow_temperature(source):
    rows = np.arange(len(source))

    def loss(log_temperature):
        return -log_softmax(source.logits / np.exp(log_temperature))[rows, source.labels].mean()

    return np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}).x)


@pytest.mark.parametrize("name", PLAIN)
def test_answers_are_those_on_logits_divided_beforehand(name):
    temperature = slow_temperature(SOURCE)
    divided = [Predictions(one.name, one.logits / temperature, labels=one.labels) for one in (SOURCE, TARGET)]
    expected = PLAIN[name]().fit(divided[0]).predict(divided[1])
    answer = PLAIN[name](calibration="temperature").fit(SOURCE).predict(TARGET)
    # COT is solved to a smoothing of 1e-3
    assert answer.accuracy == pytest.approx(expected.accuracy, abs=2e-4 if name == "COT" else 1e-6)
    assert answer.accuracy >= expected.accuracy - 1e-6
    assert answer.diagnostics["temperature"] == pytest.approx(temperature, rel=1e-4)
    assert answer.high - answer.low >= expected.high - expected.low - 1e-6


@pytest.mark.parametrize("name", PLAIN)
def test_the_interval_holds_what_a_standard_error_of_the_temperature_moves(name):
    """`Calibrated` learns everything again at the moved temperature: slower, and nearly the same."""
    small = SOURCE.select(np.arange(60))
    slow = Calibrated(PLAIN[name](), Temperature()).fit(small).predict(TARGET)
    answer = PLAIN[name](calibration="temperature").fit(small).predict(TARGET)
    assert answer.high - answer.low == pytest.approx(slow.high - slow.low, abs=0.01)


def test_confidence_that_is_too_high_misleads_cot_and_not_once_it_is_scaled():
    source, target = world(0, sharpness=3.0), world(1, sharpness=3.0)
    assert COT().fit(source).predict(target).accuracy > target.accuracy + 0.02
    scaled = COT(calibration="temperature").fit(source).predict(target)
    assert scaled.accuracy == pytest.approx(target.accuracy, abs=0.012)


@pytest.mark.parametrize("name", PLAIN)
def test_temperatures_do_not_help_where_labels_change_and_no_output_shows_it(name):
    source, target = world(0), world(1, own_errors=0.3)
    assert (
        PLAIN[name](calibration="temperature").fit(source).predict(target).accuracy > target.accuracy + 0.15
    )


@pytest.mark.parametrize("name", PLAIN)
def test_another_calibration_and_a_source_without_a_temperature_are_told(name):
    with pytest.raises(UnknownNameError, match="did you mean temperature"):
        PLAIN[name](calibration="temperatur").fit(SOURCE)
    flawless = SOURCE.with_labels(SOURCE.predicted)
    answer = PLAIN[name](calibration="temperature").fit(flawless).predict(TARGET)
    assert "no most likely temperature" in answer.flagged

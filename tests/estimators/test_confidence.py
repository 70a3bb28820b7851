"""AC, AC-TS, DoC and IM against numbers worked out by hand and counts of coverage."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from shiftcast.calibration import ClassTemperature, Temperature
from shiftcast.errors import InvalidInputError
from shiftcast.estimators import (
    COT,
    AverageConfidence,
    Calibrated,
    DifferenceOfConfidences,
    ImportanceReweighting,
    NoShift,
    official_estimators,
)
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax

Z95 = 1.959964


def confident(confidences: list[float], right: list[bool] | None = None, name: str = "set") -> Predictions:
    """Two classes, class 0 predicted with these confidences."""
    top = np.array(confidences)
    labels = None if right is None else np.where(right, 0, 1)
    return Predictions(name, np.stack([top, 1 - top], axis=1), kind="probabilities", labels=labels)


SOURCE = confident([0.9, 0.8, 0.7, 0.6], [True, True, False, True])


def test_average_confidence_and_its_poisson_binomial_variance() -> None:
    source = confident([0.9, 0.8, 0.7, 0.6] * 10, [True, True, False, True] * 10)
    estimate = AverageConfidence().fit(source).predict(confident([0.9, 0.6, 0.6]))
    half = Z95 * sqrt((0.09 + 0.24 + 0.24) / 9)
    assert estimate.accuracy == 0.7
    assert (estimate.low, estimate.high) == pytest.approx((0.7 - half, 1.0), abs=1e-6)
    assert estimate.diagnostics == {"interval": "sampling"}  # no temperature where none is fitted


def test_temperature_scaling_corrects_overconfidence() -> None:
    # margin 3 says 0.953, 7 of 10 are right: T = 3 / ln(7/3), and confidence becomes 0.7
    source = Predictions("s", np.tile([3.0, 0.0], (10, 1)), labels=np.array([0] * 7 + [1] * 3))
    fitted = AverageConfidence(calibration="temperature").fit(source)
    assert fitted.temperature_ == pytest.approx(3 / log(7 / 3), abs=1e-6)
    target = Predictions("t", np.array([[3.0, 0.0], [6.0, 0.0]]))
    expected = (0.7 + 1 / (1 + (3 / 7) ** 2)) / 2
    assert fitted.predict(target).accuracy == pytest.approx(expected, abs=2e-6)


def calibrated(seed: int, n: int, sharpness: float) -> Predictions:
    """Labels drawn from the model's own probabilities."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, 5)) * sharpness
    labels = (softmax(logits).cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    return Predictions("c", logits, labels=labels)


@pytest.mark.parametrize("estimator", [AverageConfidence(), DifferenceOfConfidences()])
def test_confidence_intervals_cover_calibrated_models(estimator: AverageConfidence) -> None:
    # sharpness alike on both sides: DoC takes source residuals for the target's
    hits = []
    for seed in range(400):
        source, target = calibrated(2 * seed, 300, 2.0), calibrated(2 * seed + 1, 200, 2.0)
        estimate = estimator.fit(source).predict(target)
        hits.append(estimate.low <= target.accuracy <= estimate.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_difference_of_confidences_by_hand() -> None:
    # a_ID 0.75, mean confidence 0.75 -> 0.65
    estimate = DifferenceOfConfidences().fit(SOURCE).predict(confident([0.7, 0.6]))
    residuals = np.array([0.1, 0.2, -0.7, 0.4])
    variance = ((residuals - 0.0) ** 2).sum() / 3 * (1 / 4 + 1 / 2)
    assert estimate.accuracy == 0.65
    assert estimate.low == pytest.approx(max(0, 0.65 - Z95 * sqrt(variance)), abs=1e-6)
    assert estimate.flagged == ""


def test_difference_of_confidences_clips_and_says_so() -> None:
    source = confident([0.5, 0.7] * 5, [True] * 9 + [False])
    estimate = DifferenceOfConfidences().fit(source).predict(confident([0.99]))
    assert estimate.accuracy == 1.0
    # the interval is centred on the clipped accuracy: residuals 0.5 (five times), 0.3 (four times) and -0.7
    squares = 5 * 0.2**2 + 4 * 0.0**2 + 1.0**2
    assert 1 - estimate.low == pytest.approx(Z95 * sqrt(squares / 9 * (1 / 10 + 1)), abs=1e-6)
    assert "clipped" in estimate.flagged


def test_a_single_source_image_gives_no_interval() -> None:
    with pytest.raises(InvalidInputError, match=r"DifferenceOfConfidences\.fit: expected at least 2"):
        DifferenceOfConfidences().fit(confident([0.6], [True]))


def test_importance_reweighting_by_hand() -> None:
    # 40 images at 0.95 (36 right), 60 at 0.65 (30 right); the target is three quarters unsure
    source = confident([0.95] * 40 + [0.65] * 60, [True] * 36 + [False] * 4 + [True, False] * 30)
    estimate = ImportanceReweighting().fit(source).predict(confident([0.95, 0.65, 0.65, 0.65]))
    assert estimate.accuracy == pytest.approx(0.25 * 0.9 + 0.75 * 0.5)
    assert estimate.diagnostics["bins"] == 2


def test_importance_reweighting_with_one_confidence_is_no_shift() -> None:
    source = confident([0.8] * 50, [True] * 41 + [False] * 9)
    target = confident([0.8] * 30)
    for bins in (1, 10):
        im, plain = (
            ImportanceReweighting(bins=bins).fit(source).predict(target),
            NoShift().fit(source).predict(target),
        )
        assert (im.accuracy, im.low, im.high) == (plain.accuracy, plain.low, plain.high)


def test_scores_on_a_bin_edge_do_not_hang_on_the_last_bit() -> None:
    # 1 - 0.7 is 0.30000000000000004, 1 - 0.9 is 0.09999999999999998: both belong to the bin they open
    source = make_predictions(400, 2, seed=1)
    fitted = ImportanceReweighting(min_count=1).fit(source)
    assert fitted.home_.tolist()[:5] == [0, 1, 2, 3, 4]
    assert fitted.bins_of(confident([0.7, 0.9, 0.95, 0.600001])).tolist() == [3, 1, 0, 3]


def test_the_interval_holds_the_error_of_the_temperature() -> None:
    """Few labels and many images: the temperature is what an answer errs by. Without it, 44 % are covered."""
    hits = []
    for seed in range(200):
        source, target = calibrated(2 * seed, 300, 2.0), calibrated(2 * seed + 1, 6000, 2.0)
        for estimator in (
            AverageConfidence(calibration="temperature"),
            Calibrated(AverageConfidence(), Temperature()),
        ):
            answer = estimator.fit(source).predict(target)
            hits.append(answer.low <= target.accuracy <= answer.high)
    assert 0.92 <= np.mean(hits) <= 0.98


@pytest.mark.parametrize("factor", [1e-9, 0.01, 1000.0, 1e9])
def test_the_size_of_logits_is_nothing_to_a_fitted_temperature(factor: float) -> None:
    for estimator in (
        AverageConfidence(calibration="temperature"),
        Calibrated(COT(), Temperature()),
        Calibrated(AverageConfidence(), ClassTemperature()),
    ):
        plain, scaled = (
            estimator.fit(
                Predictions("s", k * SCALED[0].logits, "logits", labels=SCALED[0].labels),
            ).predict(Predictions("t", k * SCALED[1].logits, "logits"))
            for k in (1.0, factor)
        )
        answers = [[one.accuracy, one.low, one.high] for one in (plain, scaled)]
        assert answers[0] == pytest.approx(answers[1], abs=5e-6)


SCALED = make_predictions(800, seed=1), make_predictions(700, seed=2, shift=0.8)


def test_a_source_without_a_most_likely_temperature_is_told() -> None:
    source, target = make_predictions(200, seed=3), make_predictions(200, seed=4)
    flawless = source.with_labels(source.predicted)
    for estimator in (
        AverageConfidence(calibration="temperature"),
        Calibrated(AverageConfidence(), Temperature()),
    ):
        assert "no most likely temperature" in estimator.fit(flawless).predict(target).flagged
        assert estimator.fit(source).predict(target).flagged == ""


@pytest.mark.parametrize("name", official_estimators())
@pytest.mark.parametrize("images", [300, 40_000])
def test_no_interval_is_without_width(name: str, images: int) -> None:
    """Saturated logits, every answer certain and right on the source: certainty is no knowledge."""
    estimator = official_estimators()[name]
    if {"others", "features"} & estimator.requires:
        return
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, images)
    sure = 1e4 * np.eye(3)[classes]
    others = {
        "reference": np.tile(np.eye(3)[classes], (3, 1, 1)),
        "peers": random.integers(0, 3, (3, images)),
        "siblings": np.stack([classes, classes]),
        "signals": dict.fromkeys(("depth", "learned_epoch"), np.zeros(images)),
    }
    source = Predictions("s", sure, labels=classes, **others)  # type: ignore[arg-type]
    answer = estimator.fit(source).predict(source)
    assert f"{100 * answer.low:.2f}" != f"{100 * answer.high:.2f}"

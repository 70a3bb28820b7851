"""Calibrators keep predicted classes and calibrate the source; metrics against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast import calibration
from shiftcast.calibration import (
    ClassTemperature,
    HistogramBinning,
    Isotonic,
    Temperature,
    brier_score,
    calibration_report,
    classwise_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
)
from shiftcast.calibration.binning import mass_bins, mass_edges
from shiftcast.errors import InvalidInputError, RequirementError, UnknownNameError
from shiftcast.estimators import ATC, AverageConfidence, Calibrated, DifferenceOfConfidences, NoShift
from shiftcast.predictions import Predictions
from shiftcast.testing import check_estimator, make_predictions
from shiftcast.util.arrays import softmax

CALIBRATORS = {
    "temperature": Temperature(),
    "class temperature": ClassTemperature(min_count=20),
    "isotonic": Isotonic(),
    "histogram": HistogramBinning(),
}
SOURCE = make_predictions(2000, seed=1, name="source")
TARGET = make_predictions(1500, seed=2, shift=0.8, name="target")


@pytest.mark.parametrize("name", CALIBRATORS)
@settings(deadline=None, max_examples=25)
@given(
    classes=st.sampled_from([2, 3, 10]),
    scale=st.sampled_from([0.0, 1.0, 50.0, 5000.0]),
    seed=st.integers(0, 1000),
    rounded=st.booleans(),
)
def test_no_predicted_class_changes_and_rows_stay_probabilities(name, classes, scale, seed, rounded):
    random = np.random.default_rng(seed)

    def predictions(n):
        logits = random.normal(size=(n, classes)) * scale
        return Predictions(
            "p", np.round(logits) if rounded else logits, labels=random.integers(0, classes, n)
        )

    source, target = predictions(120), predictions(60)
    calibrated = CALIBRATORS[name].fit(source).transform(target)
    assert np.array_equal(calibrated.predicted, target.predicted)
    assert calibrated.probabilities.sum(axis=1) == pytest.approx(np.ones(60))
    assert calibrated.probabilities.min() >= 0
    assert calibrated.accuracy == target.accuracy


def overconfident(n, seed):
    """Predictions whose logits are three times those of a calibrated model."""
    random = np.random.default_rng(seed)
    probabilities = softmax(random.normal(size=(n, 5)) * 1.5)
    labels = (probabilities.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    return Predictions("overconfident", 3 * np.log(probabilities), labels=labels)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_overconfidence_is_repaired_on_other_images(name):
    source, other = overconfident(4000, 0), overconfident(4000, 1)
    assert expected_calibration_error(other) > 0.15
    calibrated = CALIBRATORS[name].fit(source).transform(other)
    assert expected_calibration_error(calibrated) < 0.035
    if name == "temperature":
        assert CALIBRATORS[name].temperature_ == pytest.approx(3, rel=0.1)


def test_isotonic_confidence_rises_and_its_mean_is_the_source_accuracy():
    fitted = Isotonic().fit(SOURCE)
    new = fitted.transform(SOURCE).confidence
    order = np.argsort(SOURCE.confidence)
    assert np.all(np.diff(new[order]) >= -1e-9)
    assert new.mean() == pytest.approx(SOURCE.accuracy, abs=1e-3)


def test_histogram_bins_hold_the_accuracy_of_their_images():
    fitted = HistogramBinning(bins=4).fit(SOURCE)
    new = fitted.transform(SOURCE).confidence.round(12)
    for level in np.unique(new):
        assert SOURCE.correct[new == level].mean() == pytest.approx(level, abs=1e-9)
    assert len(np.unique(new)) == 4


def test_a_class_with_few_images_takes_the_common_temperature():
    fitted = ClassTemperature(min_count=10**6).fit(SOURCE)
    assert np.all(fitted.temperatures_ == Temperature().fit(SOURCE).temperature_)


def test_other_classes_keep_their_order_of_size():
    target = Predictions("p", softmax(np.random.default_rng(0).normal(size=(50, 6))), kind="probabilities")
    source = make_predictions(500, 6, seed=3)
    new = HistogramBinning().fit(source).transform(target)
    for before, after, top in zip(target.probabilities, new.probabilities, target.predicted, strict=True):
        rest = np.delete(np.arange(6), top)
        order = rest[np.argsort(before[rest])]
        assert np.all(np.diff(after[order]) >= -1e-12)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_what_cannot_be_calibrated_is_refused(name):
    calibrator = CALIBRATORS[name]
    with pytest.raises(RequirementError, match="no labels"):
        calibrator.fit(TARGET.without_labels())
    with pytest.raises(InvalidInputError, match="not fitted"):
        type(calibrator)().transform(TARGET)
    with pytest.raises(InvalidInputError, match="7 classes"):
        calibrator.fit(SOURCE).transform(make_predictions(20, 7))


@pytest.mark.parametrize("calibrator", [ClassTemperature(min_count=0), HistogramBinning(bins=2.5)])
def test_arguments_out_of_range_are_refused(calibrator):
    with pytest.raises(InvalidInputError, match="integer of at least 1"):
        calibrator.fit(SOURCE)


def test_calibrated_average_confidence_is_the_temperature_scaled_one():
    ours = Calibrated(AverageConfidence(), Temperature()).fit(SOURCE).predict(TARGET)
    assert ours.accuracy == AverageConfidence(calibration="temperature").fit(SOURCE).predict(TARGET).accuracy


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("estimator", [NoShift(), AverageConfidence(), DifferenceOfConfidences()])
def test_calibrated_estimators_keep_the_contract(name, estimator):
    wrapped = Calibrated(estimator, CALIBRATORS[name])
    assert (wrapped.track, wrapped.citation) == (estimator.track, estimator.citation)
    check_estimator(wrapped)


def test_atc_does_not_move_with_a_calibrator_that_keeps_the_order():
    plain, scaled = ATC("max_confidence"), Calibrated(ATC("max_confidence"), Temperature())
    first, second = (e.fit(SOURCE).predict(TARGET).accuracy for e in (plain, scaled))
    assert first == pytest.approx(second, abs=0.02)


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize(
    "predictions", [SOURCE, TARGET, make_predictions(40, 2, seed=9)], ids=lambda p: f"{p.name}-{p.classes}"
)
def test_metrics_are_those_of_torchmetrics(bins, predictions):
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    p, labels = torch.tensor(predictions.probabilities), torch.tensor(predictions.labels)
    theirs = metrics.multiclass_calibration_error(p, labels, predictions.classes, n_bins=bins, norm="l1")
    assert expected_calibration_error(predictions, bins) == pytest.approx(float(theirs), abs=1e-6)
    by_class = [
        float(
            metrics.binary_calibration_error(
                p[:, k].contiguous(), (labels == k).long(), n_bins=bins, norm="l1"
            )
        )
        for k in range(predictions.classes)
    ]
    assert classwise_calibration_error(predictions, bins) == pytest.approx(np.mean(by_class), abs=1e-6)
    loss = torch.nn.functional.cross_entropy(torch.tensor(predictions.logits), labels)
    assert negative_log_likelihood(predictions) == pytest.approx(float(loss))
    squares = ((p - torch.nn.functional.one_hot(labels, predictions.classes)) ** 2).sum(1).mean()
    assert brier_score(predictions) == pytest.approx(float(squares))


def test_bins_of_equal_mass_against_a_loop():
    order = np.argsort(SOURCE.confidence, kind="stable")
    slow = 0.0
    for part in np.array_split(order, 8):
        slow += abs(SOURCE.confidence[part].mean() - SOURCE.correct[part].mean()) * len(part) / len(order)
    assert expected_calibration_error(SOURCE, 8, "mass") == pytest.approx(slow)


def test_a_report_names_every_figure_and_a_bad_scheme_is_refused():
    assert set(calibration_report(SOURCE)) == {"accuracy", "ece", "ece_mass", "classwise_ece", "brier", "nll"}
    with pytest.raises(UnknownNameError, match="binning scheme"):
        expected_calibration_error(SOURCE, 10, "weight")
    with pytest.raises(RequirementError, match="has no labels"):
        brier_score(TARGET.without_labels())
    certain = Predictions("p", np.eye(3)[[0, 1]], kind="probabilities", labels=np.array([0, 2]))
    assert negative_log_likelihood(certain) == np.inf
    assert "Isotonic" in calibration.__all__


@pytest.mark.parametrize("scheme", ["width", "mass"])
def test_the_order_of_rows_changes_no_calibration_error(scheme):
    """Confidences of one decimal tie by the dozen."""
    random = np.random.default_rng(0)
    top = random.integers(5, 10, 300) / 10
    table = Predictions("t", np.stack([top, 1 - top], axis=1), kind="probabilities")
    table = table.with_labels(np.sort(random.integers(0, 2, 300)))
    orders = [np.arange(300), np.argsort(table.correct), np.argsort(~table.correct), random.permutation(300)]
    for metric in (expected_calibration_error, classwise_calibration_error):
        errors = [metric(table.select(order), 15, scheme) for order in orders]
        assert errors == pytest.approx([errors[0]] * 4, abs=1e-12)


@pytest.mark.parametrize("scheme", ["width", "mass"])
def test_a_constant_confidence_that_is_right_has_no_calibration_error(scheme):
    labels = np.array([0] * 8 + [1] * 2)
    table = Predictions("t", np.tile([0.8, 0.2], (10, 1)), kind="probabilities", labels=labels)
    assert expected_calibration_error(table, 5, scheme) == pytest.approx(0, abs=1e-12)
    assert classwise_calibration_error(table, 5, scheme) == pytest.approx(0, abs=1e-12)


def test_bins_of_equal_mass_hold_equally_many_where_nothing_ties():
    """23 values in 5 bins, by hand: the k-th edge is the value of rank ceil(23 k / 5)."""
    values = np.random.default_rng(0).permutation(23) / 23
    edges = mass_edges(values, 5)
    assert edges == pytest.approx(np.array([4, 9, 13, 18]) / 23)
    assert np.bincount(mass_bins(values, edges)).tolist() == [5, 5, 4, 5, 4]

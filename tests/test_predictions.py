"""What predictions refuse, and what they and estimates make of what they accept."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.arrays import log_softmax, softmax

LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.array([[np.nan, 0.0], [1.0, 2.0]])}, r"logits: 1 values are NaN.*index \[0, 0\]"),
        ({"logits": np.array([[1.0, 0.0], [1.0, np.inf]])}, r"logits: 1 values are NaN.*index \[1, 1\]"),
        ({"logits": np.zeros((0, 3))}, "logits: is empty"),
        ({"logits": np.zeros(3)}, r"logits: expected shape \(n, K\), got \(3,\)"),
        ({"logits": np.zeros((2, 1))}, "at least 2 classes"),
        ({"logits": np.array([["a", "b"]])}, "expected numbers"),
        ({"kind": "scores"}, "kind must be 'logits', 'probabilities' or 'classes', got 'scores'"),
        ({"labels": np.array([0, 3])}, r"labels: expected values in 0..2 \(3 classes\), got 3 at position 1"),
        ({"labels": np.array([-1, 0])}, "got -1 at position 0"),
        ({"labels": np.array([0])}, r"labels: expected shape \(2,\), got \(1,\)"),
        ({"labels": np.array([0.0, 1.0])}, "labels: expected integers"),
        ({"reference": np.full((4, 2, 2), 0.5)}, "reference: expected 3 classes, got 2"),
        ({"reference": np.full((4, 5, 3), 1 / 3)}, "reference holds 5 images, but the logits hold 2"),
        ({"reference": np.full((2, 3), 1 / 3)}, r"reference: expected shape \(M, n, K\)"),
        ({"reference": np.zeros((0, 2, 3))}, "reference: is empty"),
        ({"peers": np.zeros((4, 3), dtype=int)}, "peers: expected shape"),
        ({"peers": np.zeros(2, dtype=int)}, "peers: expected shape"),
        ({"siblings": np.full((1, 2), 3)}, "siblings: expected values in 0..2"),
        ({"features": np.zeros((3, 8))}, "features holds 3 images"),
        ({"features": np.full((2, 8), np.nan)}, "features: 16 values are NaN"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as refusal:
        Predictions(**({"name": "street", "logits": LOGITS} | change))
    assert str(refusal.value).startswith("street: ")


def test_unnormalised_probabilities_name_the_worst_row_and_its_sum() -> None:
    rows = np.array([[0.5, 0.5], [0.5, 0.502], [0.9, 0.3]])
    with pytest.raises(InvalidInputError, match=r"row 2 sums to 1\.2.*Logits belong under logits"):
        Predictions("street", rows, kind="probabilities")


@pytest.mark.parametrize("rows", [[[1.2, -0.2]], [[-0.0005, 1.0005]]])
def test_negative_probabilities_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(InvalidInputError, match="expected probabilities"):
        Predictions("street", np.array(rows), kind="probabilities")


def test_probabilities_of_stored_precision_are_renormalised() -> None:
    rough = softmax(LOGITS).astype(np.float16)
    kept = Predictions("street", rough, kind="probabilities", reference=rough[None])
    assert kept.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-15)
    assert kept.reference is not None
    assert kept.reference.sum(axis=2) == pytest.approx(1, abs=1e-15)


def test_softmax_is_safe_and_agrees_with_its_logarithm() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert softmax(np.array([[60000.0, -60000.0]])).tolist() == [[1.0, 0.0]]
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert softmax(LOGITS) == pytest.approx(expected)
    assert np.exp(log_softmax(LOGITS)) == pytest.approx(expected)


def test_derived_values() -> None:
    p = Predictions("street", LOGITS.astype(np.float16), labels=np.array([0, 2], dtype=np.uint8))
    assert p.logits.dtype == np.float64
    assert (len(p), p.classes, p.group) == (2, 3, "street")
    assert p.predicted.tolist() == [0, 1]
    assert p.correct.tolist() == [True, False]
    assert p.accuracy == 0.5


def test_ties_go_to_the_lower_class() -> None:
    assert Predictions("street", np.array([[0.0, 2.0, 2.0]])).predicted.tolist() == [1]


def test_without_labels_nothing_can_be_right() -> None:
    p = Predictions("street", LOGITS, labels=np.array([0, 1]))
    assert p.accuracy == 1
    with pytest.raises(InvalidInputError, match="street: has no labels"):
        _ = p.without_labels().accuracy


def test_select_takes_the_same_images_everywhere() -> None:
    p = Predictions(
        "street",
        LOGITS,
        labels=np.array([0, 1]),
        reference=np.stack([softmax(LOGITS)] * 3),
        peers=np.array([[0, 2]]),
        features=np.array([[1.0], [2.0]]),
    )
    chosen = p.select(np.array([1, 1, 0]))
    assert chosen.logits.tolist() == LOGITS[[1, 1, 0]].tolist()
    assert chosen.labels is not None
    assert chosen.labels.tolist() == [1, 1, 0]
    assert chosen.reference is not None
    assert chosen.reference[0] == pytest.approx(softmax(LOGITS)[[1, 1, 0]])
    assert chosen.peers is not None
    assert chosen.peers.tolist() == [[2, 2, 0]]
    assert chosen.features is not None
    assert chosen.features.tolist() == [[2.0], [2.0], [1.0]]
    assert chosen.siblings is None


def test_estimates_are_clipped_rounded_and_ordered() -> None:
    estimate = Estimate(0.12345678, -0.5, 1.5, 0.95)
    assert (estimate.accuracy, estimate.low, estimate.high) == (0.123457, 0.0, 1.0)
    assert not estimate.extended


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.7), (0.1, 0.4)])
def test_intervals_are_extended_to_hold_the_estimate(low: float, high: float) -> None:
    estimate = Estimate(0.5, low, high, 0.9)
    assert estimate.low <= 0.5 <= estimate.high
    assert estimate.extended


def test_estimates_must_be_finite() -> None:
    with pytest.raises(InvalidInputError, match="finite"):
        Estimate(float("nan"), 0, 1, 0.95)


def test_labels_can_be_given_later_and_share_what_is_known():
    logits = np.random.RandomState(0).normal(size=(20, 3))
    plain = Predictions("x", logits)
    known = plain.probabilities
    labels = plain.predicted.copy()
    right = plain.with_labels(labels)
    assert right.accuracy == 1
    assert right.probabilities is known
    assert plain.labels is None
    assert right.with_labels((labels + 1) % 3).accuracy == 0
    with pytest.raises(InvalidInputError, match="labels"):
        plain.with_labels(labels[:5])


def test_predicted_classes_alone_are_predictions_without_probabilities():
    from shiftcast.errors import RequirementError

    found = Predictions.from_classes("hard", [2, 0, 1], 3, np.array([2, 1, 1]))
    assert found.predicted.tolist() == [2, 0, 1]
    assert (found.classes, len(found)) == (3, 3)
    assert found.accuracy == pytest.approx(2 / 3)
    for name in ("probabilities", "confidence"):
        with pytest.raises(
            RequirementError, match=r"hard: needs logits or probabilities, but holds predicted"
        ):
            getattr(found, name)
    with pytest.raises(InvalidInputError, match=r"hard: predicted: expected values in 0..2"):
        Predictions.from_classes("hard", [3], 3)
    with pytest.raises(InvalidInputError, match="expected 1 for the predicted class of each image"):
        Predictions("hard", np.array([[0.5, 0.5]]), kind="classes")
    with pytest.raises(InvalidInputError, match="kind must be 'logits', 'probabilities' or 'classes'"):
        Predictions("hard", np.eye(2), kind="scores")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((55.0, 50.0, 60.0), "a share in .* got 55; divide percentages by 100"),
        ((0.5, 0.6, 0.4), "must begin below its end, got 0.6 to 0.4"),
    ],
)
def test_estimates_that_cannot_be_meant_are_refused(values: tuple[float, float, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Estimate(*values, 0.95)


def test_outputs_of_scikit_learn_pandas_and_lists_are_read():
    pandas = pytest.importorskip("pandas")
    random = np.random.RandomState(0)
    rows, labels = random.randn(30, 4), np.arange(30) % 3
    model = LogisticRegression().fit(rows, labels)
    shares = model.predict_proba(rows)
    expected = Predictions("a", shares, kind="probabilities", labels=labels)
    table = pandas.DataFrame(shares, columns=["x", "y", "z"])
    for outputs in (table, table.astype("Float64"), shares.tolist(), list(shares)):
        for truth in (labels.tolist(), pandas.Series(labels), pandas.Series(labels).astype("Int64")):
            read = Predictions("a", outputs, kind="probabilities", labels=truth)
            np.testing.assert_array_equal(read.logits, expected.logits)
            np.testing.assert_array_equal(read.labels, labels)
    with pytest.raises(
        InvalidInputError, match=r"got the model LogisticRegression; give model.predict_proba"
    ):
        Predictions("a", model, labels=labels)
    with pytest.raises(InvalidInputError, match=r"numpy.concatenate\(batches\)"):
        Predictions("a", [rows, rows[:7]])
    with pytest.raises(InvalidInputError, match="expected numbers, got dtype object"):
        Predictions("a", table.assign(name="x"), kind="probabilities")
    unknown = table.astype("Float64")
    unknown.iloc[0, 0] = pandas.NA
    with pytest.raises(InvalidInputError, match="1 values are NaN"):
        Predictions("a", unknown, kind="probabilities")

"""Optimal transport against a linear programme, and what must hold of it by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import COT, COTT, AverageConfidence, transport
from shiftcast.predictions import Predictions
from shiftcast.statistics.transport import sent_probabilities
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax


def programme(probabilities, shares):
    """Solve the whole transport as one linear programme: slow, and independent of ours."""
    m, classes = probabilities.shape
    cells = np.arange(m * classes)
    sums = csr_array(
        (np.ones(2 * len(cells)), (np.r_[cells // classes, m + cells % classes], np.r_[cells, cells]))
    )
    found = linprog(
        -probabilities.ravel(),
        A_eq=sums[:-1],  # the last class follows from the others, and might contradict them by a rounding
        b_eq=np.r_[np.ones(m), m * shares][:-1],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert found.success
    return -found.fun / m


@settings(deadline=None, max_examples=40)
@given(
    m=st.integers(1, 40),
    classes=st.integers(2, 12),
    scale=st.sampled_from([0.0, 0.5, 3.0, 30.0, 1000.0]),
    seed=st.integers(0, 10_000),
    empty=st.booleans(),
)
def test_the_value_is_that_of_a_linear_programme(m, classes, scale, seed, empty):
    random = np.random.default_rng(seed)
    probabilities = softmax(np.round(random.normal(size=(m, classes)) * scale, 1))  # many ties
    shares = random.dirichlet(np.ones(classes))
    if empty:
        shares[random.integers(classes)] = 0
        shares /= shares.sum()
    solved = transport(probabilities, shares)
    assert solved.value == pytest.approx(programme(probabilities, shares), abs=1e-9)
    assert solved.gap <= 1e-9
    assert np.all(np.isinf(solved.prices) == (shares == 0))


@pytest.mark.parametrize("seed", range(12))
def test_shares_and_probabilities_of_every_size_are_solved(seed):
    """What once went wrong: shares of 1e-25, differences far below any smoothing, one class ahead of all."""
    random = np.random.default_rng(seed)
    m, classes = random.choice([1, 7, 60, 400]), random.choice([2, 5, 30, 100])
    logits = random.normal(size=(m, classes)) * random.choice([0.01, 1.0, 20.0])
    logits[:, 0] += random.choice([0, 20])
    logits = np.round(logits, random.choice([1, 12]))
    probabilities, shares = (
        softmax(logits),
        random.dirichlet(np.full(classes, random.choice([0.02, 1.0, 50.0]))),
    )
    solved = transport(probabilities, shares)
    assert solved.value == pytest.approx(programme(probabilities, shares), abs=1e-9)
    assert solved.gap <= 1e-9


def test_an_hundred_classes_are_solved_exactly():
    random = np.random.default_rng(0)
    probabilities = softmax(random.normal(size=(250, 100)) * 4)
    shares = np.bincount(random.integers(0, 100, 400), minlength=100) / 400
    assert transport(probabilities, shares).value == pytest.approx(programme(probabilities, shares), abs=1e-9)


def test_many_classes_come_with_a_gap():
    random = np.random.default_rng(1)
    probabilities = softmax(random.normal(size=(600, 150)) * 4)
    shares = np.full(150, 1 / 150)
    solved, exact = transport(probabilities, shares), programme(probabilities, shares)
    assert 0 <= solved.gap <= 1e-5
    assert exact - 1e-9 <= solved.value <= exact + solved.gap + 1e-9


@pytest.mark.parametrize("shares", [[0.5, 0.6], [1.5, -0.5], [1.0]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(InvalidInputError, match=r"transport: expected"):
        transport(np.full((3, 2), 0.5), np.array(shares))


@pytest.mark.parametrize("seed", range(5))
def test_cot_is_at_most_average_confidence(seed):
    source, target = make_predictions(300, seed=seed), make_predictions(200, seed=seed + 50, shift=1.0)
    cot, ac = COT().fit(source).predict(target), AverageConfidence().fit(source).predict(target)
    assert cot.accuracy <= ac.accuracy + 1e-6


def test_cot_equals_average_confidence_where_predictions_have_the_prior_shares():
    source, target = make_predictions(300, seed=3), make_predictions(200, seed=4, shift=1.0)
    shares = np.bincount(target.predicted, minlength=10) / len(target)
    answer = COT(prior=shares).fit(source).predict(target)
    assert answer.accuracy == pytest.approx(target.confidence.mean(), abs=1e-6)


def test_a_known_prior_repairs_label_shift():
    """A calibrated model, class 0 four times as common: only with the true shares is COT not misled."""
    random = np.random.default_rng(0)
    probabilities = softmax(random.normal(size=(8000, 10)) * 3)
    labels = (probabilities.cumsum(axis=1) > random.random((8000, 1))).argmax(axis=1)  # calibrated
    source = Predictions("source", np.log(probabilities[:4000]), labels=labels[:4000])
    kept = 4000 + np.flatnonzero((labels[4000:] == 0) | (random.random(4000) < 0.25))
    target = Predictions("target", np.log(probabilities[kept]), labels=labels[kept])
    prior = np.bincount(target.labels, minlength=10) / len(target)
    blind, told = (cot.fit(source).predict(target).accuracy for cot in (COT(), COT(prior=prior)))
    assert blind < target.accuracy - 0.02  # it takes the shift of labels for errors
    assert abs(told - target.accuracy) < 0.015


@pytest.mark.parametrize("prior", [[0.5, 0.5], np.full(10, 0.2), -np.ones(10)])
def test_a_prior_that_is_none_is_refused_by_name(prior):
    with pytest.raises(InvalidInputError, match="COT: prior must hold"):
        COT(prior=prior).fit(make_predictions(50))


def test_cott_on_its_source_counts_what_is_right_with_and_without_errors():
    source = make_predictions(400, seed=7)
    assert COTT().fit(source).predict(source).accuracy == pytest.approx(source.accuracy, abs=1e-6)
    flawless = source.with_labels(source.predicted)
    assert COTT().fit(flawless).predict(make_predictions(50, seed=8, shift=2)).accuracy == 1.0


def test_cott_sees_a_class_that_swallows_others():
    """Confident predictions that all go to one class: average confidence is blind to it, transport is not."""
    source = make_predictions(1000, seed=9)
    logits = source.logits.copy()
    logits[:600, 0] += 40
    target = Predictions("swallowed", logits, labels=source.labels)
    assert AverageConfidence().fit(source).predict(target).accuracy > 0.9
    for estimator in (COT(), COTT()):
        assert abs(estimator.fit(source).predict(target).accuracy - target.accuracy) < 0.12


@pytest.mark.parametrize(("classes", "sharpness"), [(10, 1.0), (10, 3.0), (3, 3.0)])
def test_cott_keeps_its_head_where_nothing_shifts(classes, sharpness):
    """Fresh images of the source's kind. With prices in the cost, a few images decided over whole classes."""
    random = np.random.default_rng(0)
    errors = []
    for _ in range(12):
        drawn = []
        for name in ("source", "target"):
            labels = random.integers(0, classes, 2000)
            seen = 3 * np.eye(classes)[labels] + random.normal(size=(2000, classes))
            drawn.append(Predictions(name, 3 * sharpness * seen, labels=labels))
        source, target = drawn
        errors.append(COTT().fit(source).predict(target).accuracy - target.accuracy)
    assert np.abs(errors).max() < 0.035


def test_costs_are_those_of_the_programmes_coupling():
    random = np.random.default_rng(5)
    probabilities = softmax(random.normal(size=(300, 6)) * 3)
    shares = random.dirichlet(np.full(6, 5.0))
    solved = transport(probabilities, shares)
    sent = sent_probabilities(probabilities, solved.prices)
    assert sent.mean() == pytest.approx(programme(probabilities, shares), abs=2e-3)
    worth = probabilities - solved.prices
    sure = np.diff(np.sort(worth, axis=1)[:, -2:], axis=1)[:, 0] > 0.03
    assert sure.mean() > 0.9
    assert sent[sure] == pytest.approx(probabilities[sure, worth[sure].argmax(axis=1)], abs=1e-6)

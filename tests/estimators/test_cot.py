"""Optimal transport against a linear programme, and what must hold of it by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array
from scipy.stats import chi2_contingency

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import COT, COTT, AverageConfidence, transport
from shiftcast.estimators.cot import share_beyond_chance, steadied
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


@pytest.mark.parametrize(("sharpness", "sent"), [(1.0, 0.0), (4.0, 0.0), (9.0, 0.3)])
def test_large_transports_are_approximate_within_their_gap(monkeypatch, sharpness, sent):
    """The exact value lies between the answer and the answer less its gap, which is small."""
    monkeypatch.setitem(transport.__globals__, "LARGE", 0)
    random = np.random.default_rng(2)
    logits = random.normal(size=(400, 120)) * sharpness
    logits[: int(400 * sent), 0] += 40  # a class that swallows others
    probabilities = softmax(logits)
    shares = random.dirichlet(np.full(120, 20.0))
    solved, exact = transport(probabilities, shares), programme(probabilities, shares)
    assert 0 < solved.gap <= 2e-3
    assert exact - 1e-9 <= solved.value <= exact + solved.gap + 1e-9
    assert solved.gains.mean() + shares @ solved.prices == pytest.approx(solved.value, abs=2e-3)


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


def calibrated_draw(random, n, classes, strength):
    """Draw evidence on n images whose softmax is the probability of each class, by Bayes."""
    labels = random.integers(0, classes, n)
    evidence = random.normal(size=(n, classes)) * strength
    evidence[np.arange(n), labels] += strength**2
    return Predictions("drawn", evidence, labels=labels)


@pytest.mark.parametrize(
    ("classes", "strength", "n", "m", "draws", "without"),
    [(10, 2.0, 300, 300, 12, -0.01), (100, 3.0, 500, 500, 4, -0.06), (100, 3.0, 500, 1500, 3, -0.04)],
)
def test_noise_in_class_shares_costs_no_accuracy(classes, strength, n, m, draws, without):
    """Nothing shifts. Shares as counted make transport cost what no error of the model does."""
    random, plain, errors = np.random.default_rng(0), [], []
    for _ in range(draws):
        source, target = (calibrated_draw(random, size, classes, strength) for size in (n, m))
        counted = transport(target.probabilities, np.bincount(source.labels, minlength=classes) / n)
        plain.append(counted.value - target.accuracy)
        answers = (estimator.fit(source).predict(target) for estimator in (COT(), COTT()))
        errors.append([answer.accuracy - target.accuracy for answer in answers])
    assert np.mean(plain) < without
    assert np.abs(np.mean(errors, axis=0)).max() < max(0.016, 0.35 * abs(np.mean(plain)))


def test_the_chance_in_class_shares_is_that_of_shuffled_samples():
    """Labels and predicted classes of one pool, allocated anew: the mean statistic is what is taken off."""
    random = np.random.default_rng(1)
    pool = random.choice(6, 90, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    statistics = []
    for _ in range(2000):
        random.shuffle(pool)
        table = np.stack([np.bincount(part, minlength=6) for part in (pool[:30], pool[30:])])
        statistics.append(chi2_contingency(table, correction=False).statistic)
    apart = np.stack([np.bincount(part, minlength=6) for part in (np.sort(pool)[:30], np.sort(pool)[30:])])
    expected = np.sqrt(1 - np.mean(statistics) / chi2_contingency(apart, correction=False).statistic)
    shares = apart / apart.sum(axis=1, keepdims=True)
    assert share_beyond_chance(*shares, 30, 60) == pytest.approx(expected, abs=2e-3)


def test_known_shares_have_no_chance_of_their_own():
    shares, predicted = np.array([0.5, 0.5]), np.array([0.7, 0.3])
    statistic = 50 * (0.2**2 / 0.5 + 0.2**2 / 0.5)
    assert share_beyond_chance(shares, predicted, np.inf, 50) == pytest.approx(np.sqrt(1 - 1 / statistic))
    assert share_beyond_chance(np.array([1.0, 0.0]), predicted, np.inf, 50) == 1.0
    assert share_beyond_chance(predicted, predicted, np.inf, 50) == 0.0


def test_a_shift_of_shares_that_no_chance_explains_stays():
    random = np.random.default_rng(2)
    source, target = (calibrated_draw(random, 20_000, 10, 2.0) for _ in range(2))
    swallowed = target.logits.copy()
    swallowed[:3000, 0] += 25
    target = Predictions("swallowed", swallowed, labels=target.labels)
    counted = transport(target.probabilities, np.bincount(source.labels, minlength=10) / 20_000).value
    assert COT().fit(source).predict(target).accuracy == pytest.approx(counted, abs=5e-4)


def test_a_class_that_differs_for_sure_keeps_its_share():
    """Class 0 has 0.5 against 0.2. The others, 44 and 36 of 80 against 25 and 25 of 50, do so by chance."""
    shares, predicted = np.array([0.2, 0.44, 0.36]), np.array([0.5, 0.25, 0.25])
    assert steadied(shares, predicted, 100, 100) == pytest.approx([0.2, 0.4, 0.4])
    assert steadied(shares, predicted, 1e7, 10**7) == pytest.approx(shares)
    assert steadied(predicted + np.array([0.01, -0.01, 0]), predicted, 50, 50) == pytest.approx(predicted)


def test_noise_is_taken_off_a_swallowed_class_and_the_swallowing_is_not():
    """A hundred classes, one of which takes 15 % of all images: COT is right there but for noise."""
    random, plain, errors = np.random.default_rng(4), [], []
    for _ in range(3):
        source, target = (calibrated_draw(random, 500, 100, 3.0) for _ in range(2))
        logits = target.logits.copy()
        logits[:75, 0] += 40
        target = Predictions("swallowed", logits, labels=target.labels)
        counted = np.bincount(source.labels, minlength=100) / 500
        plain.append(transport(target.probabilities, counted).value - target.accuracy)
        errors.append(COT().fit(source).predict(target).accuracy - target.accuracy)
        assert AverageConfidence().fit(source).predict(target).accuracy > target.accuracy + 0.1
    assert np.mean(plain) < -0.03
    assert abs(np.mean(errors)) < min(0.03, abs(np.mean(plain)))


def test_copies_of_a_set_are_no_further_images():
    source, target = make_predictions(60, seed=1), make_predictions(50, seed=2, shift=1.0)
    for estimator in (COT(), COTT()):
        plain, three = (
            estimator.fit(source).predict(target.select(np.tile(np.arange(50), times))) for times in (1, 3)
        )
        assert plain.accuracy == pytest.approx(three.accuracy, abs=1e-6)
    hard = Predictions("hard", np.eye(10)[np.r_[0, 0, 1, 1, 1]], kind="probabilities")
    assert COT().fit(source).predict(hard).low < COT().fit(source).predict(hard).accuracy


def test_the_interval_holds_the_noise_of_the_shares():
    """With few labels and many images it is the larger part where predictions are shifted."""
    random, hits = np.random.default_rng(3), []
    wanted = random.dirichlet(np.full(5, 3.0))
    probabilities = softmax(random.normal(size=(3000, 5)) * 3)
    target = Predictions("target", np.log(probabilities))
    truth = transport(probabilities, wanted).value
    for _ in range(150):
        labels = random.choice(5, 200, p=wanted)
        answer = COT().fit(Predictions("source", np.zeros((200, 5)), labels=labels)).predict(target)
        hits.append(answer.low <= truth <= answer.high)
    assert np.mean(hits) > 0.92

"""The frozen estimators against slow loops written from their definitions, their edges and their interval."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp
from scipy.stats import norm

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators import BalancedAgreement, LargestDrop, LargestDropAlone
from shiftcast.estimators.balance import balance
from shiftcast.estimators.drops import INTERVAL
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions

ESTIMATORS = (BalancedAgreement, LargestDrop, LargestDropAlone)


def gauge(share, n):
    return norm.ppf(min(max(share, 0.5 / n), 1 - 0.5 / n))


def shares_of(source):
    return [sum(y == k for y in source.labels) / len(source) for k in range(source.classes)]


def sharpened(reference, tau):
    """Softmax of tau ln(mean member + 1e-12), image by image."""
    rows = []
    for i in range(reference.shape[1]):
        logs = [tau * log(np.mean(reference[:, i, k]) + 1e-12) for k in range(reference.shape[2])]
        total = sum(map(exp, logs))
        rows.append([exp(v) / total for v in logs])
    return rows


def slow_sharpness(source):
    def loss(x):
        rows = sharpened(source.reference, exp(x))
        return -np.mean([log(row[y]) for row, y in zip(rows, source.labels, strict=True)])

    return exp(minimize_scalar(loss, bounds=(-1.5, 2), method="bounded", options={"xatol": 1e-2}).x)


def slow_balance(rows, q):
    """R of the definition by loops over images and classes: always 60 steps."""
    n, classes = len(rows), len(q)
    m = [np.mean([row[k] for row in rows]) for k in range(classes)]
    away = n * sum((a - b) ** 2 for a, b in zip(m, q, strict=True))
    s = 1.0 if away == 0 else min(1.0, sum(b * (1 - b) for b in q) / away)
    w = [b + s * (a - b) for a, b in zip(m, q, strict=True)]
    u = [0.0] * classes

    def rescaled():
        grown = [[p * exp(v) for p, v in zip(row, u, strict=True)] for row in rows]
        return [[p / sum(row) for p in row] for row in grown]

    for _ in range(60):
        done = rescaled()
        for k in range(classes):
            u[k] += log(max(w[k], 1e-9) / (np.mean([row[k] for row in done]) + 1e-9))
        middle = np.mean(u)
        u = [min(max(v - middle, -8), 8) for v in u]
    return rescaled()


def slow_ensemble(source, target):
    """d_S and d_A."""
    q, tau, a = shares_of(source), slow_sharpness(source), source.accuracy
    kept = []
    for p in (source, target):
        rows = slow_balance(sharpened(p.reference, tau), q)
        balanced = np.mean([row[k] for row, k in zip(rows, p.predicted, strict=True)])
        votes = np.mean(
            [[member[i].argmax() == k for member in p.reference] for i, k in enumerate(p.predicted)]
        )
        kept.append((balanced, votes))
    base = gauge(a, len(source))
    return [
        factor * (gauge(a + there - here, len(target)) - base)
        for factor, here, there in zip((1.13, 1.34), *kept, strict=True)
    ]


def slow_passing(source_scores, right, target_scores):
    """ATC's estimate: as many source images pass as are right."""
    threshold = sorted(source_scores, reverse=True)[right - 1]
    above = sum(s > threshold for s in source_scores)
    part = (right - above) / sum(s == threshold for s in source_scores)
    return np.mean([(s > threshold) + part * (s == threshold) for s in target_scores])


def slow_atc(source, target):
    scores = [[round(sum(v * log(v) for v in row), 9) for row in p.probabilities] for p in (source, target)]
    return slow_passing(scores[0], int(source.correct.sum()), scores[1])


def slow_cott(source, target):
    """Each image's probability of the class it is sent to, at the prices of the smoothed dual."""

    def sent(p):
        prices = np.zeros(p.classes)
        for smooth in (0.1, 0.03, 0.01, 3e-3, 1e-3):

            def dual(u, e=smooth):
                return e * np.mean(logsumexp((p.probabilities - u) / e, axis=1)) + q @ u

            prices = minimize(dual, prices, method="BFGS", options={"gtol": 1e-9}).x
        choices = np.exp(
            (p.probabilities - prices) / 1e-3 - logsumexp((p.probabilities - prices) / 1e-3, axis=1)[:, None]
        )
        return (choices * p.probabilities).sum(axis=1)

    q = np.array(shares_of(source))
    return slow_passing(list(sent(source)), int(source.correct.sum()), list(sent(target)))


def bounded(drop, limit):
    return max(drop, 2 * limit if limit < 0 else limit)


def slow(name, source, target):
    base, n = gauge(source.accuracy, len(source)), len(target)
    confidence = 1.22 * (gauge(slow_atc(source, target), n) - base)
    if name == "LargestDropAlone":
        transport = 1.02 * (gauge(slow_cott(source, target), n) - base)
        return bounded(min(transport, confidence), confidence), 1.8, None
    balanced, plain = slow_ensemble(source, target)
    if name == "LargestDrop":
        return bounded(min(balanced, confidence), min(plain, confidence)), 1.5, None
    drop = bounded(balanced, plain)
    return drop, 1.5, drop - balanced > 0.15


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("seed", "shift"), [(1, 0.8), (2, 0.0), (3, 2.0), (4, -0.5)])
def test_answers_are_those_of_slow_loops(estimator, seed, shift):
    source = make_predictions(150, 4, seed=seed, name="source")
    target = make_predictions(110, 4, seed=seed + 50, shift=shift, name="target")
    if seed == 3:  # half the classes are rare, and one swallows others
        target = target.select(np.flatnonzero((target.labels < 2) | (np.arange(110) % 6 == 0)))
    drop, width, flagged = slow(estimator.__name__, source, target)
    answer = estimator().fit(source).predict(target)
    centre, half = gauge(source.accuracy, 150) + drop, width * (0.1 + 0.1 * min(abs(drop), 1))
    assert answer.diagnostics["drop"] == pytest.approx(drop, abs=2e-5)
    found, expected = (
        (answer.accuracy, answer.low, answer.high),
        norm.cdf([centre, centre - half, centre + half]),
    )
    assert found == pytest.approx(expected, abs=1e-5)
    assert bool(answer.flagged) == bool(flagged)
    assert (answer.level, answer.diagnostics["interval"]) == (0.9, INTERVAL)


@pytest.mark.parametrize("classes", [2, 7])
def test_balancing_is_that_of_slow_loops_for_unlikely_classes(classes):
    random = np.random.default_rng(classes)
    rows = random.dirichlet(np.full(classes, 0.3), 90)
    q = np.r_[0.0, random.dirichlet(np.ones(classes - 1))]  # a class that the source lacks
    assert balance(rows, q) == pytest.approx(np.array(slow_balance(rows, q)), abs=1e-5)


def test_what_chance_explains_is_not_balanced_away():
    rows = np.random.default_rng(0).dirichlet(np.ones(5), 12)
    q = rows.mean(axis=0) + np.array([0.02, -0.02, 0, 0, 0])
    assert balance(rows, q) == pytest.approx(rows, abs=1e-5)
    many = np.tile(rows, (4000, 1))
    assert balance(many, q).mean(axis=0) == pytest.approx(q, abs=1e-3)


def test_answers_of_a_thousand_classes():
    source, target = (make_predictions(1200, 1000, seed=s, shift=s / 2, members=3, peers=0) for s in (0, 1))
    for estimator in ESTIMATORS[:2]:
        answer = estimator().fit(source).predict(target)
        assert 0 < answer.accuracy < source.accuracy


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("right", [True, False])
def test_a_source_without_an_error_or_without_a_hit_gives_itself_and_a_finite_answer(estimator, right):
    source, target = make_predictions(200, seed=1), make_predictions(100, seed=2, shift=1)
    source = source.with_labels((source.predicted + (not right)) % 10)
    fitted = estimator().fit(source)
    assert fitted.predict(source).accuracy == source.accuracy
    assert 0 <= fitted.predict(target).low <= fitted.predict(target).high <= 1


def test_a_model_at_chance_stays_at_chance():
    source, target = make_predictions(3000, seed=1), make_predictions(3000, seed=2, shift=1.5)
    source = source.with_labels(np.random.default_rng(0).integers(0, 10, 3000))
    for estimator in ESTIMATORS:
        assert estimator().fit(source).predict(target).accuracy < 0.16


def test_what_they_need_is_refused_by_name():
    alone = make_predictions(60, members=0)
    hard = Predictions.from_classes("hard", alone.predicted, 10, alone.labels)
    with pytest.raises(RequirementError, match=r"BalancedAgreement\.fit: needs reference"):
        BalancedAgreement().fit(alone)
    with pytest.raises(RequirementError, match=r"LargestDropAlone\.fit: needs logits"):
        LargestDropAlone().fit(hard)
    with pytest.raises(InvalidInputError, match="at least 3 members, got 2"):
        BalancedAgreement().fit(make_predictions(60, members=2))

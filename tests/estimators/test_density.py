"""Density-ratio weights against slow loops, and the worlds that they are for and not for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from shiftcast.estimators import DensityRatioAC, ImportanceWeighted, density
from shiftcast.estimators.logistic import fit_logistic
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from worlds import drawn_to_a_class, world

SOURCE, TARGET = (make_predictions(160 - 40 * s, 3, seed=s, shift=s / 2, name=str(s)) for s in (0, 1))


def slow_logistic(rows, positive, weights):
    """Log-odds by a general minimiser, from features scaled column by column."""
    weights = np.array(weights) / sum(weights)
    columns = np.array(rows).T
    centres = [sum(weights * c) for c in columns]
    spreads = [sum(weights * (c - m) ** 2) ** 0.5 for c, m in zip(columns, centres, strict=True)]
    scaled = np.array([(c - m) / (s or 1) for c, m, s in zip(columns, centres, spreads, strict=True)])

    def loss(b):
        odds = b[:-1] @ scaled + b[-1]
        return sum(weights * (np.log1p(np.exp(odds)) - positive * odds)) + 1e-3 / 2 * sum(b[:-1] ** 2)

    b = minimize(loss, np.zeros(len(columns) + 1), method="BFGS", options={"gtol": 1e-8}).x
    return lambda row: (
        b[-1] + sum(v * (x - m) / (s or 1) for v, x, m, s in zip(b, row, centres, spreads, strict=False))
    )


def slow_weights(source, target):
    rows = []
    for logits in (*source.logits, *target.logits):
        gaps = [min(max(logits) - z, 27.6) for z in logits]
        rows.append(gaps + sorted(gaps)[1:])
    n, means = len(source), [round(float(np.mean(row)), 9) for row in rows]
    order = sorted(set(means))
    folds = [order.index(mean) % 2 for mean in means]
    weights = []
    for i in range(n):
        learn = [j for j in range(len(rows)) if folds[j] != folds[i]]
        there = np.array([float(j >= n) for j in learn])
        balance = [1 / sum(there) if y else 1 / sum(1 - there) for y in there]
        key = folds[i]
        fitted = FITTED.setdefault(key, slow_logistic([rows[j] for j in learn], there, balance))
        weights.append(min(np.exp(fitted(rows[i])), 50))
    return weights


FITTED: dict = {}


def slow_isotonic(scores, right, weights):
    """Pool adjacent violators; images of one score belong together."""
    blocks = []
    for score in sorted(set(scores)):
        own = [i for i, s in enumerate(scores) if s == score]
        total = sum(weights[i] for i in own)
        blocks.append([sum(weights[i] * right[i] for i in own) / total, total, [score]])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, v, s), (b, w, t) = blocks[-2:]
            blocks[-2:] = [[(a * v + b * w) / (v + w), v + w, s + t]]
    knots = [(score, value) for value, _, held in blocks for score in held]
    return lambda x: np.interp(x, *zip(*knots, strict=True))


def test_answers_are_those_of_slow_loops():
    weights = slow_weights(SOURCE, TARGET)
    curve = slow_isotonic(list(SOURCE.confidence), list(SOURCE.correct), weights)
    answers = [e.fit(SOURCE).predict(TARGET) for e in (DensityRatioAC(), ImportanceWeighted())]
    assert answers[0].accuracy == pytest.approx(np.mean([curve(c) for c in TARGET.confidence]), abs=1e-5)
    weighted = sum(w for w, right in zip(weights, SOURCE.correct, strict=True) if right) / sum(weights)
    assert answers[1].accuracy == pytest.approx(weighted, abs=1e-5)
    effective = sum(weights) ** 2 / sum(w**2 for w in weights)
    for answer in answers:
        assert answer.diagnostics["effective_images"] == pytest.approx(effective, rel=1e-4)
        assert bool(answer.abstains) == (effective < 50)


def test_regression_on_what_is_all_alike_stays_finite():
    rows = np.random.default_rng(0).normal(size=(50, 3))
    odds = fit_logistic(np.c_[rows, np.ones(50)], np.ones(50), np.ones(50)).log_odds(np.c_[rows, np.ones(50)])
    assert (odds > 5).all()
    assert np.isfinite(odds).all()


def errors(source, target):
    answers = [e.fit(source).predict(target) for e in (DensityRatioAC(), ImportanceWeighted())]
    return [answer.accuracy - target.accuracy for answer in answers]


def test_without_shift_under_difficulty_shift_and_label_shift_they_find_the_accuracy():
    assert np.abs(errors(world(0), world(1))).max() < 0.01
    assert np.abs(errors(world(0, hard=0.3), world(1, hard=0.8))).max() < 0.03
    assert np.abs(errors(world(0, hard=0.8), world(1, hard=0.8, common=8.0))).max() < 0.02


def test_errors_that_outputs_do_not_show_are_missed():
    assert min(errors(world(0), world(1, own_errors=0.3))) > 0.15
    assert min(errors(world(0, hard=0.3), drawn_to_a_class(world(1, hard=0.8), 0.4, 3.0))) > 0.1


def test_outputs_off_the_sources_support_make_them_abstain():
    source = make_predictions(400, seed=1)
    far = Predictions("far", make_predictions(400, seed=2).logits + 15 * np.eye(10)[0])
    for estimator in (DensityRatioAC(), ImportanceWeighted()):
        assert estimator.fit(source).predict(far).abstains
        assert not estimator.predict(make_predictions(400, seed=2)).abstains


def test_of_many_target_images_a_part_of_both_folds_is_learned_from(monkeypatch):
    source, target = (make_predictions(400, 3, seed=s, shift=s / 2, name=str(s)) for s in (2, 3))
    whole = DensityRatioAC().fit(source).predict(target)
    rows = []
    fit = density.fit_logistic

    def counted(features, positive, weights):
        rows.append(int(positive.sum()))
        return fit(features, positive, weights)

    monkeypatch.setattr(density, "MOST_IMAGES", 100)
    monkeypatch.setattr(density, "fit_logistic", counted)
    order = np.random.default_rng(0).permutation(len(target))
    shuffled = Predictions("shuffled", target.logits[order], kind="logits")
    parts = [DensityRatioAC().fit(source).predict(one) for one in (fresh(target), shuffled)]
    assert rows[:2] == rows[2:]
    assert min(rows) > 0
    assert 80 < sum(rows[:2]) < 120  # of the ranks of source and target together
    assert parts[0].accuracy == parts[1].accuracy
    assert parts[0].accuracy != whole.accuracy
    assert parts[0].accuracy == pytest.approx(whole.accuracy, abs=0.05)


def fresh(predictions):
    """The same outputs, of which nothing is remembered."""
    return Predictions(predictions.name, predictions.logits.copy(), kind="logits")

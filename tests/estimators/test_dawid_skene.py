"""Dawid and Skene's estimator against slow loops, members that err independently, and members that do not."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from shiftcast.estimators import DawidSkene
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax
from worlds import drawn_to_a_class, world


def slow(source, target):
    """Expectation maximisation by loops over images, members and classes."""
    classes, tiny = source.classes, 1e-6
    votes = [[[int(p.argmax()) for p in member] for member in some.reference] for some in (source, target)]

    def counted(votes, weights):
        n = len(weights)
        tables = []
        for member in votes:
            table = [[tiny] * classes for _ in range(classes)]
            for vote, weight in zip(member, weights, strict=True):
                for y in range(classes):
                    table[vote][y] += weight[y] / n
            sums = [sum(row[y] for row in table) for y in range(classes)]
            tables.append([[row[y] / sums[y] for y in range(classes)] for row in table])
        return tables, [sum(w[y] for w in weights) / n for y in range(classes)]

    tables, shares = counted(votes[0], [[float(k == y) for k in range(classes)] for y in source.labels])
    for _ in range(100):
        weights = []
        for i in range(len(target)):
            logs = [
                log(max(shares[y], tiny))
                + sum(log(t[v[i]][y]) for t, v in zip(tables, votes[1], strict=True))
                for y in range(classes)
            ]
            grown = [exp(value - max(logs)) for value in logs]
            weights.append([g / sum(grown) for g in grown])
        before = np.array(tables)
        tables, shares = counted(votes[1], weights)
        if np.abs(np.array(tables) - before).max() < 1e-8:
            break
    return np.mean([w[k] for w, k in zip(weights, target.predicted, strict=True)])


@pytest.mark.parametrize(("classes", "shift"), [(3, 0.5), (4, 1.5), (2, 1.0)])
def test_answers_are_those_of_slow_loops(classes, shift):
    source = make_predictions(150, classes, seed=1, name="source")
    target = make_predictions(90, classes, seed=2, shift=shift, name="target")
    answer = DawidSkene().fit(source).predict(target)
    assert answer.accuracy == pytest.approx(slow(source, target), abs=2e-5)


def independent(seed, accuracy, common=1.0):
    """Six members and a model that are each right with a chance, and else wrong at random."""
    random = np.random.default_rng(seed)
    n, weights = 4000, np.array([common, 1, 1, 1])
    labels = random.choice(4, n, p=weights / weights.sum())

    def outputs():
        wrong = (labels + random.integers(1, 4, n)) % 4
        return 5 * np.eye(4)[np.where(random.random(n) < accuracy, labels, wrong)]

    members = np.stack([outputs() for _ in range(6)])
    return Predictions("independent", outputs(), labels=labels, reference=softmax(members))


@pytest.mark.parametrize("common", [1.0, 5.0])
def test_members_that_err_independently_find_the_accuracy_whatever_the_class_shares(common):
    source, target = independent(0, 0.95), independent(1, 0.85, common)
    assert abs(DawidSkene().fit(source).predict(target).accuracy - target.accuracy) < 0.02


def test_doubt_of_independent_members_makes_it_too_low():
    source, target = independent(0, 0.9), independent(1, 0.5)
    assert DawidSkene().fit(source).predict(target).accuracy < target.accuracy - 0.08


def test_errors_that_members_share_pass_for_truth_on_the_source_already():
    source = world(0)
    for target in (world(1), world(1, own_errors=0.3), drawn_to_a_class(world(1, hard=0.8), 0.4, 3.0)):
        answer = DawidSkene().fit(source).predict(target)
        assert answer.accuracy > target.accuracy + 0.08
        assert answer.diagnostics["source_gap"] > 0.08

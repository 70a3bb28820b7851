"""Class-specific thresholds against a slow loop, and the worlds that they are for and not for."""

from __future__ import annotations

import numpy as np
import pytest

from shiftcast.estimators import ATC, ClassATC
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax


def slow(source, target):
    """Sort the source images of each predicted class, or all where they are fewer than 20."""

    def share(images, among):
        ranked = sorted((max(among.probabilities[i]) for i in images), reverse=True)
        right = sum(bool(among.correct[i]) for i in images)
        if right in (0, len(ranked)):
            return lambda _: float(right > 0)
        threshold = ranked[right - 1]
        part = (right - sum(s > threshold for s in ranked)) / sum(s == threshold for s in ranked)
        return lambda s: (s > threshold) + part * (s == threshold)

    total = 0.0
    for k in range(source.classes):
        own = [i for i in range(len(source)) if source.predicted[i] == k]
        passes = share(own if len(own) >= 20 else range(len(source)), source)
        total += sum(
            passes(max(p))
            for p, there in zip(target.probabilities, target.predicted, strict=True)
            if there == k
        )
    return total / len(target)


@pytest.mark.parametrize(("classes", "digits"), [(4, 9), (12, 9), (5, 0)])
def test_answers_are_those_of_a_slow_loop(classes, digits):
    source, target = (make_predictions(300, classes, seed=s, shift=s / 2, name=str(s)) for s in (0, 1))
    source, target = (
        Predictions(p.name, np.round(p.logits, digits), labels=p.labels) for p in (source, target)
    )
    answer = ClassATC().fit(source).predict(target)
    assert answer.accuracy == pytest.approx(slow(source, target), abs=1e-6)
    few = np.bincount(source.predicted, minlength=classes) < 20
    assert answer.diagnostics["classes"] == (~few).sum()
    assert answer.diagnostics["mass_elsewhere"] == few[target.predicted].mean()


def test_with_many_images_a_class_the_source_gives_its_accuracy():
    source = make_predictions(1500, seed=1)
    assert ClassATC().fit(source).predict(source).accuracy == pytest.approx(source.accuracy, abs=1e-6)


def test_classes_of_few_images_leave_one_threshold():
    source, target = make_predictions(90, 30, seed=1), make_predictions(90, 30, seed=2)
    assert ClassATC().fit(source).predict(target).accuracy == ATC().fit(source).predict(target).accuracy


def biased(seed, first):
    """A share `first` is put into class 0, where the model is as sure but right half the time."""
    random = np.random.default_rng(seed)
    n = 20_000
    predicted = random.choice(3, n, p=[first, (1 - first) / 2, (1 - first) / 2])
    margin = random.uniform(0, 5, n)
    right = random.random(n) < np.where(predicted == 0, 0.5, 1 / (1 + np.exp(-margin)))
    return Predictions(
        "world",
        np.eye(3)[predicted] * margin[:, None],
        labels=np.where(right, predicted, (predicted + 1) % 3),
    )


def test_class_shares_that_change_mislead_one_threshold_and_not_one_for_each_class():
    source, target = biased(0, 1 / 3), biased(1, 0.8)
    errors = [e.fit(source).predict(target).accuracy - target.accuracy for e in (ATC(), ClassATC())]
    assert errors[0] > 0.05
    assert abs(errors[1]) < 0.03


def test_a_model_that_becomes_sure_of_itself_misleads_it():
    source = make_predictions(3000, seed=3)
    target = make_predictions(3000, seed=4, shift=1)
    sure = Predictions("sure", np.log(softmax(target.logits * 3) + 1e-30), labels=target.labels)
    assert ClassATC().fit(source).predict(sure).accuracy > target.accuracy + 0.1

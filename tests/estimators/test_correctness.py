"""Correctness regressions against scikit-learn's on signals made by loops, their verdict, and worlds."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy.stats import ttest_ind
from sklearn.linear_model import LogisticRegression

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import CorrectnessRegression, EnsembleCorrectness
from shiftcast.testing import make_predictions
from worlds import drawn_to_a_class, world

SOURCE, TARGET = (make_predictions(300 - 60 * s, 4, seed=s, shift=s / 2, name=str(s)) for s in (0, 1))


def slow_signals(predictions, ensemble):
    rows = []
    for i, (p, z) in enumerate(zip(predictions.probabilities, predictions.logits, strict=True)):
        k = int(p.argmax())
        near = [max(v, max(z) - 27.6) for v in z]
        first, second = sorted(near)[::-1][:2]
        row = [p[k], -sum(v * log(v) for v in p), first - second, -log(p[k]), np.std(near)]
        if ensemble:
            members = predictions.reference[:, i]
            mean = members.mean(axis=0)
            row += [np.mean([m.argmax() == k for m in members]), mean[k]]
            row += [
                -sum(v * log(v) for v in mean) / log(len(mean)),
                sum(v * log(v / w) for v, w in zip(p, mean, strict=True)),
            ]
        rows.append(row)
    return np.array(rows)


def slow_regression(rows, right):
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    fitted = LogisticRegression(C=1 / (1e-3 * len(rows)), solver="newton-cholesky", tol=1e-12, max_iter=500)
    fitted.fit((rows - centre) / spread, right)
    return lambda other: fitted.predict_proba((other - centre) / spread)[:, 1]


@pytest.mark.parametrize("estimator", [CorrectnessRegression, EnsembleCorrectness])
def test_answers_and_verdict_are_those_of_the_library_on_slow_signals(estimator):
    here, there = (slow_signals(p, estimator is EnsembleCorrectness) for p in (SOURCE, TARGET))
    means = [round(float(row.mean()), 9) for row in here]
    folds = np.array([sorted(set(means)).index(mean) % 2 for mean in means])
    models = [slow_regression(here[folds != fold], SOURCE.correct[folds != fold]) for fold in (0, 1)]
    chances = np.mean([model(there) for model in models], axis=0)
    own = np.where(folds == 0, models[0](here), models[1](here))
    answer = estimator(margin=0.2).fit(SOURCE).predict(TARGET)
    assert answer.accuracy == pytest.approx(chances.mean(), abs=1e-6)
    welch = ttest_ind(chances + 0.2, own, equal_var=False, alternative="greater").pvalue
    assert answer.diagnostics["p_value"] == pytest.approx(welch, rel=1e-4, abs=1e-9)
    assert answer.diagnostics["suitable"] == (welch <= 0.05)


def errors(source, target):
    answers = [e.fit(source).predict(target) for e in (CorrectnessRegression(), EnsembleCorrectness())]
    return [a.accuracy - target.accuracy for a in answers], [a.diagnostics["suitable"] for a in answers]


@pytest.mark.parametrize(
    ("source", "target", "suitable"),
    [({}, {}, True), ({"hard": 0.3}, {"hard": 0.8}, False), ({"sharpness": 3.0}, {"sharpness": 3.0}, True)],
)
def test_worlds_in_which_outputs_say_how_often_they_are_right_are_solved(source, target, suitable):
    found, verdicts = errors(world(0, **source), world(1, **target))
    assert np.abs(found).max() < 0.015
    assert verdicts == [suitable, suitable]


def test_errors_that_outputs_do_not_show_are_missed_and_called_suitable():
    found, verdicts = errors(world(0), world(1, own_errors=0.3))
    assert min(found) > 0.15
    assert verdicts == [True, True]
    assert min(errors(world(0, hard=0.3), drawn_to_a_class(world(1, hard=0.8), 0.4, 3.0))[0]) > 0.1


def test_one_image_gives_no_verdict_and_a_margin_that_is_none_is_refused():
    single = CorrectnessRegression().fit(SOURCE).predict(TARGET.select(np.array([0])))
    assert (single.diagnostics["p_value"], single.diagnostics["suitable"]) == (None, False)
    with pytest.raises(InvalidInputError, match=r"margin must be a share in \[0, 1\), got 5"):
        EnsembleCorrectness(margin=5).fit(SOURCE)

"""The base class: what it hides from estimators, and what it refuses on their behalf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators import Estimator, NoShift, get_estimator
from shiftcast.predictions import Estimate, Predictions
from shiftcast.testing import make_predictions


class Onlooker(Estimator):
    """Keeps what it was shown."""

    track = "T1"

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        pass

    def _predict(self, target: Predictions) -> Estimate:
        self.seen_ = target
        return Estimate(0.5, 0.4, 0.6, self.level)


SOURCE = make_predictions(60, seed=1, name="source")


def test_predict_is_shown_no_labels_and_nothing_computed_from_them() -> None:
    target = make_predictions(40, seed=2)
    accuracy = target.accuracy  # fills the cached property `correct`
    onlooker = Onlooker().fit(SOURCE)
    onlooker.predict(target)
    assert onlooker.seen_.labels is None
    with pytest.raises(InvalidInputError, match="has no labels"):
        _ = onlooker.seen_.correct
    # the caller's own predictions stay whole, and large arrays are shared rather than copied
    assert target.labels is not None
    assert target.accuracy == accuracy
    assert onlooker.seen_.reference is target.reference


def test_unlabelled_targets_are_passed_on_as_they_are() -> None:
    target = make_predictions(40, seed=2).without_labels()
    onlooker = Onlooker().fit(SOURCE)
    onlooker.predict(target)
    assert onlooker.seen_ is target


def test_refusals_say_who_what_and_what_to_do() -> None:
    with pytest.raises(RequirementError, match=r"Onlooker\.fit: source 'source' has no labels"):
        Onlooker().fit(SOURCE.without_labels())
    with pytest.raises(InvalidInputError, match=r"not fitted yet; call fit\(source\) first"):
        Onlooker().predict(SOURCE)
    with pytest.raises(InvalidInputError, match="has 4 classes, but the source had 10"):
        Onlooker().fit(SOURCE).predict(make_predictions(20, 4))


def test_an_estimator_without_a_level_of_its_own_answers_at_95_percent() -> None:
    assert Onlooker().fit(SOURCE).predict(SOURCE).level == 0.95


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("name", ["AC", "AC-TS", "DoC", "IM", "ATC-MC", "ATC-NE", "COT", "COTT"])
def test_outputs_that_are_the_same_on_all_images_are_flagged(name: str, kind: Any) -> None:
    """Fifty-eight of a hundred are right by naming one class: confidence knows nothing of that."""
    random = np.random.default_rng(0)
    labels = np.array([2] * 58 + [0] * 42)
    row = np.array([0.2, 0.3, 0.5])
    constant = np.tile(row if kind == "probabilities" else np.log(row), (100, 1))
    noise = 1e-13 * random.random(constant.shape) + (random.random((100, 1)) if kind == "logits" else 0)
    told = np.array([0.2, 0.3, 0.5])[random.permuted(np.tile(np.arange(3), (100, 1)), axis=1)]
    alike = Predictions("alike", constant + noise, kind=kind, labels=labels)
    varied = Predictions("varied", told if kind == "probabilities" else 1e-7 * told, kind=kind, labels=labels)
    estimator = get_estimator(name)
    for source, target in ((alike, varied), (varied, alike), (alike, alike)):
        assert estimator.fit(source).predict(target).flagged.endswith("they tell nothing")
    assert not estimator.fit(varied).predict(varied).flagged.endswith("they tell nothing")
    assert NoShift().fit(alike).predict(alike).flagged == ""

"""The base class: what it hides from estimators, and what it refuses on their behalf."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators import Estimator
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

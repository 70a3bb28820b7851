"""The conformance suite lets good estimators pass and catches each kind of broken one by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import Estimator
from shiftcast.predictions import Estimate, Predictions
from shiftcast.testing import check_estimator, make_predictions


class Good(Estimator):
    """Source accuracy; every broken one below differs from it in one thing."""

    track = "T1"
    exact_on_source: ClassVar[bool] = True

    def __init__(self, width: float = 0.1) -> None:
        self.width = width

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        self.accuracy_ = source.accuracy

    def _predict(self, target: Predictions) -> Estimate:
        return self.answer(self.value(target))

    def value(self, target: Predictions) -> float:
        return self.accuracy_

    def answer(self, value: float, **diagnostics: object) -> Estimate:
        return Estimate(value, value - self.width, value + self.width, 0.95, diagnostics=diagnostics)


class ReadsLabels(Good):
    def predict(self, target: Predictions) -> Estimate:
        estimate = super().predict(target)
        return estimate if target.labels is None else self.answer(target.accuracy)


class ReadsCachedHits(Good):
    """Looks for the cached `correct`, which a copy without labels must not carry."""

    def predict(self, target: Predictions) -> Estimate:
        estimate = super().predict(target)
        cached = target.__dict__.get("correct")
        return estimate if cached is None else self.answer(float(cached.mean()))


class ChangesItsArguments(Good):
    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        super()._fit(source, others)
        self.width = self.width / 2


class HidesItsArguments(Good):
    def __init__(self, width: float = 0.1) -> None:
        self.width = width / 2


class LearnsWithoutUnderscore(Good):
    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        super()._fit(source, others)
        self.memory = len(source)


class ForgetsToReturnSelf(Good):
    def fit(self, source: Predictions, others: Sequence[Predictions] = ()) -> Self:
        super().fit(source, others)
        return None


class AcceptsAnything(Good):
    def fit(self, source: Predictions, others: Sequence[Predictions] = ()) -> Self:
        self.classes_, self.source_models_ = source.classes, {}
        self.source_accuracy_ = self.accuracy_ = 0.5
        return self


class SkipsRequirements(Good):
    requires: ClassVar[frozenset[str]] = frozenset({"logits", "peers"})

    def _check_requirements(self, method: str, predictions: Predictions) -> None:
        pass


class InventsRequirements(Good):
    requires: ClassVar[frozenset[str]] = frozenset({"logits", "luck"})


class HasNoTrack(Good):
    track = "T9"


class LooksAtTheFirstHalf(Good):
    exact_on_source: ClassVar[bool] = False

    def value(self, target: Predictions) -> float:
        return float(target.probabilities[: len(target) // 2 + 1].max(axis=1).mean())


class PrefersTheFirstMember(Good):
    requires: ClassVar[frozenset[str]] = frozenset({"logits", "reference"})
    exact_on_source: ClassVar[bool] = False

    def value(self, target: Predictions) -> float:
        return float(target.reference[0].max(axis=1).mean())


class PrefersClassZero(Good):
    exact_on_source: ClassVar[bool] = False

    def value(self, target: Predictions) -> float:
        return float((target.predicted == 0).mean())


class DependsOnM(Good):
    exact_on_source: ClassVar[bool] = False

    def value(self, target: Predictions) -> float:
        return self.accuracy_ * (1 - 1 / len(target))


class DependsOnOffsets(Good):
    exact_on_source: ClassVar[bool] = False

    def value(self, target: Predictions) -> float:
        return float(1 / (1 + np.exp(-target.logits.mean())))


class OnlyClaimsToBeExact(Good):
    def value(self, target: Predictions) -> float:
        return float(target.probabilities.max(axis=1).mean())


class SpoilsItsInput(Good):
    def value(self, target: Predictions) -> float:
        target.logits.sort(axis=1)
        return self.accuracy_


class RollsDice(Good):
    exact_on_source: ClassVar[bool] = False
    dice: ClassVar[np.random.Generator] = np.random.default_rng(0)

    def value(self, target: Predictions) -> float:
        return float(self.dice.random())


class RemembersEarlierFits(Good):
    exact_on_source: ClassVar[bool] = False

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        self.seen_ = [*getattr(self, "seen_", []), source.accuracy]
        self.accuracy_ = float(np.mean(self.seen_))


class SaysWhatJsonCannot(Good):
    def _predict(self, target: Predictions) -> Estimate:
        return self.answer(self.accuracy_, counts=np.arange(3))


class SaysNan(Good):
    def _predict(self, target: Predictions) -> Estimate:
        return self.answer(self.accuracy_, r2=float("nan"))


class AnswersInNumbers(Good):
    def _predict(self, target: Predictions) -> Estimate:
        return self.accuracy_


class KnowsTenClasses(Good):
    def value(self, target: Predictions) -> float:
        return self.accuracy_ + 0.0 * float(target.logits[:, 9].mean())


class Overflows(Good):
    exact_on_source: ClassVar[bool] = False

    def value(self, target: Predictions) -> float:
        p = np.exp(target.logits)
        return float((p / p.sum(axis=1, keepdims=True)).max(axis=1).mean())


class DividesByErrors(Good):
    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        super()._fit(source, others)
        self.odds_ = int(source.correct.sum()) / int((~source.correct).sum())


class RefusesSingleImagesWithoutItsName(Good):
    def value(self, target: Predictions) -> float:
        if len(target) == 1:
            raise InvalidInputError("too few")
        return self.accuracy_


class FailsToFit(Good):
    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        raise KeyError("nobody thought of this")


class StoresUnderAnotherName(Good):
    def __init__(self, width: float = 0.1) -> None:
        self.breadth = width


BROKEN = [
    (ReadsLabels, "must never read target labels"),
    (ReadsCachedHits, "must never read target labels"),
    (ChangesItsArguments, "fit must leave the constructor arguments unchanged"),
    (HidesItsArguments, "Constructor arguments are stored unchanged"),
    (LearnsWithoutUnderscore, r"must end in '_', but there are \['memory'\]"),
    (ForgetsToReturnSelf, "fit must return the estimator itself"),
    (AcceptsAnything, "must refuse a source without labels"),
    (SkipsRequirements, r"unmet requirement must be refused by name \(peers\)"),
    (InventsRequirements, r"holds \['luck'\]"),
    (HasNoTrack, "track must be one of"),
    (LooksAtTheFirstHalf, "permuting images must change nothing"),
    (PrefersTheFirstMember, "permuting members, peers and siblings must change nothing"),
    (PrefersClassZero, "permuting class names must change nothing"),
    (DependsOnM, "duplicating the target must change no accuracy"),
    (DependsOnOffsets, "adding a constant to all logits"),
    (OnlyClaimsToBeExact, "source predicted from itself must give its accuracy"),
    (SpoilsItsInput, "leave their inputs as they were"),
    (RollsDice, "the same source and target must give the same answer twice"),
    (
        FailsToFit,
        r"KeyError: 'nobody .*' \(test_testing.py, line \d+\) was raised where .*: Fit and predict run",
    ),
    (StoresUnderAnotherName, r"must be stored under its own name, but \['width'\] are not"),
    (RemembersEarlierFits, "fit must forget"),
    (SaysWhatJsonCannot, "values that JSON can hold"),
    (SaysNan, "values that JSON can hold"),
    (AnswersInNumbers, r"_predict must return an Estimate \(shiftcast.predictions\), got float"),
    (KnowsTenClasses, "IndexError"),
    (Overflows, "overflow"),
    (DividesByErrors, "ZeroDivisionError"),
    (RefusesSingleImagesWithoutItsName, "must work or be refused by name, but the refusal says: too few"),
]


def test_a_good_estimator_passes_and_is_left_alone() -> None:
    estimator = Good(width=0.2)
    check_estimator(estimator)
    assert vars(estimator) == {"width": 0.2}


@pytest.mark.parametrize(("broken", "sentence"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
def test_each_broken_estimator_is_caught_by_name(broken: type[Estimator], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence) as failure:
        check_estimator(broken())
    assert str(failure.value).startswith(f"{broken.__name__}: ")


def test_classes_and_strangers_are_told_apart_from_instances() -> None:
    with pytest.raises(
        AssertionError, match=r"^Good: expected an instance, got the class Good; call it: Good\(\)"
    ):
        check_estimator(Good)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=r"^dict: expected a subclass of shiftcast.estimators.Estimator"):
        check_estimator({})  # type: ignore[arg-type]


def test_synthetic_predictions_are_reproducible_and_shift_costs_accuracy() -> None:
    first, second = make_predictions(seed=3), make_predictions(seed=3)
    assert np.array_equal(first.logits, second.logits)
    assert np.array_equal(first.reference, second.reference)
    assert make_predictions(2000, shift=1.5).accuracy < make_predictions(2000).accuracy - 0.1
    assert make_predictions(2000, skill=0.3).accuracy < make_predictions(2000).accuracy


def test_synthetic_predictions_leave_out_what_is_not_asked_for() -> None:
    bare = make_predictions(20, 3, members=0, peers=0, siblings=0)
    assert bare.reference is bare.peers is bare.siblings is None
    full = make_predictions(20, 3, members=4, peers=7, siblings=1)
    assert (full.reference.shape, full.peers.shape, full.siblings.shape) == ((4, 20, 3), (7, 20), (1, 20))


def test_synthetic_logits_survive_integer_offsets_exactly() -> None:
    logits = make_predictions(50).logits
    assert np.array_equal(logits + 7 - 7, logits)

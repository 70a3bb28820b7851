"""The estimator contract: scikit-learn's conventions over `Predictions` and `Estimate`.

A subclass says what it is in class variables, keeps constructor arguments unchanged, learns
attributes ending in `_` in `_fit` and answers in `_predict`; the base class checks requirements,
hides target labels and holds what `fit` and `predict` are given against each other.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from sklearn.base import BaseEstimator

from shiftcast.errors import BrokenEstimatorError, InvalidInputError, RequirementError
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.intervals import normal_quantile

Track = Literal["T1", "T2", "T3", "T4", "T5"]
"""What an estimator needs: T1 own logits, T2 and the reference ensemble, T3 and peers, T4 and
labelled corrupted copies of the source images (some also features), T5 and labels of other shifts."""

Role = Literal["estimate", "bound", "diagnosis"]
"""What an answer is: an estimate of the accuracy, a lower bound, or what would follow from one cause."""

TRACKS: tuple[str, ...] = get_args(Track)
NEEDS = frozenset({"classes", "logits", "reference", "peers", "siblings", "features", "signals", "others"})
"""What an estimator may require; "classes" are the predicted classes alone, which every model has."""

_STACKED = ("reference", "peers", "siblings")
"""Inputs with one entry a model along their first axis; source and target must hold the same models."""

NOTHING_TOLD = "the model's outputs are the same on all images: they tell nothing"
SAME = 1e-9
"""Part of the largest output by which two outputs may differ and be one but for rounding."""
FIRST = 64
"""Images that almost always show already that outputs differ."""


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Base class of everything that predicts a target accuracy from source labels.

    Attributes
    ----------
    track
        The track on which it is ranked, see `Track`.
    role
        See `Role`; only estimates are ranked by their error.
    requires
        What the predictions must carry: a subset of "classes" (predicted classes, hard labels), "logits",
        "reference", "peers", "siblings", "features", "signals" and "others" (labelled targets of other
        groups, given to `fit`). Without "logits", the answer must follow from predicted classes.
    selected_on
        Datasets on which the estimator, or a default of it, was chosen; the board greys them.
    citation
        The publication that the formula comes from.
    others_from
        Which labelled targets of other groups the board gives to `fit`: "alike" (of the target's own
        kind, natural or synthetic, where there are enough) or "synthetic" (made from source images).
    exact_on_source
        Whether the source predicted from itself gives its accuracy exactly.
    reads_offsets
        Whether adding a constant to all logits of an image may change the answer.
    reads_counts
        Whether showing every target image twice may change the answer: it allows for chance in so many.

    Parameters
    ----------
    level
        Nominal level of the interval; an estimator without this argument answers at 0.95.
    """

    track: ClassVar[Track]
    role: ClassVar[Role] = "estimate"
    requires: ClassVar[frozenset[str]] = frozenset({"logits"})
    selected_on: ClassVar[tuple[str, ...]] = ()
    citation: ClassVar[str] = ""
    others_from: ClassVar[Literal["alike", "synthetic"]] = "alike"
    exact_on_source: ClassVar[bool] = False
    reads_offsets: ClassVar[bool] = False
    reads_counts: ClassVar[bool] = False

    level: float = 0.95
    alike_: bool = False

    def fit(self, source: Predictions, others: Sequence[Predictions] = ()) -> Self:
        """Learn from labelled source predictions.

        Parameters
        ----------
        source
            Predictions on the in-distribution set, with labels.
        others
            Labelled predictions on targets of *other* groups, for estimators that require them.

        Raises
        ------
        RequirementError
            If the source has no labels or lacks something in `requires`.
        InvalidInputError
            If `source` or one of `others` is no `Predictions`, or an argument of the constructor is
            refused.
        """
        self._check_type("fit", source)
        for other in others:
            self._check_type("fit", other, "others: ")
        normal_quantile(self.level)  # refuses a level that is none
        if source.labels is None:
            raise RequirementError(
                f"{type(self).__name__}.fit: source {source.name!r} has no labels; "
                "every estimator learns from a labelled source set"
            )
        if "others" in self.requires:
            self._check_others(others)
        self._check_requirements("fit", source)
        self.alike_ = "logits" in self.requires and not tells_images_apart(source)
        self.classes_ = source.classes
        self.source_accuracy_ = source.accuracy
        self.source_models_ = {key: len(getattr(source, key)) for key in _STACKED if key in self.requires}
        self._fit(source, others)
        return self

    def predict(self, target: Predictions) -> Estimate:
        """Estimate the accuracy on `target`; its labels, if any, are not read.

        Raises
        ------
        InvalidInputError
            If the estimator is not fitted, or source and target differ in their classes or in the
            number of reference members, peers or siblings that it needs.
        RequirementError
            If the target lacks something in `requires`.
        BrokenEstimatorError
            If the subclass answers with something else than an `Estimate`.
        """
        self._check_type("predict", target)
        if not hasattr(self, "source_accuracy_"):
            raise InvalidInputError(f"{type(self).__name__}.predict: not fitted yet; call fit(source) first")
        if target.classes != self.classes_:
            raise InvalidInputError(
                f"{type(self).__name__}.predict: target {target.name!r} has {target.classes} classes, "
                f"but the source had {self.classes_}"
            )
        self._check_requirements("predict", target)
        for key, count in self.source_models_.items():
            if len(getattr(target, key)) != count:
                raise InvalidInputError(
                    f"{type(self).__name__}.predict: {key} of target {target.name!r} holds "
                    f"{len(getattr(target, key))} models, but the source's held {count}; give the same ones"
                )
        answer: object = self._predict(target.without_labels())
        if not isinstance(answer, Estimate):
            raise BrokenEstimatorError(
                f"{type(self).__name__}: _predict must return an Estimate (shiftcast.predictions), "
                f"got {type(answer).__name__}"
            )
        if "logits" in self.requires and (self.alike_ or not tells_images_apart(target)):
            return replace(answer, flagged=NOTHING_TOLD)
        return answer

    def _check_type(self, method: str, given: object, which: str = "") -> None:
        if not isinstance(given, Predictions):
            raise InvalidInputError(
                f"{type(self).__name__}.{method}: {which}expected Predictions, got {type(given).__name__}; "
                'wrap outputs and labels: Predictions("validation", logits, labels=labels)'
            )

    def _check_requirements(self, method: str, predictions: Predictions) -> None:
        for need in sorted(self.requires - {"others"}):
            if self._lacks(predictions, need):
                raise RequirementError(
                    f"{type(self).__name__}.{method}: needs {need}, but {predictions.name!r} carries none"
                )

    def _lacks(self, predictions: Predictions, need: str) -> bool:
        if need in ("classes", "logits"):
            return need == "logits" and predictions.kind == "classes"
        value = getattr(predictions, need)
        return value is None or len(value) == 0

    def _check_others(self, others: Sequence[Predictions]) -> None:
        if not others:
            raise RequirementError(
                f"{type(self).__name__}.fit: needs labelled targets of other groups (others)"
            )
        for other in others:
            if other.labels is None:
                raise RequirementError(
                    f"{type(self).__name__}.fit: needs labels on all of others, but {other.name!r} has none"
                )

    @abstractmethod
    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        """Learn attributes ending in `_` from the validated source."""

    @abstractmethod
    def _predict(self, target: Predictions) -> Estimate:
        """Answer for a validated target without labels."""


def tells_images_apart(predictions: Predictions) -> bool:
    """Return whether outputs differ between images by more than rounding; of a single image they may."""
    for rows in (predictions.logits[:FIRST], predictions.logits):
        if predictions.kind == "logits":
            rows = rows - rows.max(axis=1, keepdims=True)  # what is added to all classes tells nothing
        if np.ptp(rows, axis=0).max() > SAME * np.abs(rows).max():
            return True
    return len(predictions) == 1


def declaration_problem(given: Any) -> str:
    """Return what is wrong with how an estimator declares itself, or an empty string."""
    if isinstance(given, type):
        return f"expected an instance, got the class {given.__name__}; call it: {given.__name__}()"
    if not isinstance(given, Estimator):
        return f"expected a subclass of shiftcast.estimators.Estimator, got {type(given).__name__}"
    track = getattr(given, "track", None)
    if track not in TRACKS:
        said = f"got {track!r}" if hasattr(given, "track") else "and the class has none"
        return f"track must be one of {', '.join(TRACKS)} (T1: a model's own outputs alone), {said}"
    unknown = sorted(set(given.requires) - NEEDS)
    return f"requires must be a subset of {sorted(NEEDS)}, but holds {unknown}" if unknown else ""

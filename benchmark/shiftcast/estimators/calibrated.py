"""Any estimator on calibrated predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import hypot
from typing import Any, ClassVar, Self

from sklearn.base import clone

from shiftcast.calibration import Calibrator, Temperature
from shiftcast.errors import InvalidInputError
from shiftcast.estimators.base import Estimator
from shiftcast.estimators.scaling import NO_TEMPERATURE
from shiftcast.predictions import Estimate, Predictions
from shiftcast.statistics.intervals import normal_quantile


def _declared(name: str) -> Any:
    """Return a property that says of a wrapper what its estimator declares."""
    return property(lambda self: getattr(self.estimator, name))


class Calibrated(Estimator):
    """An estimator that sees predictions through a calibrator fitted on the same source.

    Track, requirements (and logits, which calibrators read) and interval are the estimator's own. So are its
    diagnostics; `calibrator` (the class) is added to them and, for `Temperature`, `calibrator_temperature`.
    For `Temperature` the interval is widened by the error of 1/T: by how far the estimate moves, in squares,
    when everything is learned again one standard error away. The errors of other calibrators are not in it.

    Parameters
    ----------
    estimator
        Any estimator; it is cloned.
    calibrator
        Any calibrator; it is cloned and fitted on the source that `fit` is given.
    """

    track: ClassVar[Any] = _declared("track")
    requires: ClassVar[Any] = property(lambda self: self.estimator.requires - {"classes"} | {"logits"})
    selected_on: ClassVar[Any] = _declared("selected_on")
    citation: ClassVar[Any] = _declared("citation")
    others_from: ClassVar[Any] = _declared("others_from")
    exact_on_source: ClassVar[Any] = _declared("exact_on_source")
    reads_offsets: ClassVar[Any] = _declared("reads_offsets")
    level: Any = _declared("level")

    def __init__(self, estimator: Estimator, calibrator: Calibrator) -> None:
        self.estimator = estimator
        self.calibrator = calibrator

    def fit(self, source: Predictions, others: Sequence[Predictions] = ()) -> Self:
        """Fit the calibrator, then the estimator on what it makes of the source.

        Raises
        ------
        InvalidInputError
            If `estimator` or `calibrator` is not an instance of one, besides what `Estimator.fit` refuses.
        """
        for name, kind in (("estimator", Estimator), ("calibrator", Calibrator)):
            given = getattr(self, name)
            if not isinstance(given, kind):
                got = f"the class {given.__name__}" if isinstance(given, type) else repr(given)
                raise InvalidInputError(
                    f"Calibrated: {name} must be an instance of {kind.__module__.rpartition('.')[0]}."
                    f"{kind.__name__}, got {got}; for example Calibrated(AverageConfidence(), Temperature())"
                )
        return super().fit(source, others)

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None:
        self.calibrator_ = clone(self.calibrator).fit(source)
        self.estimator_ = self._learned(self.calibrator_, source, others)
        self.moved_ = None
        if isinstance(self.calibrator_, Temperature):
            self.moved_ = self.calibrator_.moved()
            self.moved_estimator_ = self._learned(self.moved_, source, others)

    def _learned(
        self, calibrator: Calibrator, source: Predictions, others: Sequence[Predictions]
    ) -> Estimator:
        fitted: Estimator = clone(self.estimator)
        return fitted.fit(calibrator.transform(source), [calibrator.transform(other) for other in others])

    def _predict(self, target: Predictions) -> Estimate:
        answer: Estimate = self.estimator_.predict(self.calibrator_.transform(target))
        told: dict[str, Any] = {**answer.diagnostics, "calibrator": type(self.calibrator_).__name__}
        if not isinstance(self.calibrator_, Temperature) or self.moved_ is None:
            doubt = NO_TEMPERATURE if self.calibrator_.bounded_ else ""
            return replace(answer, flagged=answer.flagged or doubt, diagnostics=told)
        moved = self.moved_estimator_.predict(self.moved_.transform(target)).accuracy
        learning = normal_quantile(answer.level) * (moved - answer.accuracy)
        return replace(
            answer,
            low=answer.accuracy - hypot(answer.accuracy - answer.low, learning),
            high=answer.accuracy + hypot(answer.high - answer.accuracy, learning),
            flagged=answer.flagged or (NO_TEMPERATURE if self.calibrator_.bounded_ else ""),
            diagnostics={**told, "calibrator_temperature": self.calibrator_.temperature_},
        )

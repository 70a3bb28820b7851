"""A source's temperature and predictions scaled by it, shared by all estimators that scale first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shiftcast.calibration import FittedTemperature, scalable_logits, temperature_fit
from shiftcast.errors import UnknownNameError
from shiftcast.predictions import MANY, Predictions
from shiftcast.util.hashing import sha256
from shiftcast.util.memory import fix, remembered

Calibration = Literal["temperature"] | None

NO_TEMPERATURE = (
    "the source has no most likely temperature: its errors, if any, say nothing of the logits' size"
)


@dataclass(frozen=True)
class Scaling:
    """The temperature of a source, and the one that is a standard error of 1/T away."""

    fitted: FittedTemperature

    @property
    def temperatures(self) -> tuple[float, float]:
        """Both of them."""
        return self.fitted.value, 1 / (1 / self.fitted.value + self.fitted.inverse_error)


def scaling_of(name: str, calibration: Calibration, source: Predictions) -> Scaling | None:
    """Return the scaling of a labelled source, found once, or None without `calibration`.

    Raises
    ------
    UnknownNameError
        If `calibration` is neither None nor "temperature"; the message begins with `name`.
    """
    if calibration is None:
        return None
    if calibration != "temperature":
        raise UnknownNameError("calibration", str(calibration), ["temperature"], name)
    labels = np.asarray(source.labels)
    key = f"scaling {source.kind} {sha256(labels.tobytes())}"
    return remembered(source.logits, key, lambda: Scaling(temperature_fit(scalable_logits(source), labels)))


def at_temperatures(predictions: Predictions, scaling: Scaling | None) -> Iterator[Predictions]:
    """Yield the predictions at both temperatures of a scaling, or as they are.

    One after the other, so that only one of them need be in memory; the same each time, if they are small.
    """
    if scaling is None:
        yield predictions
        return
    for one in scaling.temperatures:
        yield _at(one, predictions)


def doubt_of(scaling: Scaling | None) -> str:
    """Return why scaling is doubtful; nothing where it is not."""
    return NO_TEMPERATURE if scaling is not None and scaling.fitted.bounded else ""


def told_of(scaling: Scaling | None) -> dict[str, float]:
    """Return the diagnostics of a scaling."""
    return {} if scaling is None else {"temperature": scaling.fitted.value}


def _at(temperature: float, predictions: Predictions) -> Predictions:
    """Return the logits alone, divided by a temperature."""

    def divided() -> Predictions:
        scaled = scalable_logits(predictions) / float(temperature)
        return Predictions(predictions.name, fix(scaled), kind="logits")

    if predictions.logits.size > MANY:
        return divided()  # not kept: the scaled copies of a million images take more than the rest
    return remembered(predictions.logits, f"at temperature {temperature!r} {predictions.kind}", divided)

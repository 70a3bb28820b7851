"""Calibration of predictions on a labelled source, and how calibrated predictions are.

Everything is fitted on the source alone; nothing here sees a target's labels unless a metric is
asked for on a labelled target.
"""

from shiftcast.calibration.calibrators import (
    Calibrator,
    ClassTemperature,
    HistogramBinning,
    Isotonic,
    Temperature,
)
from shiftcast.calibration.metrics import (
    brier_score,
    calibration_report,
    classwise_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
)
from shiftcast.calibration.temperature import (
    FittedTemperature,
    fit_temperature,
    scalable_logits,
    temperature_fit,
)

__all__ = [
    "Calibrator",
    "ClassTemperature",
    "FittedTemperature",
    "HistogramBinning",
    "Isotonic",
    "Temperature",
    "brier_score",
    "calibration_report",
    "classwise_calibration_error",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
    "scalable_logits",
    "temperature_fit",
]

"""Columns that tables of estimators share, and words that several pages say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from shiftcast.site.tables import Column, Row
from shiftcast.util.text import BLANK, percent, points, ratio, signed

TRACKS: Mapping[str, str] = MappingProxyType(
    {
        "T1": "the model's own logits",
        "T2": "also a reference ensemble",
        "T3": "also other models' predictions",
        "T4": "features or source images",
        "T5": "labels of other shifts",
    }
)
"""What the estimators of each track need."""
TRACK = f"what an estimator needs. {'; '.join(f'{name}: {needs}' for name, needs in TRACKS.items())}"
ROBUSTNESS = (
    "effective robustness: accuracy minus what a line through all other architectures gives for this model's "
    "in-distribution accuracy (probit axes)"
)


def number(value: Any) -> float:
    """Return a number, NaN where there is none."""
    return float("nan") if pd.isna(value) else float(value)


def reading(key: str) -> Callable[[Row], float]:
    """Return a function that reads a number from a row; NaN where it has none."""
    return lambda row: number(row.get(key, float("nan")))


def _points(key: str) -> Callable[[Row], str]:
    return lambda row: points(number(row.get(key)))


def error_columns() -> list[Column]:
    """Return the columns on errors: MAE, bias, RMSE, worst cell, skill and rank correlation."""
    return [
        Column("MAE pp", _points("mae"), reading("mae"), "mean absolute error, predicted minus actual"),
        Column("bias pp", lambda row: signed(number(row.get("bias"))), reading("bias"),
               "mean signed error; above 0 is optimistic"),
        Column("RMSE pp", _points("rmse"), reading("rmse"), "root mean squared error"),
        Column("worst pp", _points("worst"), reading("worst"), "largest MAE of one model on one shift"),
        Column("skill", lambda row: ratio(number(row.get("skill"))), reading("skill"),
               "1 - MAE / MAE of the better baseline; 1 is perfect, below 0 worse than it", high_first=True),
        Column("τ", lambda row: ratio(number(row.get("tau"))), reading("tau"),
               "Kendall's rank correlation of predicted with actual accuracy over runs", high_first=True),
    ]  # fmt: skip


def coverage_columns() -> list[Column]:
    """Return the columns on intervals: coverage with the level that is promised, and width."""
    return [
        Column("sampling cover %", lambda row: covered(row, ""), reading("coverage"),
               "how often the sampling interval holds the actual accuracy, of the level it promises",
               high_first=True),
        Column("width pp", _points("width"), reading("width"), "mean width of the sampling interval"),
        Column("conformal cover %", lambda row: covered(row, "conformal_"), reading("conformal_coverage"),
               "the same for the interval that adds what the estimator got wrong on other shifts",
               high_first=True),
        Column("conformal width pp", _points("conformal_width"), reading("conformal_width"),
               "mean width of the conformal interval"),
    ]  # fmt: skip


def covered(row: Row, prefix: str) -> str:
    """Return coverage in percent and the level that was promised."""
    share = number(row.get(f"{prefix}coverage"))
    return BLANK if share != share else f"{percent(share)} of {row[f'{prefix}nominal']}"

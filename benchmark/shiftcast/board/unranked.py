"""Bounds and diagnoses on natural shifts: how they did, apart from estimates and never ranked by error."""

from __future__ import annotations

from typing import Any

import pandas as pd

from shiftcast.board.estimators import CELL, board_means
from shiftcast.board.tables import SuiteScores
from shiftcast.estimators import unranked_estimators

Rows = list[dict[str, Any]]


def bounds_and_diagnoses(scores: SuiteScores) -> tuple[Rows, Rows]:
    """Return the rows of bounds and those of diagnoses on natural shifts, each by estimator, then shift.

    The first row of an estimator is the mean over shifts, its `shift` empty. `estimator`, `shift`, `cells`;
    of bounds `holds` (share of cells, whose rows are averaged, with an accuracy at or above the bound) and
    `below` (pp by which the bound lies below the accuracy, on average); of diagnoses `mae` and `bias` (pp)
    were they estimates, `found` (mean total variation distance from the source's class shares that EM finds)
    and `true` (that of the labels).
    """
    frame = scores.unranked
    known = frame[frame["actual"].notna()]
    actual, predicted = (known[name].astype(float) for name in ("actual", "predicted"))
    error = 100 * (predicted - actual)
    true = known["target"].map(scores.class_distances).astype(float)
    found = known["total_variation"].astype(float)
    values = {"holds": (error <= 0).astype(float), "below": -error, "mae": error.abs(), "bias": error}
    known = known.assign(**values, found=found, true=true)
    roles = {name: one.role for name, one in unranked_estimators().items()}
    columns = {"bound": ["holds", "below"], "diagnosis": ["mae", "bias", "found", "true"]}
    bounds, diagnoses = (
        _by_shift(known[known["estimator"].map(roles) == role], own) for role, own in columns.items()
    )
    return bounds, diagnoses


def _by_shift(rows: pd.DataFrame, columns: list[str]) -> Rows:
    told: Rows = []
    for name, own in rows.groupby("estimator"):
        for shift, part in [("", own), *own.groupby("group")]:
            means = board_means(part, columns).loc[name].to_dict()
            named = {"estimator": name, "shift": shift, "cells": len(part.drop_duplicates(CELL))}
            told.append({**named, **{str(key): value for key, value in means.items()}})
    return told

"""Bounds and diagnoses: their figures are those of slow loops, and they are in no table of estimates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shiftcast.board.build import build_board
from shiftcast.leaderboard.estimator_section import estimators


def with_unranked(scores):
    """Rows of a bound and of a diagnosis on the natural sets, made from another estimator's."""
    own = scores.table[(scores.table["estimator"] == "NoShift") & scores.table["natural"].astype(bool)]
    random = np.random.RandomState(0)
    frames = []
    for name, moved in (("Dis2", np.nan), ("PriorTransfer", 0.25)):
        predicted = own["actual"] + random.uniform(-0.1, 0.1, len(own))
        frames.append(own.assign(estimator=name, predicted=predicted, total_variation=moved))
    distances = dict.fromkeys(own["target"], 0.1)
    return dataclasses.replace(scores, unranked=pd.concat(frames), class_distances=distances)


def test_figures_are_those_of_slow_loops(scores):
    told = with_unranked(scores)
    bounds, diagnoses = build_board(told).unranked
    rows = told.unranked[(told.unranked["estimator"] == "Dis2") & told.unranked["actual"].notna()]
    held = []
    for _, shift in rows.groupby("group"):
        cells = [
            np.mean([row["actual"] >= row["predicted"] for row in cell.to_dict("records")])
            for _, cell in shift.groupby(["architecture", "recipe"])
        ]
        held.append(np.mean(cells))
    assert (bounds[0]["estimator"], bounds[0]["shift"]) == ("Dis2", "")
    assert bounds[0]["holds"] == pytest.approx(np.mean(held))
    assert [row["shift"] for row in bounds[1:]] == sorted(rows["group"].unique())
    assert (diagnoses[0]["found"], diagnoses[0]["true"]) == pytest.approx((0.25, 0.1))


def test_the_page_shows_them_apart_and_ranks_none(scores):
    board = build_board(with_unranked(scores))
    text = "\n\n".join(estimators(board))
    assert "### Lower bounds" in text
    assert "### Diagnoses of label shift" in text
    for tables in board.kinds:
        assert not {"Dis2", "PriorTransfer"} & set(tables.overall["estimator"])
    assert "### Lower bounds" not in "\n\n".join(estimators(build_board(scores)))

"""Rows that moved between two states, and whether by more than noise."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from shiftcast.board import changes
from shiftcast.board.build import build_board
from shiftcast.board.changes import (
    BEYOND,
    FEW,
    GONE,
    NEW,
    OTHERS,
    WITHIN,
    changed_runs,
    moved_rows,
)


def predicted(scores, change):
    """The scores with the predictions of ATC changed by a function of the rows."""
    table = scores.table.copy()
    own = table["estimator"] == "ATC"
    table.loc[own, "predicted"] = table.loc[own, "predicted"].astype(float) + change(table[own])
    return dataclasses.replace(scores, table=table)


def rows_of(found, board):
    return found[found["board"] == board].set_index("row")


def test_the_same_state_moves_nothing(scores):
    assert moved_rows(build_board(scores), build_board(scores)).empty


def test_an_estimator_that_all_models_suffer_from_moved_by_more_than_noise(scores):
    found = moved_rows(build_board(scores), build_board(predicted(scores, lambda rows: 0.2)))
    row = rows_of(found, "natural shifts").loc["ATC"]
    assert set(found["row"]) == {"ATC"}
    assert row["change"] == pytest.approx(row["new"] - row["old"])
    assert row["low"] <= row["change"] <= row["high"]
    assert row["verdict"] == BEYOND


def test_a_change_that_goes_either_way_is_noise(scores):
    names = sorted(scores.table["architecture"].unique())

    def either(rows):
        signs = {name: (-1) ** place * (0.01 + 0.001 * place) for place, name in enumerate(names)}
        return rows["architecture"].map(signs)

    far = predicted(scores, lambda rows: 0.2)
    row = rows_of(moved_rows(build_board(far), build_board(predicted(far, either))), "natural shifts").loc[
        "ATC"
    ]
    assert row["verdict"] == WITHIN
    assert row["low"] < 0 < row["high"]


def test_models_that_came_are_new_and_move_estimators_without_their_doing(scores):
    def without(frame):
        return frame[~((frame["architecture"] == "net-a") & (frame.get("role", "scored") == "scored"))]

    fewer = dataclasses.replace(
        scores, runs=without(scores.runs), accuracies=without(scores.accuracies), table=without(scores.table)
    )
    found = moved_rows(build_board(fewer), build_board(scores))
    models = rows_of(found, "models in distribution")
    (name,) = [row for row in models.index if row.startswith("net-a")]
    assert models.loc[name, "verdict"] == NEW
    assert np.isnan(models.loc[name, "old"])
    assert set(rows_of(found, "natural shifts")["verdict"]) <= {FEW, OTHERS}
    back = rows_of(moved_rows(build_board(scores), build_board(fewer)), "models in distribution")
    assert back.loc[name, "verdict"] == GONE


@pytest.mark.parametrize(("more", "verdict"), [(40, WITHIN), (1200, BEYOND)])
def test_a_model_moves_against_the_noise_of_its_images(scores, more, verdict):
    accuracies = scores.accuracies.copy()
    source = scores.suite.source.test
    own = (accuracies["set"] == source) & (accuracies["architecture"] == "net-a")
    own &= accuracies["role"] == "scored"
    accuracies.loc[own, "right"] = accuracies.loc[own, "right"] - more
    found = rows_of(
        moved_rows(build_board(scores), build_board(dataclasses.replace(scores, accuracies=accuracies))),
        "models in distribution",
    )
    (row,) = found.to_dict("records")
    n = accuracies.loc[own, "n"].iloc[0]
    assert row["change"] == pytest.approx(-100 * more / n)
    old, new = row["old"] / 100, row["new"] / 100
    away = 196 * ((old * (1 - old) + new * (1 - new)) / n) ** 0.5
    assert (row["low"], row["high"]) == pytest.approx((row["change"] - away, row["change"] + away), rel=1e-3)
    assert row["verdict"] == verdict


def test_runs_that_came_and_went_are_named(scores):
    assert changed_runs(build_board(scores), build_board(scores)) == ([], [])
    runs = scores.runs.sort_values(["architecture", "recipe", "seed"]).reset_index(drop=True)
    names = [
        f"{a}/{r}/seed-{s}"
        for a, r, s in zip(runs["architecture"], runs["recipe"], runs["seed"], strict=True)
    ]
    done = [place for place in runs.index if runs["status"][place] == "ok"]
    lost, stale = done[:2]
    fewer = runs.assign(status=runs["status"].astype(object))
    fewer.loc[stale, "status"] = "stale: older images"
    fewer = dataclasses.replace(scores, runs=fewer.drop(index=lost))
    named = [names[lost], f"{names[stale]} (in the other state stale: older images)"]
    assert changed_runs(build_board(fewer), build_board(scores)) == (named, [])
    assert changed_runs(build_board(scores), build_board(fewer)) == ([], named)
    assert changed_runs(None, build_board(scores)) == ([names[place] for place in done], [])


def test_a_suite_that_one_state_lacks_is_new_or_gone(scores):
    assert set(moved_rows(None, build_board(scores))["verdict"]) == {NEW}
    assert set(moved_rows(build_board(scores), None)["verdict"]) == {GONE}
    assert isinstance(moved_rows(None, None), pd.DataFrame)


def self_reported(*models):
    """Return what a board says of self-reported models: their names and accuracies."""
    rows = [{"architecture": name, "seed": 0, "id_accuracy": share} for name, share in models]
    reported = pd.DataFrame([{**row, "stale": ""} for row in rows], columns=["architecture", "seed", "stale"])
    runs = pd.DataFrame(columns=["architecture", "recipe", "seed", "status"])
    return SimpleNamespace(
        reported=SimpleNamespace(rows=rows), scores=SimpleNamespace(runs=runs, reported=reported)
    )


def test_self_reported_runs_that_came_went_or_changed_are_told():
    old, new = (
        self_reported(("a", 0.5), ("b", 0.6), ("c", 0.7)),
        self_reported(("b", 0.65), ("c", 0.7), ("d", 0.8)),
    )
    found = {row["row"]: (row["board"], row["verdict"]) for row in changes._self_reported(old, new)}
    assert found == {
        "a/seed-0": ("self-reported models", "gone"),
        "b/seed-0": ("self-reported models", "other outputs"),
        "d/seed-0": ("self-reported models", "new"),
    }
    assert changed_runs(old, new) == (["d/self-reported/seed-0"], ["a/self-reported/seed-0"])

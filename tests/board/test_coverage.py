"""Coverage within shifts and architectures, and who may be first of a track."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shiftcast.board.build import build_board
from shiftcast.board.estimators import kept
from shiftcast.leaderboard.estimator_section import coverage_table, first_places


def kind_of(scores, natural):
    board = build_board(scores)
    return board.natural if natural else board.synthetic


@pytest.mark.parametrize("natural", [True, False])
def test_coverage_is_that_of_a_slow_count(scores, natural):
    tables = kind_of(scores, natural)
    rows, found = kept(tables.rows).to_dict("records"), tables.coverage
    assert set(found["by"]) == {"shift", "architecture"}
    for row in found[found["interval"] == "sampling"].to_dict("records"):
        key = {"shift": "group", "architecture": "architecture"}[row["by"]]
        clusters = {}
        for one in rows:
            if one["estimator"] == row["estimator"] and one["covered"] == one["covered"]:
                cell = (one["architecture"], one["recipe"], one["group"])
                clusters.setdefault(one[key], {}).setdefault(cell, []).append(one["covered"])
        shares = {
            name: float(np.mean([np.mean(values) for values in cells.values()]))
            for name, cells in clusters.items()
        }
        assert row["clusters"] == len(shares)
        assert row["lowest"] == pytest.approx(min(shares.values()))
        assert row["highest"] == pytest.approx(max(shares.values()))
        assert shares[row["lowest_name"]] == pytest.approx(row["lowest"])
        assert row["lowest_name"] == min(n for n, s in shares.items() if s == min(shares.values()))


def test_the_table_names_clusters_and_how_many_there_are(scores):
    few = scores.table.assign(low=scores.table["low"].where(scores.table["estimator"] != "GDE"))
    few = few.assign(conformal_low=few["conformal_low"].where(few["estimator"] != "GDE"))
    tables = build_board(dataclasses.replace(scores, table=few)).natural
    text = coverage_table(tables)
    assert "sampling % by shift" in text
    assert f"{tables.shifts} shifts" in text
    assert next(line for line in text.splitlines() if line.startswith("| GDE")).count("–") >= 2


def test_ties_with_the_first_of_each_track_are_named(scores):
    columns = {"natural": True, "difference": np.nan, "low": np.nan, "high": np.nan, "p": np.nan}
    rows = [("T1", "B<b>", 2.0, 1), ("T1", "A", 1.0, 1), ("T1", "C", 9.0, 3), ("T2", "D", 5.0, 1)]
    ranks = pd.DataFrame(rows, columns=["track", "estimator", "mae", "rank_low"]).assign(**columns)
    fake = dataclasses.make_dataclass("Fake", ["ranks"])(ranks)
    said = first_places(build_board(dataclasses.replace(scores, confusion=fake)).natural)
    head = "Best of their track, or not distinguishable from the best:"
    assert said == [f"{head} T1 A, B&lt;b&gt;; T2 D."]
    assert first_places(build_board(scores).natural) == []

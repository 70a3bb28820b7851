"""Coverage within shifts and architectures, and who may be first of a track."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shiftcast.board.estimators import kept, kind_rows
from shiftcast.leaderboard.coverage import coverage_by, coverage_table
from shiftcast.leaderboard.ranks import first_places


@pytest.mark.parametrize("natural", [True, False])
def test_coverage_is_that_of_a_slow_count(scores, natural):
    rows = kept(kind_rows(scores, natural)).to_dict("records")
    found = coverage_by(scores, natural)
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
    shifts = kind_rows(scores, True)["group"].nunique()
    text = coverage_table(scores, True, ["ATC", "Unknown"])
    assert "sampling % by shift" in text
    assert f"{shifts} shifts" in text
    assert next(line for line in text.splitlines() if line.startswith("| Unknown")).count("–") >= 2


def test_ties_with_the_first_of_each_track_are_named(scores):
    columns = {"natural": True, "difference": np.nan, "low": np.nan, "high": np.nan, "p": np.nan}
    rows = [("T1", "B<b>", 2.0, 1), ("T1", "A", 1.0, 1), ("T1", "C", 9.0, 3), ("T2", "D", 5.0, 1)]
    ranks = pd.DataFrame(rows, columns=["track", "estimator", "mae", "rank_low"]).assign(**columns)
    fake = dataclasses.make_dataclass("Fake", ["ranks"])(ranks)
    said = first_places(dataclasses.replace(scores, confusion=fake), True)
    head = "First of their track, or tied with the first as far as the noise tells:"
    assert said == [f"{head} T1 A, B&lt;b&gt;; T2 D."]
    assert first_places(scores, True) == []

"""How often intervals hold, shift by shift and architecture by architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from shiftcast.board.estimators import kept, kind_rows
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape, table
from shiftcast.util.text import BLANK, count, percent

INTERVALS = {"sampling": "covered", "conformal": "conformal_covered"}
CLUSTERS = {"shift": "group", "architecture": "architecture"}
COVERAGE_COLUMNS = (
    "estimator",
    "interval",
    "by",
    "clusters",
    "lowest",
    "lowest_name",
    "highest",
    "highest_name",
)


def coverage_by(scores: SuiteScores, natural: bool) -> pd.DataFrame:
    """Return the coverage of intervals within shifts and within architectures, on one kind of shift.

    Errors within a shift, or of one architecture, go together: rows do not count as so many independent
    trials, clusters do. A cluster's coverage is the mean over its cells of the mean over their rows.

    Returns
    -------
    DataFrame
        Columns `COVERAGE_COLUMNS`: one row per `estimator`, `interval` ("sampling", "conformal") and `by`
        ("shift", "architecture"): number of `clusters` with such intervals, coverage (share) in the
        `lowest` and the `highest` and their names, the first by name where several tie.
    """
    rows = kept(kind_rows(scores, natural))
    cell = ["estimator", "architecture", "recipe", "group"]
    found = []
    for interval, column in INTERVALS.items():
        stated = rows[rows[column].notna()]
        cells = stated.groupby(cell)[column].mean()
        for by, name in CLUSTERS.items():
            clusters = cells.groupby(level=["estimator", name]).mean()
            for estimator, own in clusters.groupby(level="estimator"):
                shares = {str(key): float(value) for key, value in own.droplevel("estimator").items()}
                low, high = (end(sorted(shares), key=shares.__getitem__) for end in (min, max))
                ends = (shares[low], low, shares[high], high)
                found.append((estimator, interval, by, len(shares), *ends))
    return pd.DataFrame(found, columns=list(COVERAGE_COLUMNS))


def coverage_table(scores: SuiteScores, natural: bool, estimators: list[str]) -> str:
    """Return the coverage of each estimator in its lowest and highest shift and architecture as Markdown."""
    frame = coverage_by(scores, natural)
    found = {(row["estimator"], row["interval"], row["by"]): row for row in frame.to_dict("records")}
    heads = [(interval, by) for interval in INTERVALS for by in CLUSTERS]
    told = [head for head in heads if head in {key[1:] for key in found}]
    headings = {"estimator": "left"} | {f"{interval} % by {by}": "left" for interval, by in told}
    cells = []
    for name in estimators:
        rows = [found.get((name, *head)) for head in told]
        cells.append([escape(name), *(BLANK if row is None else _ends(row) for row in rows)])
    return table(headings, cells) if told else ""


def _ends(row: Mapping[Any, Any]) -> str:
    low = f"{percent(row['lowest'])} ({escape(row['lowest_name'])})"
    high = f"{percent(row['highest'])} ({escape(row['highest_name'])})"
    if row["clusters"] == 1:
        return low
    return f"{low} to {high}, {count(row['clusters'], row['by'])}"

"""How often intervals hold, shift by shift and architecture by architecture."""

from __future__ import annotations

import pandas as pd

INTERVALS = {"sampling": "covered", "conformal": "conformal_covered"}
CLUSTERS = {"shift": "group", "architecture": "architecture"}
COVERAGE_COLUMNS = (
    *("estimator", "interval", "by", "clusters"),
    *("lowest", "lowest_name", "highest", "highest_name"),
)


def coverage_by(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the coverage of intervals within shifts and within architectures.

    Errors within a shift, or of one architecture, go together: rows do not count as so many independent
    trials, clusters do. A cluster's coverage is the mean over its cells of the mean over their rows.

    Parameters
    ----------
    rows
        Answers of estimators on one kind of shift, see `estimators.kind_rows`.

    Returns
    -------
    DataFrame
        Columns `COVERAGE_COLUMNS`: one row per `estimator`, `interval` ("sampling", "conformal") and `by`
        ("shift", "architecture"): number of `clusters` with such intervals, coverage (share) in the
        `lowest` and the `highest` and their names, the first by name where several tie.
    """
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

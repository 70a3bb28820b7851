"""All rows of a suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import pandas as pd

from shiftcast.estimators import Estimator
from shiftcast.runs.suite_runs import Pool
from shiftcast.scoring.processes import Columns, Stored, scored_runs

TABLE_COLUMNS = (
    *("suite", "architecture", "recipe", "seed", "family", "target", "group", "natural", "severity", "level"),
    *("estimator", "track", "selected_on", "protocol", "predicted", "low", "high", "nominal", "actual", "n"),
    "effective",
    *("flagged", "abstains", "note", "total_variation", "seconds"),
)
"""Columns of `SuiteScores.table`."""

Tables = tuple[pd.DataFrame, pd.DataFrame]
"""`SuiteScores.table` and `SuiteScores.skipped`."""


def score_pool(
    pool: Pool,
    estimators: Mapping[str, Estimator],
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    stored: Stored | None = None,
) -> Tables:
    """Return the rows of every scored run, and which estimators gave none and why.

    Parameters
    ----------
    pool
        A suite's runs.
    estimators
        Named, unfitted estimators.
    jobs
        Processes that share the work, see `scored_runs`.
    progress
        Is told how many runs are scored, and of how many.
    stored
        Gives what is stored of a run, which is taken in place of scoring it, or None.
    """
    columns: Columns = {name: [] for name in TABLE_COLUMNS}
    skipped: Counter[tuple[str, str]] = Counter()
    for done, (own, lacking) in enumerate(scored_runs(pool, estimators, TABLE_COLUMNS, jobs, stored), 1):
        if progress is not None:
            progress(done, len(pool.scored))
        for name, values in columns.items():
            values.extend(own[name])
        skipped.update(lacking)
    reasons = [{"estimator": name, "reason": reason, "rows": n} for (name, reason), n in skipped.items()]
    return (
        pd.DataFrame(columns),
        pd.DataFrame(reasons, columns=["estimator", "reason", "rows"]),
    )

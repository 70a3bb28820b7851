"""All rows of a suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from shiftcast.estimators import Estimator
from shiftcast.pool import Pool
from shiftcast.scoring.run import score_run

TABLE_COLUMNS = (
    *("suite", "architecture", "recipe", "seed", "family", "target", "group", "natural", "severity", "level"),
    *("estimator", "track", "selected_on", "protocol", "predicted", "low", "high", "nominal", "actual", "n"),
    "effective",
    *("abstains", "note", "seconds"),
)
"""Columns of `SuiteScores.table`."""

Tables = tuple[pd.DataFrame, pd.DataFrame]
"""`SuiteScores.table` and `SuiteScores.skipped`."""


def score_pool(pool: Pool, estimators: Mapping[str, Estimator]) -> Tables:
    """Return the rows of every scored run, and which estimators gave none and why.

    Parameters
    ----------
    pool
        A suite's runs.
    estimators
        Named, unfitted estimators.
    """
    columns: dict[str, list[Any]] = {name: [] for name in TABLE_COLUMNS}  # a fifth of the rows' own memory
    skipped: Counter[tuple[str, str]] = Counter()
    for run in pool.scored:
        own, lacking = score_run(pool, run, estimators)
        for row in own:
            for name, values in columns.items():
                values.append(row[name])
        skipped.update(lacking)
    reasons = [{"estimator": name, "reason": reason, "rows": n} for (name, reason), n in skipped.items()]
    return (
        pd.DataFrame(columns),
        pd.DataFrame(reasons, columns=["estimator", "reason", "rows"]),
    )

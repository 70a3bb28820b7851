"""The file of residuals: what each estimator got wrong, for intervals around other people's answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from shiftcast.board.estimators import EstimatorTables
from shiftcast.board.tables import SuiteScores
from shiftcast.scoring.conformal import residuals_of

DIGITS = 4


def suite_residuals(scores: SuiteScores, kinds: Iterable[EstimatorTables]) -> dict[str, Any] | None:
    """Return what the file of residuals holds about a suite: errors by kind of shift and estimator.

    Probit residuals by shift, mean absolute error and coverage (shares), and the nominal level. None for
    controls, scratch suites, other editions, and where nothing is predicted.
    """
    suite = scores.suite
    if scores.edition or suite.scratch or suite.is_control or not len(scores.table):
        return None
    return {
        "version": suite.version,
        "learned_on": suite.title,
        "architectures": int(scores.table["architecture"].nunique()),
        **{tables.kind: _kind(tables) for tables in kinds},
    }


def _kind(tables: EstimatorTables) -> dict[str, Any]:
    table = tables.scores.table
    found = {name: own for (name, kind), own in residuals_of(table).items() if kind == tables.natural}
    if not found:
        return {}
    board = tables.overall.set_index("estimator")
    return {
        name: {
            "coverage": _number(board.loc[name, "coverage"]),
            "mae": _number(board.loc[name, "mae"], 0.01),
            "nominal": _number(table.loc[table["estimator"] == name, "nominal"].max()),
            "residuals": {
                shift: [round(float(v), DIGITS) + 0.0 for v in np.concatenate(list(own.values()))]
                for shift, own in shifts.items()
            },
        }
        for name, shifts in found.items()
    }


def _number(value: Any, unit: float = 1.0) -> float | None:
    return None if value != value else round(float(value) * unit, DIGITS)

"""Conformal intervals of every row: what the estimator got wrong on other shifts and other models.

A row's residuals come from the same estimator on labelled shifts of the same kind, leaving out the
row's own group and its own architecture: as for a new model under a new shift. Residuals on
corruptions promise nothing about natural shifts and are never used for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.predictions import Floats
from shiftcast.statistics import conformal_interval, conformal_reach, probit_residuals, supported_level

CONFORMAL_COLUMNS = (
    "conformal_low",
    "conformal_high",
    "conformal_level",
    "conformal_extended",
    "conformal_groups",
)

Residuals = Mapping[str, Mapping[str, Floats]]
"""Probit residuals by group, then by architecture."""


def residuals_of(table: pd.DataFrame) -> dict[tuple[str, bool], Residuals]:
    """Return the probit residuals of official rows by estimator and kind of shift (natural or not).

    Rows without known labels, and those on which the estimator abstains, have none.

    Parameters
    ----------
    table
        As `SuiteScores.table`.
    """
    known = (table["protocol"] == "official") & table["actual"].notna() & ~table["abstains"].astype(bool)
    rows = table[known].sort_values(["estimator", "group", "architecture", "recipe", "seed", "target"])
    values = probit_residuals(*(rows[key].to_numpy(dtype=np.float64) for key in ("actual", "predicted", "n")))
    found: dict[tuple[str, bool], dict[str, dict[str, list[float]]]] = {}
    keys = (rows[key] for key in ("estimator", "natural", "group", "architecture"))
    for (estimator, natural, group, architecture), value in zip(zip(*keys, strict=True), values, strict=True):
        groups = found.setdefault((str(estimator), bool(natural)), defaultdict(lambda: defaultdict(list)))
        groups[str(group)][str(architecture)].append(float(value))
    return {
        key: {
            group: {name: np.array(own) for name, own in by_architecture.items()}
            for group, by_architecture in groups.items()
        }
        for key, groups in found.items()
    }


def with_conformal(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the columns of `CONFORMAL_COLUMNS`.

    They are NaN (and False, 0) for rows of the shared protocol, where the estimator abstains, and
    where too few other groups support a level.
    """
    residuals = residuals_of(table)
    reaches: dict[tuple[str, bool, str, str], tuple[float, float, int]] = {}
    columns: dict[str, list[Any]] = {name: [] for name in CONFORMAL_COLUMNS}
    keys = ["estimator", "natural", "group", "architecture", "protocol", "abstains", "predicted", "n"]
    for row in table[keys].to_dict("records"):
        key = (str(row["estimator"]), bool(row["natural"]), str(row["group"]), str(row["architecture"]))
        answer: tuple[float, float, float, bool, int] = (np.nan, np.nan, np.nan, False, 0)
        if row["protocol"] == "official" and not row["abstains"]:
            if key not in reaches:
                reaches[key] = _reach(residuals.get(key[:2], {}), *key[2:])
            reach, level, groups = reaches[key]
            answer = (np.nan, np.nan, np.nan, False, groups)
            if level == level:
                ends = conformal_interval(float(row["predicted"]), float(row["n"]), reach)
                answer = (ends[0], ends[1], level, ends[2], groups)
        for name, value in zip(CONFORMAL_COLUMNS, answer, strict=True):
            columns[name].append(value)
    return table.assign(**columns)


def _reach(residuals: Residuals, group: str, architecture: str) -> tuple[float, float, int]:
    """Return reach and level for one row, NaN where there is none, and how many groups it has."""
    others = []
    for name, by_architecture in residuals.items():
        own = [values for other, values in by_architecture.items() if other != architecture]
        if name != group and own:
            others.append(np.concatenate(own))
    level = supported_level(len(others))
    if level is None:
        return np.nan, np.nan, len(others)
    return conformal_reach(others, level), level, len(others)

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

from shiftcast.statistics import conformal_interval, probit_residuals, supported_level
from shiftcast.statistics.conformal import weighted_reach
from shiftcast.util.types import Floats

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
    residuals = {key: _Reaches(own) for key, own in residuals_of(table).items()}
    none = _Reaches({})
    reaches: dict[tuple[str, bool, str, str], tuple[float, float, int]] = {}
    columns: dict[str, list[Any]] = {name: [] for name in CONFORMAL_COLUMNS}
    keys = ["estimator", "natural", "group", "architecture", "protocol", "abstains", "predicted", "n"]
    # By column: a dictionary for each row of a large board takes tens of MiB that do not come back.
    for estimator, natural, group, architecture, protocol, abstains, predicted, n in zip(
        *(table[key] for key in keys), strict=True
    ):
        key = (str(estimator), bool(natural), str(group), str(architecture))
        answer: tuple[float, float, float, bool, int] = (np.nan, np.nan, np.nan, False, 0)
        if protocol == "official" and not abstains:
            if key not in reaches:
                reaches[key] = residuals.get(key[:2], none).without(*key[2:])
            reach, level, groups = reaches[key]
            answer = (np.nan, np.nan, np.nan, False, groups)
            if level == level:
                ends = conformal_interval(float(predicted), float(n), reach)
                answer = (ends[0], ends[1], level, ends[2], groups)
        for name, value in zip(CONFORMAL_COLUMNS, answer, strict=True):
            columns[name].append(value)
    return table.assign(**columns)


class _Reaches:
    """Finds reaches from one estimator's residuals, the sizes of which are sorted once for all rows."""

    def __init__(self, residuals: Residuals) -> None:
        own = [(group, name, abs(v)) for group, by in residuals.items() for name, v in by.items()]
        self.groups, self.architectures = list(residuals), sorted({name for _, name, _ in own})
        groups = [np.full(len(values), self.groups.index(group)) for group, _, values in own]
        architectures = [np.full(len(values), self.architectures.index(name)) for _, name, values in own]
        sizes = np.concatenate([np.empty(0), *(values for *_, values in own)])
        order = np.argsort(sizes, kind="stable")
        self._sizes = sizes[order]
        self._group = np.concatenate([np.empty(0, dtype=np.int64), *groups])[order]
        self._architecture = np.concatenate([np.empty(0, dtype=np.int64), *architectures])[order]

    def without(self, group: str, architecture: str) -> tuple[float, float, int]:
        """Return reach and level for one row, NaN where there is none, and how many groups it has."""
        kept = np.ones(len(self._sizes), dtype=bool)
        if group in self.groups:
            kept &= self._group != self.groups.index(group)
        if architecture in self.architectures:
            kept &= self._architecture != self.architectures.index(architecture)
        counts = np.bincount(self._group[kept], minlength=len(self.groups))
        others = int(np.count_nonzero(counts))
        level = supported_level(others)
        if level is None:
            return np.nan, np.nan, others
        weights = (1 / ((others + 1) * np.maximum(counts, 1)))[self._group] * kept  # as `conformal_reach`
        return weighted_reach(self._sizes, weights, level), level, others

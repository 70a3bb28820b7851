"""All tables about a suite's confusion, from its stored runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from shiftcast.analysis.claims import Resampled, drop_shares, paired_errors, predicted_lines
from shiftcast.analysis.confusion import Confusion
from shiftcast.analysis.human import read_figures
from shiftcast.analysis.sensitivity import sensitivity
from shiftcast.analysis.sets import accuracy_by_bin, describe_sets, histogram, reliability
from shiftcast.analysis.tables import ConfusionTables
from shiftcast.pool import Pool
from shiftcast.predictions import Floats

HUMAN = "human.json"
"""Name of the file, beside a suite's runs, with the figures from human labels."""


def confusion_tables(pool: Pool, table: pd.DataFrame, folder: Path) -> ConfusionTables | None:
    """Return what a suite's reference ensemble says, or None where it is incomplete.

    Parameters
    ----------
    pool
        The suite's runs.
    table
        The tidy table of predictions, as in `SuiteScores`.
    folder
        The suite's results folder.
    """
    if not pool.scored or len(pool.reference) < len(pool.suite.reference.members):
        return None
    if any(name not in pool.reference for name in pool.suite.reference.members):
        return None
    confusion = Confusion(pool)
    human, note = read_figures(folder / HUMAN, confusion)
    judged = all(pool.members(run.family) for run in pool.scored)
    resampled = Resampled(confusion)
    predicted = official_predictions(pool, table)
    return ConfusionTables(
        kind=confusion.kind,
        members=list(confusion.members),
        threshold=confusion.threshold,
        sets=describe_sets(confusion),
        histogram=histogram(confusion),
        accuracy=accuracy_by_bin(confusion),
        reliability=reliability(confusion),
        lines=predicted_lines(resampled, predicted),
        pairs=paired_errors(resampled, predicted),
        drop=drop_shares(resampled),
        sensitivity=sensitivity(pool) if judged else pd.DataFrame(),
        human=human,
        human_note=note,
    )


def official_predictions(pool: Pool, table: pd.DataFrame) -> dict[tuple[str, str], Floats]:
    """Return official predictions (R,) by (estimator, target), where every scored run has one."""
    order = [(run.key.architecture, run.key.recipe, run.key.seed) for run in pool.scored]
    official = table[table["protocol"] == "official"]
    found: dict[tuple[str, str], dict[tuple[str, str, int], float]] = {}
    columns = ("estimator", "target", "architecture", "recipe", "seed", "predicted")
    for estimator, target, *run, predicted in zip(*(official[name] for name in columns), strict=True):
        found.setdefault((estimator, target), {})[tuple(run)] = predicted
    return {
        key: np.array([known[run] for run in order], dtype=np.float64)
        for key, known in found.items()
        if set(known) == set(order)
    }

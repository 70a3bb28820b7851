"""Other ensembles in the place of the reference: the partition's error by kind, size and members."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from shiftcast.analysis.sensitivity import ErrorTable, neighbours
from shiftcast.cards.suite import RunKey, StudiedEnsemble
from shiftcast.difficulty.scores import on_grid
from shiftcast.runs.suite_runs import Pool, StoredRun

LARGEST = 12
"""Members up to which sizes are tried one by one."""
FEWEST_TO_PART = 6
"""Members from which an ensemble's more accurate half is compared with the other."""


def ensemble_study(pool: Pool) -> pd.DataFrame:
    """Return errors of ConfusionPartition by ensemble and size, averaged as on the board.

    All ensembles judge the same runs: those of plain recipes whose family is in none of them. Errors of M
    members are means over the runs of M neighbours in the suite's order, taken as a ring, so that each
    member counts equally often.

    Returns
    -------
    DataFrame
        Columns `ENSEMBLE_COLUMNS`: `ensemble` and `title`; `part` ("all", or the "more accurate" or "less
        accurate" half by in-distribution accuracy); `size`; `accuracy` (mean of the members in
        distribution) and `disagreement` (share of in-distribution images on which two members differ, mean
        over pairs), in [0, 1]; `natural_mae`, `natural_bias`, `synthetic_mae`, `synthetic_bias` (pp; NaN
        without such shifts); `judged` (number of runs). An ensemble that lacks a member has no rows.
    """
    complete = {run.key: run for run in pool.runs}
    studied: list[tuple[StudiedEnsemble, list[StoredRun]]] = []
    for one in pool.suite.ensembles:
        keys: list[RunKey] = one.run_keys()
        if all(key in complete for key in keys):
            studied.append((one, [complete[key] for key in keys]))
    families = {run.family for _, members in studied for run in members}
    judged = [run for run in pool.scored if pool.is_plain(run) and run.family not in families]
    if not studied or not judged:
        return pd.DataFrame(columns=list(ENSEMBLE_COLUMNS))
    table = ErrorTable(pool, judged, [run for _, members in studied for run in members])
    if not table.targets:
        return pd.DataFrame(columns=list(ENSEMBLE_COLUMNS))
    rows = []
    for one, members in studied:
        exact = [on_grid(table.joined([run])[0]) for run in members]
        accuracy = np.array([run.sets[table.source].accuracy for run in members])
        classes = np.stack([run.predicted(table.source) for run in members])
        count = len(members)
        parts = [("all", size, neighbours(count, size)) for size in range(2, min(count, LARGEST) + 1)]
        if count > LARGEST:
            parts.append(("all", count, neighbours(count, count)))
        if count >= FEWEST_TO_PART:
            order = np.argsort(-accuracy, kind="stable").tolist()
            half = count // 2
            parts += [("more accurate", half, [order[:half]]), ("less accurate", half, [order[-half:]])]
        for part, size, rings in parts:
            used = sorted({place for ring in rings for place in ring})
            apart = [(classes[a] != classes[b]).mean() for a, b in itertools.combinations(used, 2)]
            figures = (float(accuracy[used].mean()), float(np.mean(apart)))
            errors = table.errors_by(exact, rings)
            rows.append((one.name, one.title, part, size, *figures, *errors, len(judged)))
    return pd.DataFrame(rows, columns=list(ENSEMBLE_COLUMNS))


ENSEMBLE_COLUMNS = (
    *("ensemble", "title", "part", "size", "accuracy", "disagreement"),
    *("natural_mae", "natural_bias", "synthetic_mae", "synthetic_bias", "judged"),
)

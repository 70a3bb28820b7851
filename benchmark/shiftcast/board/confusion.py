"""All tables about a suite's confusion, from its stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.analysis.claims import Resampled, drop_shares, paired_errors, predicted_lines
from shiftcast.analysis.confusion import Confusion
from shiftcast.analysis.ensembles import ensemble_study
from shiftcast.analysis.halves import shared_errors
from shiftcast.analysis.human import HUMAN, read_figures
from shiftcast.analysis.ranking import RANK_DRAWS, ranking
from shiftcast.analysis.robustness import robustness_intervals
from shiftcast.analysis.sensitivity import sensitivity
from shiftcast.analysis.sets import accuracy_by_bin, describe_sets, histogram, reliability
from shiftcast.board.tables import RUN, ConfusionTables
from shiftcast.runs.suite_runs import Pool
from shiftcast.util.memory import give_back
from shiftcast.util.types import Floats


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
    members = pool.suite.reference.members
    if not members or any(name not in pool.reference for name in members):
        return None
    give_back()
    judged = all(pool.members(run.family) and not run.hard for run in pool.scored)
    # Studies of all members' probabilities come first: they need most memory, and the others keep some.
    ensembles = ensemble_study(pool)
    give_back()
    changed = sensitivity(pool) if judged else pd.DataFrame()
    give_back()
    confusion = Confusion(pool)
    human, note = read_figures(folder / HUMAN, confusion)
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
        ranks=_ranks(confusion, table),
        ensembles=ensembles,
        shared=shared_errors(confusion),
        sensitivity=changed,
        human=human,
        human_note=note,
        robustness=_robustness(resampled),
    )


def _robustness(resampled: Resampled) -> pd.DataFrame:
    """Return intervals of effective robustness on natural shifts, and on those that models are ranked by."""
    confusion, groups = resampled.confusion, dict[str, list[str]]()
    required = []
    for target in confusion.pool.targets:
        if target.id in confusion.natural:
            groups.setdefault(target.group, []).append(target.id)
            required += [target.group] if target.level == "required" else []
    return robustness_intervals(resampled, groups, list(dict.fromkeys(required)))


def _ranks(confusion: Confusion, table: pd.DataFrame) -> pd.DataFrame:
    """Return what can be said of estimators' errors on natural and on synthetic shifts."""
    give_back()
    pool, frames = confusion.pool, []
    resampled = Resampled(confusion, RANK_DRAWS)
    known = table.loc[~table["abstains"].astype(bool), ["protocol", "estimator", "target", *RUN, "predicted"]]
    predicted = official_predictions(pool, known)
    tracks = dict(zip(table["estimator"], table["track"], strict=True))
    for natural in (True, False):
        groups: dict[str, list[str]] = {}
        for target in pool.targets:
            told = target.id in confusion.scored_sets and confusion.labelled(target.id)
            if told and pool.workspace.natural(target) == natural:
                groups.setdefault(target.group, []).append(target.id)
        give_back()  # of ten thousand draws, and of what came before
        found = ranking(resampled, groups, predicted, tracks, pool.suite.headline)
        frames.append(found.assign(natural=natural))
    return pd.concat([one for one in frames if len(one)] or frames[:1], ignore_index=True)


def official_predictions(pool: Pool, table: pd.DataFrame) -> dict[tuple[str, str], Floats]:
    """Return official predictions (R,) by (estimator, target), where every scored run has one."""
    places = {(run.key.architecture, run.key.recipe, run.key.seed): i for i, run in enumerate(pool.scored)}
    official = table.loc[table["protocol"] == "official", ["estimator", "target", *RUN, "predicted"]]
    place = np.array([places.get(run, -1) for run in zip(*(official[name] for name in RUN), strict=True)])
    values, found = official["predicted"].to_numpy(dtype=np.float64), dict[tuple[str, str], Floats]()
    cells: dict[Any, Any] = official.groupby(["estimator", "target"]).indices
    for key, rows in sorted(cells.items(), key=lambda cell: int(cell[1][0])):
        if sorted(place[rows]) == list(range(len(places))):
            found[key] = values[rows][np.argsort(place[rows])]
    return found

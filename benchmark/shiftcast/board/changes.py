"""What changed between two states of a suite's results, row by row of the board, and whether it is noise.

Pure functions of boards.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.estimators import EstimatorTables
from shiftcast.board.tables import MODEL
from shiftcast.board.words import KINDS
from shiftcast.cards.base import SELF_REPORTED
from shiftcast.statistics import DRAWS, draw_weights, percentile_interval

MOVED_COLUMNS = ("board", "row", "old", "new", "change", "low", "high", "verdict")
MODEL_BOARDS = ("models in distribution", "models under shift")
REPORTED_BOARD = "self-reported models"
FEWEST_ARCHITECTURES = 5
"""Architectures in both states from which a change of an estimator's error gets an interval."""
SEED = 20221014
BEYOND, WITHIN, FEW = "more than noise", "within noise", "too few to tell"
NEW, GONE, OTHERS, CHANGED = "new", "gone", "other models", "other outputs"
COMPLETE, ABSENT = "ok", "missing"
"""Statuses of runs (see `SuiteScores.runs`)."""
SMALLEST = 0.005
"""Change in pp below which a printed figure stays the same."""


def moved_rows(old: Board | None, new: Board | None) -> pd.DataFrame:
    """Return the rows of a suite's boards that moved, appeared or went.

    Parameters
    ----------
    old, new
        One suite and edition in both states; None where one does not hold it.

    Returns
    -------
    DataFrame
        Columns `MOVED_COLUMNS`. Boards: `natural shifts` and `synthetic shifts` (mean absolute errors of
        estimators, pp), `models in distribution`, `models under shift` and `self-reported models` (accuracies
        in %, the last in distribution).
        `low` and `high` bound the change at 95 %: for an estimator, the mean change of the models that both
        states hold,
        over a bootstrap of architectures; for a model, by the normal approximation with independent
        images, which is wide where both states show the same ones. `verdict`: `more than noise`, `within
        noise`, `too few to tell` (fewer than five architectures in common), `other models` (nothing changed
        for the common ones), `other outputs` (of a self-reported model), `new` or `gone`.
    """
    rows: list[dict[str, Any]] = []
    for kind in KINDS.values():
        rows += _estimators(old, new, kind)
    rows += _models(old, new)
    rows += _self_reported(old, new)
    return pd.DataFrame(rows, columns=list(MOVED_COLUMNS))


def changed_runs(old: Board | None, new: Board | None) -> tuple[list[str], list[str]]:
    """Return the runs that were added and those that were removed: complete in one of the states alone.

    Parameters
    ----------
    old, new
        As in `moved_rows`.

    Returns
    -------
    tuple of lists
        `ARCHITECTURE/RECIPE/seed-SEED`, and in brackets what is wrong with the run where the other state
        has it too.
    """
    before, after = (_statuses(board) for board in (old, new))
    return _complete_in_first(after, before), _complete_in_first(before, after)


def _statuses(board: Board | None) -> dict[tuple[str, str, int], str]:
    if board is None:
        return {}
    columns = (board.scores.runs[name] for name in (*MODEL, "seed", "status"))
    own = {(str(a), str(r), int(seed)): str(status) for a, r, seed, status in zip(*columns, strict=True)}
    reported = board.scores.reported.drop_duplicates(["architecture", "seed"]).to_dict("records")
    return own | {
        (str(row["architecture"]), SELF_REPORTED, int(row["seed"])): str(row["stale"]) or COMPLETE
        for row in reported
    }


def _complete_in_first(
    first: dict[tuple[str, str, int], str], second: dict[tuple[str, str, int], str]
) -> list[str]:
    found = []
    for key in sorted(key for key, status in first.items() if status == COMPLETE):
        other = second.get(key, ABSENT)
        if other != COMPLETE:
            name = f"{key[0]}/{key[1]}/seed-{key[2]}"
            found.append(name if other == ABSENT else f"{name} (in the other state {other})")
    return found


def _estimators(old: Board | None, new: Board | None, kind: str) -> list[dict[str, Any]]:
    both: list[EstimatorTables | None] = [getattr(board, kind, None) for board in (old, new)]
    before, after = (_errors(tables) for tables in both)
    models_before, models_after = (_by_model(tables) for tables in both)
    rows = []
    for name in sorted(before.keys() | after.keys()):
        row = _row(f"{kind} shifts", name, before.get(name), after.get(name))
        if row is not None and not row["verdict"]:
            changes = models_after.get(name, pd.Series()) - models_before.get(name, pd.Series())
            row |= _change_over_models(changes.dropna())
        rows += [row] if row is not None else []
    return rows


def _errors(tables: EstimatorTables | None) -> dict[str, float]:
    if tables is None:
        return {}
    known = tables.overall[tables.overall["mae"].notna()]
    return dict(zip(known["estimator"], known["mae"].astype(float), strict=True))


def _by_model(tables: EstimatorTables | None) -> dict[str, pd.Series[float]]:
    """Return each estimator's mean absolute error by model, in pp."""
    if tables is None:
        return {}
    models = tables.by_model.set_index(["estimator", *MODEL])["mae"]
    return {str(name): own.droplevel("estimator") for name, own in models.groupby(level="estimator")}


def _change_over_models(changes: pd.Series[float]) -> dict[str, Any]:
    """Return the interval and the verdict of an estimator's changes by model (both indices)."""
    owners = [str(name) for name, _ in changes.index]
    names = sorted(set(owners))
    if len(names) < FEWEST_ARCHITECTURES:
        return {"verdict": FEW}
    if (changes.abs() < SMALLEST).all():
        return {"low": 0.0, "high": 0.0, "verdict": OTHERS}
    member = np.array([[owner == name for name in names] for owner in owners], dtype=np.float64)
    weights = draw_weights(len(names), DRAWS, SEED) @ member.T
    low, high = percentile_interval(weights @ changes.to_numpy(dtype=np.float64) / weights.sum(axis=1))
    return {"low": low, "high": high, "verdict": BEYOND if low > 0 or high < 0 else WITHIN}


def _models(old: Board | None, new: Board | None) -> list[dict[str, Any]]:
    before, after = (_accuracies(board) for board in (old, new))
    rows = []
    for board in MODEL_BOARDS:
        first, second = before.get(board, {}), after.get(board, {})
        for name in sorted(first.keys() | second.keys()):
            values = [found[name][0] if name in found else None for found in (first, second)]
            row = _row(board, name, *values)
            if row is not None and not row["verdict"]:
                away = 1.96 * math.hypot(first[name][1], second[name][1])
                low, high = row["change"] - away, row["change"] + away
                row |= {"low": low, "high": high, "verdict": BEYOND if low > 0 or high < 0 else WITHIN}
            rows += [row] if row is not None else []
    return rows


def _self_reported(old: Board | None, new: Board | None) -> list[dict[str, Any]]:
    """Return self-reported models that came, went or have another accuracy in distribution."""
    before, after = (_reported_accuracies(board) for board in (old, new))
    rows = []
    for name in sorted(before.keys() | after.keys()):
        row = _row(REPORTED_BOARD, name, before.get(name), after.get(name))
        if row is not None:
            rows.append(row | {"verdict": row["verdict"] or CHANGED})
    return rows


def _reported_accuracies(board: Board | None) -> dict[str, float]:
    if board is None:
        return {}
    return {
        f"{row['architecture']}/seed-{row['seed']}": 100 * row["id_accuracy"]
        for row in board.reported.rows
        if not pd.isna(row["id_accuracy"])
    }


def _accuracies(board: Board | None) -> dict[str, dict[str, tuple[float, float]]]:
    """Return each model's accuracy and its standard error, in %, by board and name."""
    if board is None:
        return {}
    found: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in MODEL_BOARDS}
    groups, scores = board.models.groups, board.scores
    effective = scores.accuracies.groupby("set")["effective"].first().astype(float)
    away = [[effective[name] for name in groups[group]] for group in board.models.ranking]
    for row in board.models.overall.to_dict("records"):
        name = f"{row['architecture']} ({row['recipe']})"
        home = row["id_accuracy"]
        if not pd.isna(home):
            error = _error(home, effective[scores.suite.source.test])
            found[MODEL_BOARDS[0]][name] = (100 * home, 100 * error)
        if not pd.isna(row["score"]):
            spread = [_error(row["score"], float(np.sum(sizes))) for sizes in away]
            error = float(np.linalg.norm(spread)) / max(len(spread), 1)
            found[MODEL_BOARDS[1]][name] = (100 * row["score"], 100 * error)
    return found


def _error(accuracy: float, images: float) -> float:
    return math.sqrt(accuracy * (1 - accuracy) / images)


def _row(board: str, name: str, old: float | None, new: float | None) -> dict[str, Any] | None:
    """Return the row of what is in either state; None where nothing moved."""
    nan = float("nan")
    row = {"board": board, "row": name, "old": nan, "new": nan, "change": nan, "low": nan, "high": nan}
    if old is None or new is None:
        known = {"old": old} if new is None else {"new": new}
        return row | known | {"verdict": GONE if new is None else NEW}
    if abs(new - old) < SMALLEST:
        return None
    return row | {"old": old, "new": new, "change": new - old, "verdict": ""}

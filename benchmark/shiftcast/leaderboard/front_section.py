"""What the front page says of one suite: the answer, its two tables of estimators, and its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pandas as pd

from shiftcast.board.build import Board, EstimatorTables
from shiftcast.board.columns import BRIEF, model_columns, pick
from shiftcast.board.words import FEWEST_NATURAL, MARK, TRACKS
from shiftcast.leaderboard.estimator_section import marked, sorted_on
from shiftcast.leaderboard.front import Front
from shiftcast.leaderboard.legend import BRIEF_LEGEND
from shiftcast.leaderboard.markup import escape, pictures, table
from shiftcast.leaderboard.model_section import ranked_by
from shiftcast.util.text import count, points, signed

CAPTIONS = {
    "predicted-vs-actual": "Predicted against measured accuracy; on the dashed line both are equal",
}
MODELS = ("rank", "model", "family", "parameters", "runs", "id_accuracy", "score", "predicted", "robustness")
FREE = ("T1", "T2", "T3", "T4")
"""Tracks without labels of other shifts."""


def front(board: Board, links: Mapping[str, str], page: str, legend: str) -> Front:
    """Return what the front page says of a suite.

    Parameters
    ----------
    board
        The suite's board.
    links
        Path of every picture by its name, as seen from the front page.
    page, legend
        Paths of the suite's full board and of the legend, as seen from the front page.
    """
    suite = board.scores.suite
    link = f"[{escape(board.title)}]({quote(page)})"
    return Front(
        name=suite.name,
        edition=board.scores.edition,
        natural=len(board.natural.overall) > 0,
        control=suite.is_control,
        link=link,
        state=_state(board),
        answer=_answer(board.natural),
        tables=_tables(board, links, legend),
        planted=_planted(board, link),
    )


def _state(board: Board) -> str:
    """Say how complete a suite is, and of a control, how many of its expectations were met."""
    runs = board.scores.runs[board.scores.runs["role"] == "scored"]
    done = int((runs["status"] == "ok").sum())
    shifts = [f"{len(one.by_group['part'].unique())} {one.kind}" for one in board.kinds if len(one.overall)]
    text = f"{done} of {count(len(runs), 'run')} complete"
    text += f"; labelled shifts: {' and '.join(shifts)}." if shifts else "."
    known = board.scores.controls[board.scores.controls["seen"].notna()]
    if len(known):
        held = int(known["holds"].astype(bool).sum())
        text += f" {held} of {count(len(known), 'figure')} came out as expected."
    return text


def _answer(tables: EstimatorTables) -> list[str]:
    """Say which estimator errs least on natural shifts, and by how much; nothing where none is ranked."""
    rows = tables.overall[tables.overall["rank"].notna()].sort_values(["mae", "estimator"])
    free = rows[rows["track"].isin(FREE) & ~rows["selected"].astype(bool)].to_dict("records")
    if not free:
        return []
    best, own = free[0], [row for row in free if row["track"] == "T1"]
    shifts = count(tables.shifts, f"labelled {tables.kind} shift")
    trust = f"**Which estimator to trust**: on the {shifts}, {_named(best)} errs least. {_needs(best)}"
    if own and own[0] is not best:
        trust += f" Of those that need only {TRACKS['T1']} (T1), {_named(own[0])} errs least."
    lower = [row for row in rows.to_dict("records") if row["selected"] and row["mae"] < best["mae"]]
    if lower:
        named = "; ".join(f"{_named(row)}{_elsewhere(tables, row['estimator'])}" for row in lower)
        trust += (
            " Lower errors, which may be too low because the labels of some of these shifts were known "
            f"({MARK}): {named}."
        )
    return [trust, _how_much(tables, best)]


def _elsewhere(tables: EstimatorTables, name: str) -> str:
    """Say how much a marked estimator errs on the shifts whose labels it cannot depend on."""
    errors = tables.by_group[
        (tables.by_group["estimator"] == name) & ~tables.by_group["selected"].astype(bool)
    ]
    if errors["mae"].isna().any() or errors.empty:
        return ""
    return f", {points(errors['mae'].mean(), 1)} pp on the {count(len(errors), 'shift')} without known labels"


def _how_much(tables: EstimatorTables, best: Mapping[Any, Any]) -> str:
    name = escape(best["estimator"])
    text = (
        f"**By how much it errs**: {name} has a bias of {signed(best['bias'], 1)} pp, and errs by "
        f"{points(best['worst'], 1)} pp in the worst case. One that knows only the accuracy of the "
        f"population would err by {points(best['floor'], 1)} pp, from sampling noise."
    )
    if "NoShift" in tables.by_name and name != "NoShift":
        text += (
            f" NoShift, which expects no change, errs by {points(tables.by_name['NoShift']['mae'], 1)} pp."
        )
    if tables.shifts < FEWEST_NATURAL:
        text += f" With fewer than {FEWEST_NATURAL} shifts, this says nothing of natural shifts in general."
    return text


def _named(row: Mapping[Any, Any]) -> str:
    return f"**{escape(row['estimator'])}** ({BRIEF['bounded'].cell(row)} pp)"


def _needs(row: Mapping[Any, Any]) -> str:
    return f"It needs {TRACKS.get(row['track'], row['track'])} ({row['track']})."


def _tables(board: Board, links: Mapping[str, str], legend: str) -> list[str]:
    shown = [tables for tables in board.kinds if len(tables.overall)]
    blocks = []
    if shown:
        more = f"[How to read the tables]({quote(legend)}) explains every column and every estimator."
        blocks += ["## Estimators", f"{BRIEF_LEGEND}\n\n{more}"]
    for tables in shown:
        blocks += [
            f"### {tables.kind.capitalize()} shifts",
            table(list(BRIEF.values()), _sorted(tables.overall)),
            *sorted_on(tables),
        ]
        blocks += marked(tables)
    if shown:
        blocks += pictures(CAPTIONS, links, "predicted-vs-actual")
    return blocks + _models(board)


def _sorted(overall: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return the rows of all tracks by error on the cells that all have; those without one are last."""
    order = overall.assign(printed=overall["mae_common"].fillna(overall["mae"]).astype(float).round(2))
    return list(order.sort_values(["printed", "estimator"]).to_dict("records"))


def _models(board: Board) -> list[str]:
    rows = board.models.overall.to_dict("records")
    if not rows:
        return []
    columns = model_columns(board)
    synthetic = ["synthetic"] if any(map(board.models.is_natural, board.models.ranking)) else []
    text = f"Ranked by {ranked_by(board)}. Predictions are those of {escape(board.headline)}."
    return ["## Models", text, table(pick(columns, *MODELS, *synthetic), rows)]


def _planted(board: Board, link: str) -> str:
    """Say how far estimates are off where a planted shortcut misleads most; nothing without one."""
    if board.scores.suite.source.planted is None or not board.shifts:
        return ""
    group = min(board.shifts, key=lambda row: row["accuracy"])["shift"]
    rows = board.by_shift[(board.by_shift["shift"] == group) & board.by_shift["mae"].notna()]
    said = []
    for tracks, named in ((FREE[:3], "T1 to T3"), (FREE[3:], "T4")):
        errors = rows.loc[rows["track"].isin(tracks), "bias"].astype(float)
        if len(errors):
            ends = f"{signed(errors.min(), 0)} to {signed(errors.max(), 0)} pp"
            said.append(f"{ends} for the {count(len(errors), 'estimator')} of {named}")
    return f"Errors on {escape(group)} in {link}: {', '.join(said)}." if said else ""

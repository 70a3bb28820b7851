"""Rows of the board's tables of models, as they were and as they would be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from shiftcast.board.assemble import score_models
from shiftcast.board.build import Board, build_board
from shiftcast.board.columns import model_columns, pick, reported_columns
from shiftcast.cards.base import SELF_REPORTED
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.layout import split_label
from shiftcast.util.text import BLANK
from shiftcast.workspace import Workspace

Row = Mapping[str, str]
"""Cells of a row by heading."""


@dataclass(frozen=True)
class Change:
    """One row of the board.

    Parameters
    ----------
    name
        Whose row it is: the folder of its suite, and the run or model.
    old, new
        Its cells before and now; empty where it has no row.
    asked
        Whether the run was submitted, or only moved by what was.
    """

    name: str
    old: Row
    new: Row
    asked: bool = True


def changes(
    workspace: Workspace, label: str, keys: Collection[RunKey], new: Path, old: Path | None
) -> list[Change]:
    """Return the rows of runs, and those of others in the same tables that they change.

    Parameters
    ----------
    workspace
        Where the cards are.
    label
        The folder of the suite, `SUITE` or `SUITE@EDITION`.
    keys
        The runs.
    new, old
        The results folders; without an old one nothing but the runs' own rows is returned.
    """
    name, edition = split_label(label)
    suite = workspace.suite(name)
    names = [_row_name(suite, key) for key in keys]
    now = _rows(workspace, suite, edition, new, keys)
    before: Mapping[str, Row] = {}
    if old is not None and (old / label).is_dir():
        try:
            before = _rows(workspace, suite, edition, old, keys)
        except (RunError, InvalidInputError):
            before = {}
    found = [Change(f"{label}/{one}", before.get(one, {}), now.get(one, {})) for one in dict.fromkeys(names)]
    moved = sorted(one for one in before if one not in names and before[one] != now.get(one, {}))
    return found + [Change(f"{label}/{one}", before[one], now.get(one, {}), asked=False) for one in moved]


def _row_name(suite: Suite, key: RunKey) -> str:
    """Return what a run's row is called: self-reported ones have one for each seed, others for each model."""
    alone = key.recipe == SELF_REPORTED and not suite.contributed
    return str(key) if alone else f"{key.architecture}/{key.recipe}"


def _rows(
    workspace: Workspace, suite: Suite, edition: str, results: Path, keys: Collection[RunKey]
) -> dict[str, Row]:
    """Return the rows of the tables of models by their names."""
    scored = None if suite.contributed else [key for key in keys if key.recipe != SELF_REPORTED]
    board = build_board(score_models(workspace, suite, results, edition, scored))
    rows = _reported(board)
    if suite.contributed or scored:
        rows |= _models(board, None if suite.contributed else {(k.architecture, k.recipe) for k in keys})
    return rows


def _reported(board: Board) -> dict[str, Row]:
    columns = reported_columns(board)
    return {
        str(RunKey(architecture=row["architecture"], recipe=SELF_REPORTED, seed=row["seed"])): {
            **{column.title: column.cell(row) for column in columns},
            "trust": str(row["trust"]),
            "rank": "never ranked: self-reported",
        }
        for row in board.reported.rows
    }


def _models(board: Board, only: Collection[tuple[str, str]] | None) -> dict[str, Row]:
    if not board.scores.targets:
        return {}
    columns = model_columns(board)
    shown = pick(columns, "family", "parameters", "runs", "id_accuracy", "score", "predicted", "robustness")
    return {
        f"{row['architecture']}/{row['recipe']}": {
            "model": str(row["architecture"]),
            **{column.title: column.cell(row) or BLANK for column in shown},
            "rank": f"not ranked: {row['reason']}" if row["reason"] else columns["rank"].cell(row),
            "trust": _trust(board, row["architecture"], row["recipe"]),
        }
        for row in board.models.overall.to_dict("records")
        if only is None or (row["architecture"], row["recipe"]) in only
    }


def _trust(board: Board, architecture: str, recipe: str) -> str:
    runs = board.scores.runs
    own = runs[(runs["architecture"] == architecture) & (runs["recipe"] == recipe) & (runs["status"] == "ok")]
    return ", ".join(dict.fromkeys(own["trust"])) or BLANK

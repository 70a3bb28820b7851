"""Rows of the board's tables of models, as they were and as they would be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from shiftcast.board.assemble import score_models
from shiftcast.board.models import model_board, ranking_groups
from shiftcast.board.tables import SuiteScores
from shiftcast.cards.base import SELF_REPORTED
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.leaderboard.markup import escape
from shiftcast.leaderboard.self_reported import reported_rows
from shiftcast.runs.layout import split_label
from shiftcast.util.text import BLANK, accuracy, interval, predicted, signed
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
    scores = score_models(workspace, suite, results, edition, scored)
    rows = _reported(scores)
    if scores.suite.contributed or scored:
        rows |= _models(scores, None if suite.contributed else {(k.architecture, k.recipe) for k in keys})
    return rows


def _reported(scores: SuiteScores) -> dict[str, Row]:
    shown = scores.reported[scores.reported["stale"] == ""]
    if shown.empty:
        return {}
    headings, cells = reported_rows(scores, shown)
    names = [heading.strip() for heading in headings]
    trust = {(row["architecture"], row["seed"]): row["trust"] for row in shown.to_dict("records")}
    return {
        str(RunKey(architecture=architecture, recipe=SELF_REPORTED, seed=seed)): {
            **dict(zip(names, own, strict=True)),
            "trust": str(trust[architecture, seed]),
            "rank": "never ranked: self-reported",
        }
        for (architecture, seed), own in cells.items()
    }


def _models(scores: SuiteScores, only: Collection[tuple[str, str]] | None) -> dict[str, Row]:
    if not scores.targets:
        return {}
    ranking: Sequence[str] = ranking_groups(scores)
    mean = f"{ranking[0]} %" if len(ranking) == 1 else "mean over required shifts %"
    board: list[dict[Any, Any]] = model_board(scores).to_dict("records")
    return {
        f"{row['architecture']}/{row['recipe']}": {
            "model": escape(row["architecture"]),
            "family": escape(row["family"]) or BLANK,
            "parameters": BLANK if pd.isna(row["parameters"]) else f"{row['parameters']:,}",
            "runs": f"{row['runs']}/{row['all_runs']}",
            "ID accuracy %": interval(row["id_accuracy"], row["id_low"], row["id_high"]),
            mean: accuracy(row["score"], row["low"], row["high"]),
            "predicted % (error)": predicted(row["predicted"], row["score"]),
            "effective robustness": signed(row["robustness"]),
            "rank": f"not ranked: {escape(row['reason'])}" if pd.isna(row["rank"]) else str(row["rank"]),
            "trust": _trust(scores, row["architecture"], row["recipe"]),
        }
        for row in board
        if only is None or (row["architecture"], row["recipe"]) in only
    }


def _trust(scores: SuiteScores, architecture: str, recipe: str) -> str:
    runs = scores.runs
    own = runs[(runs["architecture"] == architecture) & (runs["recipe"] == recipe) & (runs["status"] == "ok")]
    return ", ".join(dict.fromkeys(own["trust"])) or BLANK

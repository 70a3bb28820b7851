"""The page of each labelled shift: every estimator's error and every model's accuracy on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pandas as pd

from shiftcast.board.build import Board, EstimatorTables
from shiftcast.board.columns import ESTIMATORS, group_columns, pick, severity_columns
from shiftcast.cards.suite import Target
from shiftcast.leaderboard.findings import opening, shift_findings
from shiftcast.leaderboard.legend import MARKER
from shiftcast.leaderboard.markup import escape, table
from shiftcast.runs.layout import SHIFTS
from shiftcast.util.text import percent, points


def shift_page(group: str) -> str:
    """Return the path of a shift's page below the folder of its suite."""
    # Names on cards hold no other characters.
    return f"{SHIFTS}/{re.sub(r'[^A-Za-z0-9._-]', '_', group)}.md"


def shift_list(board: Board) -> str:
    """Return the labelled shifts as a list with links to their pages, natural ones first."""
    return "\n".join(
        f"- [{escape(group)}]({quote(shift_page(group))}) ({board.kind(group)}){_errors(board, own)}"
        for _, group, own in _shifts(board)
    )


def render_shifts(board: Board, above: str) -> dict[str, str]:
    """Return the page of each labelled shift as Markdown, by its path below the folder of the suite.

    Parameters
    ----------
    board
        The suite's board.
    above
        The line with links to other pages.
    """
    targets: dict[str, list[Target]] = {}
    for target in board.scores.targets:
        targets.setdefault(target.group, []).append(target)
    pages = {}
    for tables, group, own in _shifts(board):
        blocks = [
            MARKER,
            f"# {escape(group)}",
            above,
            f"A {board.kind(group)} shift of the suite *{escape(board.title)}*. Mean absolute errors"
            f"{_errors(board, own)}.",
            *opening(shift_findings(board, group, own)),
            "## Estimators",
            _estimators(tables, own, targets[group]),
            *_models(board, group),
        ]
        pages[shift_page(group)] = "\n\n".join(blocks) + "\n"
    return pages


def _shifts(board: Board) -> Iterator[tuple[EstimatorTables, str, pd.DataFrame]]:
    """Yield the tables, the name and the estimators' errors of each labelled shift, natural ones first."""
    for tables in board.kinds:
        parts = dict(list(tables.by_group.groupby("part", sort=False)))
        for group in dict.fromkeys(target.group for target in board.scores.targets):
            if group in parts:
                yield tables, group, parts[group]


def _errors(board: Board, own: pd.DataFrame) -> str:
    """Name the errors on a shift that matter most."""
    errors = dict(zip(own["estimator"], own["mae"], strict=True))
    names = [name for name in dict.fromkeys((board.headline, "NoShift")) if name in errors]
    said = ", ".join(f"{escape(name)} {points(errors[name])} pp" for name in names)
    return f": {said}" if said else ""


def _estimators(tables: EstimatorTables, own: pd.DataFrame, targets: list[Target]) -> str:
    by_target = tables.by_target[tables.by_target["part"].isin([target.id for target in targets])]
    wide = by_target.pivot(index="estimator", columns="part", values="mae")
    severities = [target.id for target in targets if target.id in wide]
    errors = wide.to_dict("index")
    rows = [{**row, "severities": errors.get(row["estimator"], {})} for row in own.to_dict("records")]
    columns = pick(ESTIMATORS, "track", "estimator", "mae", "bias", "rows", "cells")
    return table([*columns, *(severity_columns(severities) if len(severities) > 1 else [])], rows)


def _models(board: Board, group: str) -> list[str]:
    own = board.models.by_group[board.models.by_group["group"] == group]
    if own.empty:
        return []
    order = own.assign(printed=[-float(percent(share)) for share in own["accuracy"]])
    rows = order.sort_values(["printed", "architecture", "recipe"]).to_dict("records")
    columns = pick(group_columns(board), "model", "accuracy", "sd", "predicted", "robustness")
    return ["## Models", table(columns, rows)]

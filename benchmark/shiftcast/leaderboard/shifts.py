"""The folded details of each shift: every estimator's error and every model's accuracy on it."""

from __future__ import annotations

from html import escape as escape_html

import pandas as pd

from shiftcast.board.build import Board, EstimatorTables
from shiftcast.board.columns import ESTIMATORS, group_columns, pick, severity_columns
from shiftcast.cards.suite import Target
from shiftcast.leaderboard.markup import fold, table
from shiftcast.util.text import percent, points


def shift_details(board: Board) -> list[str]:
    """Return one folded block of Markdown for each labelled shift, natural ones first."""
    groups: dict[str, list[Target]] = {}
    for target in board.scores.targets:
        groups.setdefault(target.group, []).append(target)
    blocks = []
    for tables in board.kinds:
        parts = dict(list(tables.by_group.groupby("part", sort=False)))
        for group in (group for group in groups if group in parts):
            body = [_estimators(tables, parts[group], groups[group]), _models(board, group)]
            summary = _summary(board, group, parts[group])
            blocks.append(fold(summary, "\n\n".join(text for text in body if text)))
    return blocks


def _summary(board: Board, group: str, own: pd.DataFrame) -> str:
    """Name the shift and the errors that matter most."""
    errors = dict(zip(own["estimator"], own["mae"], strict=True))
    names = [name for name in dict.fromkeys((board.headline, "NoShift")) if name in errors]
    said = ", ".join(f"{name} {points(errors[name])} pp" for name in names)
    return " ".join(escape_html(f"{group} ({board.kind(group)}){': ' if said else ''}{said}").split())


def _estimators(tables: EstimatorTables, own: pd.DataFrame, targets: list[Target]) -> str:
    by_target = tables.by_target[tables.by_target["part"].isin([target.id for target in targets])]
    wide = by_target.pivot(index="estimator", columns="part", values="mae")
    severities = [target.id for target in targets if target.id in wide]
    errors = wide.to_dict("index")
    rows = [{**row, "severities": errors.get(row["estimator"], {})} for row in own.to_dict("records")]
    columns = pick(ESTIMATORS, "track", "estimator", "mae", "bias", "rows", "cells")
    return table([*columns, *(severity_columns(severities) if len(severities) > 1 else [])], rows)


def _models(board: Board, group: str) -> str:
    own = board.models.by_group[board.models.by_group["group"] == group]
    if own.empty:
        return ""
    order = own.assign(printed=[-float(percent(share)) for share in own["accuracy"]])
    rows = order.sort_values(["printed", "architecture", "recipe"]).to_dict("records")
    columns = pick(group_columns(board), "model", "accuracy", "sd", "predicted", "robustness")
    return table(columns, rows)

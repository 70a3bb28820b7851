"""The folded details of each shift: every estimator's error and every model's accuracy on it."""

from __future__ import annotations

from html import escape as escape_html
from typing import Any

import pandas as pd

from shiftcast.board.estimators import details
from shiftcast.board.models import model_groups
from shiftcast.board.tables import SuiteScores
from shiftcast.cards.suite import Target
from shiftcast.leaderboard.markup import escape, model_name, table
from shiftcast.util.text import interval, percent, points, predicted, signed


def shift_details(scores: SuiteScores, mark: str) -> list[str]:
    """Return one folded block of Markdown for each labelled shift, natural ones first.

    Parameters
    ----------
    scores
        A suite's scores.
    mark
        The footnote sign of estimators that were chosen on the shift's dataset.
    """
    models = model_groups(scores)
    groups: dict[str, list[Target]] = {}
    for target in scores.targets:
        groups.setdefault(target.group, []).append(target)
    blocks = []
    for natural in (True, False):
        by_group, by_target = (details(scores, natural, by) for by in ("group", "target"))
        for group in (group for group in groups if (by_group["part"] == group).any()):
            own = by_group[by_group["part"] == group]
            severities = [t for t in groups[group] if (by_target["part"] == t.id).any()]
            tables = [_estimators(own, by_target, severities, mark)]
            tables.append(_models(models[models["group"] == group], models["recipe"].nunique() > 1))
            blocks.append(_folded(scores, group, own, natural, tables))
    return blocks


def _folded(scores: SuiteScores, group: str, own: pd.DataFrame, natural: bool, tables: list[str]) -> str:
    """Fold the tables under a line that names the shift and the errors that matter most."""
    errors = dict(zip(own["estimator"], own["mae"], strict=True))
    names = [name for name in dict.fromkeys((scores.suite.headline, "NoShift")) if name in errors]
    said = ", ".join(f"{name} {points(errors[name])} pp" for name in names)
    kind = "natural" if natural else "synthetic"
    summary = " ".join(escape_html(f"{group} ({kind}){': ' if said else ''}{said}").split())
    body = "\n\n".join(text for text in tables if text)
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _estimators(own: pd.DataFrame, by_target: pd.DataFrame, targets: list[Target], mark: str) -> str:
    headings = {"track": "left", "estimator": "left"}
    headings |= dict.fromkeys(("MAE", "bias", "rows", "cells"), "right")
    parts: list[dict[str, Any]] = []
    if len(targets) > 1:
        for target in targets:
            there = by_target[by_target["part"] == target.id]
            headings[f"MAE, {escape(target.id.rpartition('/')[2])}"] = "right"
            parts.append(dict(zip(there["estimator"], there["mae"], strict=True)))
    cells = [
        [
            row["track"],
            escape(str(row["estimator"])) + (mark if row["selected"] else ""),
            *(
                points(row["mae"]),
                signed(row["bias"]),
                f"{row['rows']:,}",
                f"{row['cells']}/{row['all_cells']}",
            ),
            *(points(part.get(row["estimator"], float("nan"))) for part in parts),
        ]
        for row in own.to_dict("records")
    ]
    return table(headings, cells)


def _models(own: pd.DataFrame, several: bool) -> str:
    if own.empty:
        return ""
    headings = {"model": "left"}
    headings |= dict.fromkeys(
        ("accuracy %", "seed sd", "predicted % (error)", "effective robustness"), "right"
    )
    order = own.assign(printed=[percent(share) for share in own["accuracy"]])
    order = order.assign(printed=-order["printed"].astype(float))
    cells = [
        [
            model_name(row, several),
            interval(row["accuracy"], row["low"], row["high"]),
            points(row["sd"]),
            predicted(row["predicted"], row["accuracy"]),
            signed(row["robustness"]),
        ]
        for row in order.sort_values(["printed", "architecture", "recipe"]).to_dict("records")
    ]
    return table(headings, cells)

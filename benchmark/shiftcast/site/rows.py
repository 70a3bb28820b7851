"""Figures that several pages show, as rows: estimators by kind of shift and by shift, and shifts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.board.estimators import board_means, details, estimator_board, kept, kind_rows
from shiftcast.board.models import model_groups
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.figures.board_data import KINDS

Rows = list[dict[Any, Any]]
MEANS = ("squared", "floor", "covered", "width", "conformal_covered", "conformal_width")


def kind_value(kind: str) -> str:
    """Return what stands for all shifts of a kind in a choice of shifts."""
    return f"kind:{kind}"


def shift_value(group: str) -> str:
    """Return what stands for one shift in a choice of shifts."""
    return f"shift:{group}"


@lru_cache(maxsize=16)
def estimator_shifts(scores: SuiteScores) -> pd.DataFrame:
    """Return every estimator's figures on every labelled shift.

    Returns
    -------
    pd.DataFrame
        One row per shift and estimator: `shift`, `kind`, `track`, `estimator`, `mae`, `bias`, `rmse`,
        `floor`, `width`, `conformal_width` (pp), `coverage`, `conformal_coverage` (shares), `nominal`,
        `conformal_nominal` (levels in percent, as text), `rows`, `cells`, `all_cells`, `selected`.
    """
    frames = []
    for natural, kind in KINDS.items():
        rows = kept(kind_rows(scores, natural))
        if rows.empty:
            continue
        found = details(scores, natural, "group")
        means = [
            board_means(own, MEANS).reset_index().assign(part=part) for part, own in rows.groupby("group")
        ]
        levels = estimator_board(scores, natural)[["estimator", "nominal", "conformal_nominal"]]
        frame = found.merge(pd.concat(means), on=["part", "estimator"], how="left").merge(
            levels, on="estimator"
        )
        frames.append(frame.assign(kind=kind, rmse=np.sqrt(frame["squared"].astype(float))))
    names = {"part": "shift", "covered": "coverage", "conformal_covered": "conformal_coverage"}
    if not frames:
        return pd.DataFrame(columns=["shift", "kind", "track", "estimator", "mae"])
    return pd.concat(frames, ignore_index=True).rename(columns=names)


def estimator_rows(scores: SuiteScores) -> Rows:
    """Return estimators on all shifts of each kind, then on each shift, as rows of one table.

    The column `about` says which; `what` says it in words.
    """
    rows: Rows = []
    for natural, kind in KINDS.items():
        board = estimator_board(scores, natural)
        groups = kind_rows(scores, natural)["group"].nunique()
        words = f"mean of {groups} {kind}"
        rows += [
            {**row, "about": kind_value(kind), "what": words, "kind": kind}
            for row in board.to_dict("records")
        ]
    single = estimator_shifts(scores).sort_values(["kind", "shift", "track", "mae", "estimator"])
    for row in single.to_dict("records"):
        rows.append({"rank": pd.NA, **row, "about": shift_value(row["shift"]), "what": row["shift"]})
    return rows


@lru_cache(maxsize=16)
def shift_rows(scores: SuiteScores) -> Rows:
    """Return a row per labelled shift: how models do on it, how confusing it is, who predicts it best."""
    models, errors = model_groups(scores), estimator_shifts(scores)
    confusion: dict[str, float] = {}
    if scores.confusion is not None:
        means = scores.confusion.sets.groupby("group")["mean"].mean()
        confusion = {str(group): float(value) for group, value in means.items()}
    rows: Rows = []
    for group, own in models.groupby("group", sort=False):
        there = errors[(errors["shift"] == group) & errors["mae"].notna()].sort_values(["mae", "estimator"])
        headline = there[there["estimator"] == scores.suite.headline]
        rows.append(
            {
                "shift": str(group),
                "kind": KINDS[bool(own["natural"].iloc[0])],
                "models": len(own),
                "images": int(own["n"].min()),
                "accuracy": float(own["accuracy"].mean()),
                "lowest": float(own["accuracy"].min()),
                "highest": float(own["accuracy"].max()),
                "confusion": confusion.get(str(group), float("nan")),
                "best": "" if there.empty else str(there["estimator"].iloc[0]),
                "best_mae": float("nan") if there.empty else float(there["mae"].iloc[0]),
                "headline_mae": float("nan") if headline.empty else float(headline["mae"].iloc[0]),
            }
        )
    return rows

"""Ensembles by kind, size and accuracy of their members, in the place of the reference ensemble."""

from __future__ import annotations

import pandas as pd

from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape, table
from shiftcast.util.text import BLANK, count, percent, points, signed


def ensemble_kinds(scores: SuiteScores) -> list[str]:
    """Return the blocks on the suite's other ensembles; none where none is complete."""
    if scores.confusion is None or scores.confusion.ensembles.empty:
        return []
    frame = scores.confusion.ensembles
    judged = count(int(frame["judged"].iloc[0]), "run")
    text = (
        f"Mean absolute error of ConfusionPartition (bias in brackets), in pp, on {judged} of families that "
        "are in none of these ensembles, by the ensemble that says how confusing an image is. M members: "
        "mean over M neighbours in the suite's order. *Differ*: share of in-distribution images on which two "
        "members give different classes."
    )
    blocks = ["### Ensembles", text]
    blocks += [
        f"**{kind.capitalize()} shifts**\n\n{_sizes(frame, kind)}"
        for kind in ("natural", "synthetic")
        if frame[f"{kind}_mae"].notna().any()
    ]
    parted = frame[frame["part"] != "all"]
    if len(parted):
        blocks.append(f"**By the accuracy of the members**\n\n{_parts(parted)}")
    return blocks


def _sizes(frame: pd.DataFrame, kind: str) -> str:
    whole = frame[frame["part"] == "all"]
    sizes = sorted(whole["size"].unique())
    headings = {"ensemble": "left", "members' ID %": "right", "differ %": "right"}
    headings |= {f"M = {size}": "right" for size in sizes}
    cells = []
    for title, own in whole.groupby("title", sort=False):
        largest = own.sort_values("size").iloc[-1]
        figures = {row["size"]: _error(row[f"{kind}_mae"], row[f"{kind}_bias"]) for _, row in own.iterrows()}
        cells.append(
            [
                escape(str(title)),
                percent(largest["accuracy"]),
                percent(largest["disagreement"]),
                *(figures.get(size, BLANK) for size in sizes),
            ]
        )
    return table(headings, cells)


def _parts(parted: pd.DataFrame) -> str:
    headings = {"ensemble": "left", "half": "left", "M": "right", "members' ID %": "right"}
    headings |= dict.fromkeys(("differ %", "natural", "synthetic"), "right")
    cells = [
        [
            escape(row["title"]),
            row["part"],
            str(row["size"]),
            percent(row["accuracy"]),
            percent(row["disagreement"]),
            _error(row["natural_mae"], row["natural_bias"]),
            _error(row["synthetic_mae"], row["synthetic_bias"]),
        ]
        for row in parted.to_dict("records")
    ]
    return table(headings, cells)


def _error(mae: float, bias: float) -> str:
    return BLANK if pd.isna(mae) else f"{points(mae)} ({signed(bias)})"

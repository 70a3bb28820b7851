"""Which differences between estimators are more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from shiftcast.analysis.ranking import FEWEST_GROUPS, RANK_COLUMNS
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape, table
from shiftcast.util.text import BLANK, signed


def rank_table(scores: SuiteScores, natural: bool) -> pd.DataFrame:
    """Return what a bootstrap says of estimators on one kind of shift; empty where nothing can be said."""
    if scores.confusion is None or scores.confusion.ranks.empty:
        return pd.DataFrame(columns=list(RANK_COLUMNS))
    frame = scores.confusion.ranks
    return frame[frame["natural"].astype(bool) == natural]


def rank_span(row: Mapping[str, Any] | pd.Series[Any]) -> str:
    """Return the ranks that the noise leaves open, as `2` or `2-4`."""
    low, high = int(row["rank_low"]), int(row["rank_high"])
    return str(low) if low == high else f"{low}-{high}"


def first_places(scores: SuiteScores, natural: bool) -> list[str]:
    """Return a sentence with the estimators of each track that may be its best: those tied with the first."""
    frame = rank_table(scores, natural)
    frame = frame[frame["rank_low"] == 1].assign(printed=frame["mae"].astype(float).round(2))
    ties = [
        f"{track} {', '.join(escape(str(name)) for name in own['estimator'])}"
        for track, own in frame.sort_values(["track", "printed", "estimator"]).groupby("track")
    ]
    said = f"First of their track, or tied with the first as far as the noise tells: {'; '.join(ties)}."
    return [said] if ties else []


def rank_block(scores: SuiteScores, natural: bool) -> list[str]:
    """Return the folded block about differences from the headline; none where nothing can be said."""
    frame = rank_table(scores, natural)
    frame = frame[frame["difference"].notna()]
    if frame.empty:
        return []
    groups = scores.table[scores.table["natural"].astype(bool) == natural]
    known = groups.loc[groups["actual"].notna(), "group"].nunique()
    shifts = ", and shifts" if known >= FEWEST_GROUPS else "; conditional on these shifts"
    text = (
        f"MAE of {escape(scores.suite.headline)} minus that of the estimator, in pp: above 0 the estimator "
        f"is better. Images and architectures are resampled (paired, 10,000 draws{shifts}); p is adjusted "
        "for all of them (Holm 1979). Intervals of MAE and ranks above come from the same draws; ranks are "
        "those within the track that simultaneous 95 % intervals of all pairwise differences leave open "
        "(Mogstad et al. 2024)."
    )
    headings = {"track": "left", "estimator": "left", "headline minus it [95 %]": "right", "p": "right"}
    order = frame.assign(printed=frame["mae"].astype(float).round(2))
    cells = [
        [
            row["track"],
            escape(str(row["estimator"])),
            f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]",
            _p_value(row["p"]),
        ]
        for row in order.sort_values(["track", "printed", "estimator"]).to_dict("records")
    ]
    summary = "<details><summary>Which differences from the headline are more than noise</summary>"
    return [f"{summary}\n\n{text}\n\n{table(headings, cells)}\n\n</details>"]


def _p_value(value: float) -> str:
    if pd.isna(value):
        return BLANK
    return "< 0.001" if value < 0.001 else f"{value:.3f}"

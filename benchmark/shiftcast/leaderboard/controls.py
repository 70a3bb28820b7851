"""What was expected of a suite's controls, and what was seen."""

from __future__ import annotations

import math

from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape, table
from shiftcast.util.text import BLANK, count, points

QUANTITIES = {
    "accuracy": "accuracy, %",
    "bias": "bias, pp",
    "error": "MAE, pp",
    "change": "mean change, pp",
}
WIDEST = 100.0


def expectations(scores: SuiteScores) -> list[str]:
    """Return the blocks of the section on expectations; none where the suite states none."""
    frame = scores.controls
    if frame.empty:
        return []
    known = frame[frame["seen"].notna()]
    held = int(known["holds"].astype(bool).sum())
    text = f"Stated in the suite's file. {held} of {count(len(known), 'figure')} came out as expected."
    if unknown := len(frame) - len(known):
        text += f" {count(unknown, 'figure')} cannot be told: runs are missing, or estimators abstain."
    headings = {"expected": "left", "of": "left", "figure": "left", "between": "right"}
    headings |= {"seen": "right", "as expected": "left"}
    cells, last = [], None
    for row in frame.to_dict("records"):
        cells.append(
            [
                escape(row["text"]) if row["text"] != last else "",
                escape(row["estimator"]) or "the model",
                QUANTITIES[row["quantity"]],
                _between(row["low"], row["high"]),
                points(row["seen"]),
                BLANK if math.isnan(row["seen"]) else "yes" if row["holds"] else "**no**",
            ]
        )
        last = row["text"]
    return ["### What was expected of the controls", text, table(headings, cells)]


def _between(low: float, high: float) -> str:
    if low <= -WIDEST:
        return f"at most {points(high)}"
    return f"at least {points(low)}" if high >= WIDEST else f"{points(low)} to {points(high)}"

"""The full board of a suite as Markdown, from what was run to how to repeat it.

A pure function of the board: no clock, no file, no seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from shiftcast.board.build import Board
from shiftcast.board.columns import CONTROLS, WITHHELD, model_column, pick
from shiftcast.leaderboard.estimator_section import estimators
from shiftcast.leaderboard.findings import board_findings, opening
from shiftcast.leaderboard.legend import MARKER
from shiftcast.leaderboard.markup import escape, once, pictures, table
from shiftcast.leaderboard.model_section import models
from shiftcast.leaderboard.provenance import how_to_reproduce, missing, what_was_run
from shiftcast.leaderboard.self_reported import self_reported
from shiftcast.leaderboard.shifts import shift_list
from shiftcast.runs.layout import CONFUSION_PAGE
from shiftcast.util.text import count, score

CAPTIONS = {
    "estimators": "Mean absolute error of each estimator",
    "predicted-vs-actual": "Predicted against actual accuracy; on the dashed line both are equal",
    "ood-vs-id": "Accuracy under shift against in-distribution accuracy, on probit axes",
}


def render_suite(board: Board, figures: Mapping[str, str], above: str = "") -> str:
    """Return the page of one suite and edition as Markdown.

    Parameters
    ----------
    board
        The suite's board.
    figures
        Relative path of every picture by its name; none when empty.
    above
        The line with links to the front page and to the legend.
    """
    blocks = [MARKER, f"# {escape(board.title)}", *([above] if above else [])]
    blocks += opening(board_findings(board))
    blocks += ["## What was run", escape(board.scores.suite.description), what_was_run(board)]
    if about := estimators(board):
        blocks += [*about, *pictures(CAPTIONS, figures, "estimators", "predicted-vs-actual")]
    if about := models(board, figures):
        blocks += [*about, *pictures(CAPTIONS, figures, "ood-vs-id")]
    blocks += self_reported(board)
    blocks += expectations(board)
    blocks += _withheld(board)
    blocks += _confusion(board)
    if listed := shift_list(board):
        blocks += ["## Details by shift", listed]
    blocks += ["## What is missing, and notes", missing(board.scores)]
    blocks += ["## How to reproduce", how_to_reproduce(board.scores)]
    return "\n\n".join(blocks) + "\n"


def expectations(board: Board) -> list[str]:
    """Return the blocks on what was expected of controls and what was seen; none where nothing was."""
    frame = board.scores.controls
    if frame.empty:
        return []
    known = frame[frame["seen"].notna()]
    held = int(known["holds"].astype(bool).sum())
    text = f"Stated in the suite's file. {held} of {count(len(known), 'figure')} came out as expected."
    if unknown := len(frame) - len(known):
        text += f" {count(unknown, 'figure')} cannot be told: runs are missing, or estimators abstain."
    return ["## What was expected of the controls", text, table(CONTROLS, once(frame, "text"))]


def _withheld(board: Board) -> list[str]:
    frame = board.models.withheld
    if frame.empty:
        return []
    named = model_column(frame["recipe"].nunique() > 1)
    figures = pick(WITHHELD, "n", "predicted", "conformal_level", "sampling", "others", "actual")
    text = (
        f"Their labels are not on this board. Predicted by {escape(board.headline)}, means over "
        "seeds; the range of the other estimators, with their number, shows how far they disagree."
    )
    return [
        "## Shifts whose labels are withheld",
        text,
        table([WITHHELD["target"], named, *figures], frame.to_dict("records")),
    ]


def _confusion(board: Board) -> list[str]:
    """Name the most and least confusing natural set, and link to the page that says more."""
    confusion = board.scores.confusion
    if confusion is None:
        return []
    natural = confusion.sets[confusion.sets["natural"]].sort_values("mean")
    text = (
        f"[What the reference ensemble finds confusing]({CONFUSION_PAGE}): accuracy by confusion, tests "
        "of the claims in the source's abstract, and how much the partition depends on its choices."
    )
    if len(natural):
        source = confusion.sets.iloc[0]
        text += f" Mean score {score(source['mean'])} in distribution; " + ", ".join(
            f"{score(row['mean'])} on {escape(row['set'])}" for row in natural.to_dict("records")
        )
        text += "."
    return ["## Confusion", text]

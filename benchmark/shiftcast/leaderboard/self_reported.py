"""Self-reported models: their own section, apart from everything that is ranked."""

from __future__ import annotations

from shiftcast.board.build import Board
from shiftcast.board.columns import Row, reported_columns, reported_name
from shiftcast.board.words import HARD
from shiftcast.leaderboard.markup import escape, table
from shiftcast.runs.ledger import LEVELS
from shiftcast.util.text import count


def self_reported(board: Board) -> list[str]:
    """Return the blocks of the section on self-reported models; none where there are none."""
    if board.scores.reported.empty:
        return []
    blocks = ["## Self-reported models"]
    if board.reported.rows:
        blocks += [_sentence(board), table(reported_columns(board), board.reported.rows)]
    reasons = [f"- {_name(row)}: {escape(row['stale'])}{_remedy(row)}" for row in board.reported.stale]
    return [*blocks, *(["Not shown:\n\n" + "\n".join(reasons)] if reasons else [])]


def _name(row: Row) -> str:
    return escape(reported_name(row, several=True))


def _remedy(row: Row) -> str:
    return "; submit it again" if "version" in row["stale"] else ""


def _sentence(board: Board) -> str:
    rows, groups = board.reported.rows, board.models.ranking
    text = (
        f"{count(len(rows), 'run')} trained elsewhere. Accuracies follow from the "
        "logits that were submitted; family, parameters and note are stated by their authors. They are not "
        "ranked, and no other figure on this page uses them."
    )
    if hard := [row for row in rows if row["outputs"] == "classes"]:
        text += f" Of {count(len(hard), 'run')} only the predicted classes are known, marked {HARD}."
    if vouched := [f"{_name(row)} {escape(row['trust'])}" for row in rows if row["trust"] in LEVELS[:-1]]:
        text += f" Maintainers vouch for {', '.join(vouched)}."
    if groups and board.reported.predicted:
        named = escape(groups[0]) if len(groups) == 1 else f"the mean over {', '.join(map(escape, groups))}"
        text += f" Predicted by {escape(board.headline)}: {named}."
    return text

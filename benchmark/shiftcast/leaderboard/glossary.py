"""What each estimator of a board is, in a line."""

from __future__ import annotations

from collections.abc import Iterable

from shiftcast.estimators import official_estimators
from shiftcast.leaderboard.markup import escape, table
from shiftcast.util.text import BLANK

TRACKS = (
    "T1 needs the model's own logits; T2 also a reference ensemble; T3 also other models' predictions; "
    "T4 features or source images; T5 labels of other shifts"
)


def what_it_is(name: str) -> str:
    """Return the first line of what an official estimator says of itself; empty for another."""
    estimator = official_estimators().get(name)
    return "" if estimator is None else (type(estimator).__doc__ or "").strip().splitlines()[0]


def glossary(estimators: Iterable[str]) -> str:
    """Return the named estimators, what they are and where they come from, as Markdown."""
    known = official_estimators()
    headings = {"estimator": "left", "what it is": "left", "from": "left"}
    cells = [
        [
            escape(name),
            escape(what_it_is(name)) or BLANK,
            escape(known[name].citation) if name in known else BLANK,
        ]
        for name in estimators
    ]
    return f"{TRACKS}.\n\n{table(headings, cells)}"

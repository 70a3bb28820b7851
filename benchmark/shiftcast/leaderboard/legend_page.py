"""The page that explains every column and every estimator of the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable

from shiftcast.board.columns import ESTIMATORS, pick
from shiftcast.estimators import official_estimators, unranked_estimators
from shiftcast.leaderboard.legend import LEGEND, MARKER
from shiftcast.leaderboard.markup import table


def render_legend() -> str:
    """Return the page as Markdown."""
    return (
        "\n\n".join(
            [MARKER, LEGEND, "## Estimators", glossary(official_estimators() | unranked_estimators())]
        )
        + "\n"
    )


def glossary(names: Iterable[str]) -> str:
    """Return the table of what estimators are and where they come from."""
    columns = pick(ESTIMATORS, "estimator", "what_it_is", "citation")
    return table(columns, [{"estimator": name} for name in names])

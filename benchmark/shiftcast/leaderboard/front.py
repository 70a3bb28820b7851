"""The front page: the answer for one suite, and a line for each of the others.

It is put together from parts that the cache keeps, so that nothing here needs a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAIN = ("cifar10", "cifar10-cpu")
"""The suites that the front page may show, the preferred one first."""

HEAD = """# Leaderboard

How accurate is an image classifier on new images without labels? Each estimator predicts the accuracy of the
same networks on the same shifted images. The board compares its predictions with the measured accuracies."""
NOT_SEEN = (
    "**What estimators cannot see**: a shortcut that the network and the reference networks have learned."
)
REPRODUCE = """## How to reproduce

`shiftcast leaderboard` writes this page, and the pages of the suites, from `results/`.
`shiftcast leaderboard --check` compares them with `results/`."""


@dataclass(frozen=True)
class Front:
    """What the front page says of one suite and edition; every text is Markdown.

    Parameters
    ----------
    name, edition
        Of the suite, and of the arrays.
    natural
        Whether it has scored runs on labelled natural shifts.
    control
        Whether it is a control, manipulated on purpose; such a suite is linked and not shown.
    link
        Its title with a link to its full board.
    state
        A sentence on how complete it is.
    answer
        The answer: one item of a list each.
    tables
        The blocks that follow: tables and a figure.
    planted
        How wrong estimators are under its planted shortcut; empty for a suite without one.
    """

    name: str
    edition: str
    natural: bool
    control: bool
    link: str
    state: str
    answer: list[str]
    tables: list[str]
    planted: str


def shown_suite(fronts: Sequence[Front]) -> Front:
    """Return the suite that the front page shows.

    That is the first of `MAIN` with scored runs on labelled natural shifts. If none has any, it is the first
    suite that is not a control, and a control only where there is nothing else.
    """
    ready = {front.name: front for front in fronts if front.natural and not front.edition}
    preferred = [ready[name] for name in MAIN if name in ready]
    return [*preferred, *(front for front in fronts if not front.control), *fronts][0]


def render_front(fronts: Sequence[Front]) -> str:
    """Return the front page as Markdown from what suites add, in their order."""
    shown = shown_suite(fronts)
    answer = [*shown.answer]
    if planted := [front.planted for front in fronts if front.planted]:
        answer.append(f"{NOT_SEEN} {' '.join(planted)}")
    return (
        "\n\n".join(
            [
                HEAD,
                f"This page shows the suite {shown.link}. {shown.state}",
                *(["## The answer", _listed(answer)] if answer else []),
                *shown.tables,
                *_others([front for front in fronts if front is not shown]),
                REPRODUCE,
            ]
        )
        + "\n"
    )


def _others(fronts: Sequence[Front]) -> list[str]:
    """Return the blocks with a line for each suite that is not shown."""
    boards = [f"{front.link}: {front.state}" for front in fronts if not front.control]
    controls = [f"{front.link}: {front.state}" for front in fronts if front.control]
    blocks = ["## Other suites", _listed(boards)] if boards else []
    if controls:
        text = "Labels, models or shifts of these suites are manipulated on purpose, to test the board."
        blocks += ["## Controls", text, _listed(controls)]
    return blocks


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)

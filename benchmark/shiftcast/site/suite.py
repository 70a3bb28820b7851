"""A suite as the site shows it: its tables, what its logits say, its cards and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from shiftcast.board.build import Board
from shiftcast.board.tables import SuiteScores
from shiftcast.cards.dataset import DatasetCard
from shiftcast.site.links import Names, names_of
from shiftcast.site.outputs import Outputs


@dataclass(frozen=True, eq=False)
class Section:
    """Everything that the pages of one suite are made from.

    Parameters
    ----------
    board
        The suite's tables.
    folder
        Name of the suite's folder below the site's root.
    alone
        Whether it is the only suite, so that its board is the start page.
    outputs
        What its stored logits say; None where they are not at hand.
    cards
        Dataset cards by name.
    citations
        Where each estimator comes from, by name.
    pictures
        Images as data URIs, by target and position.
    unseen
        Why a target's images are not shown, by target.
    """

    board: Board
    folder: str
    alone: bool = True
    outputs: Outputs | None = None
    cards: Mapping[str, DatasetCard] = field(default_factory=dict)
    citations: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)

    @property
    def scores(self) -> SuiteScores:
        """What the board is made from."""
        return self.board.scores

    @cached_property
    def names(self) -> Names:
        """File names of the suite's pages, seen from a page of one model, estimator or shift."""
        return names_of(self.board).seen_from("../")

    @property
    def start(self) -> str:
        """Path of the suite's board below the site's root."""
        return "index.html" if self.alone else f"{self.folder}/index.html"

    @property
    def data(self) -> str:
        """Path of the script with the suite's accuracies below the site's root."""
        return f"{self.folder}/data.js"

    @property
    def trail(self) -> list[tuple[str, str]]:
        """Links from a page of one model, estimator or shift to those above it."""
        return [("../../" + self.start, self.board.title)]

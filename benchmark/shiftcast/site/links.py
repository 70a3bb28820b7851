"""Where each model, estimator and shift of a suite has its page, and what it is called there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shiftcast.board.build import Board
from shiftcast.board.columns import Row
from shiftcast.board.tables import MODEL
from shiftcast.site.html import Html, slugs, tag
from shiftcast.site.outputs import Model
from shiftcast.site.tables import Cells


@dataclass(frozen=True, eq=False)
class Names:
    """File names of a suite's pages, seen from one of them.

    Parameters
    ----------
    models, estimators, shifts
        File names without suffix.
    several
        Whether the suite has several recipes, which are then part of a model's name.
    up
        Path from the page that links to the suite's folder: "", "../" or "SUITE/".
    """

    models: Mapping[Model, str]
    estimators: Mapping[str, str]
    shifts: Mapping[str, str]
    several: bool
    up: str = ""

    def seen_from(self, up: str) -> Names:
        """Return the same names for links from elsewhere."""
        return Names(self.models, self.estimators, self.shifts, self.several, up)

    def model(self, model: Model) -> str | None:
        """Return the address of a model's page; None where it has none."""
        return f"{self.up}models/{self.models[model]}.html" if model in self.models else None

    def estimator(self, name: str) -> str | None:
        """Return the address of an estimator's page; None where it has none."""
        return f"{self.up}estimators/{self.estimators[name]}.html" if name in self.estimators else None

    def shift(self, group: str) -> str | None:
        """Return the address of a shift's page; None where it has none."""
        return f"{self.up}shifts/{self.shifts[group]}.html" if group in self.shifts else None

    def model_title(self, architecture: str, recipe: str) -> str:
        """Return what a model is called."""
        return f"{architecture} ({recipe})" if self.several else architecture

    @property
    def cells(self) -> Cells:
        """Links to pages in the cells of tables, by the key of their column."""

        def model(row: Row) -> Html:
            key = row["architecture"], row["recipe"]
            return link(self.model_title(*key), self.model(key))

        def to(page: Callable[[str], str | None], key: str) -> Callable[[Row], Html]:
            return lambda row: link(row[key], page(row[key]))

        estimators = {key: to(self.estimator, key) for key in ("estimator", "best")}
        return (
            {"model": model} | estimators | {key: to(self.shift, key) for key in ("shift", "group", "target")}
        )


def link(text: str, href: str | None) -> Html:
    """Return text that leads to a page of ours; as it is where there is none."""
    return tag("a", text, href=href) if href else tag("span", text)


def names_of(board: Board) -> Names:
    """Return the file names of every page of a suite."""
    models = [(str(a), str(r)) for a, r in board.models.overall[MODEL].itertuples(index=False)]
    titles = {model: "--".join(model) for model in models}
    files = slugs(titles.values())
    return Names(
        {model: files[title] for model, title in titles.items()},
        slugs({str(name) for name in board.scores.table["estimator"]}),
        slugs(target.group for target in board.scores.targets),
        board.models.several,
    )

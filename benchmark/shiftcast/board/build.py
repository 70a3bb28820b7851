"""A suite's board: every table that Markdown, the site and the terminal show, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from shiftcast.board.errors import suite_residuals
from shiftcast.board.estimators import EstimatorTables
from shiftcast.board.models import ModelTables
from shiftcast.board.self_reported import SelfReported, self_reported
from shiftcast.board.shifts import Rows, recipe_axes, shift_rows
from shiftcast.board.tables import SuiteScores
from shiftcast.board.unranked import bounds_and_diagnoses
from shiftcast.board.views import LabelViews, Parts, label_views, parts_of_sets
from shiftcast.board.words import KINDS

__all__ = ["Board", "EstimatorTables", "ModelTables", "build_board"]


@dataclass(frozen=True, eq=False)
class Board:
    """Every table of a suite and edition. What prints them computes nothing.

    A table is made when it is first read, and kept with the board: a command pays for what it shows.

    Parameters
    ----------
    scores
        What the board is made from.
    natural, synthetic
        Estimators on each kind of shift.
    models
        Models in and out of distribution.
    """

    scores: SuiteScores
    natural: EstimatorTables
    synthetic: EstimatorTables
    models: ModelTables

    @property
    def kinds(self) -> tuple[EstimatorTables, EstimatorTables]:
        """Estimators on natural shifts, then on synthetic ones."""
        return self.natural, self.synthetic

    @property
    def title(self) -> str:
        """The suite's title, with the edition of its arrays."""
        return self.scores.suite.title + (f" (edition {self.scores.edition})" if self.scores.edition else "")

    @property
    def headline(self) -> str:
        """The suite's headline estimator."""
        return self.scores.suite.headline

    def kind(self, group: str) -> str:
        """Return "natural" or "synthetic"."""
        return KINDS[self.models.is_natural(group)]

    @cached_property
    def by_shift(self) -> pd.DataFrame:
        """Figures of estimators on every labelled shift, see `estimators.shift_figures`; and its `kind`."""
        frames = [tables.by_shift for tables in self.kinds]
        return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)

    @cached_property
    def shifts(self) -> Rows:
        """Labelled shifts, see `shift_rows`."""
        return shift_rows(self.models, self.by_shift)

    @cached_property
    def recipes(self) -> dict[str, Rows]:
        """Recipes of architectures that are trained in several ways, see `recipe_axes`."""
        return recipe_axes(self.natural, self.models)

    @cached_property
    def reported(self) -> SelfReported:
        """Self-reported models."""
        return self_reported(self.scores, self.models.ranking)

    @cached_property
    def residuals(self) -> dict[str, Any] | None:
        """The suite's part of the file of residuals, see `suite_residuals`."""
        return suite_residuals(self.scores, self.kinds)

    @cached_property
    def unranked(self) -> tuple[Rows, Rows]:
        """Bounds, then diagnoses, on natural shifts, see `bounds_and_diagnoses`."""
        return bounds_and_diagnoses(self.scores)

    @cached_property
    def label_views(self) -> LabelViews:
        """Accuracies under other labels; its rows are empty where there are none."""
        return label_views(self.scores)

    @cached_property
    def parts(self) -> Parts:
        """Accuracies on parts of sets; its rows are empty where there are none."""
        return parts_of_sets(self.scores)


def build_board(scores: SuiteScores) -> Board:
    """Return the board of a suite's scores."""
    kinds = {natural: EstimatorTables(scores, natural) for natural in KINDS}
    return Board(scores, kinds[True], kinds[False], ModelTables(scores))

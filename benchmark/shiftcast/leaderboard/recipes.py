"""Recipes as a second axis: one architecture trained in several ways, and what that does to the estimates."""

from __future__ import annotations

import pandas as pd

from shiftcast.board.estimators import kept, kind_rows
from shiftcast.board.models import is_natural, labelled_groups, run_accuracies
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape, table
from shiftcast.util.text import BLANK, percent, points, signed

SHOWN = ("NoShift", "AC", "DoC", "ATC-NE", "COTT", "AgreementShift", "ALine-D", "NuclearNorm")
"""Estimators beside the headline: one or two of each track."""
FEWEST = 3
"""Recipes of an architecture that make an axis."""


def recipe_axis(scores: SuiteScores) -> list[str]:
    """Return the blocks on architectures with three recipes or more; none where there are none."""
    errors = _errors(scores)
    blocks = []
    for architecture, own in errors.groupby("architecture", sort=True):
        if own["recipe"].nunique() >= FEWEST:
            blocks.append(f"**{escape(str(architecture))}**\n\n{_table(scores, str(architecture), own)}")
    if not blocks:
        return []
    text = (
        "Mean absolute errors (pp) on natural shifts of one architecture, trained in several ways; in "
        "brackets the difference to the first row. A recipe that moves an estimator's error shows what it "
        "leans on."
    )
    return ["### Recipes", text, *blocks]


def _errors(scores: SuiteScores) -> pd.DataFrame:
    """Return the MAE of each model and estimator over natural shifts, groups with equal weight."""
    names = list(dict.fromkeys((scores.suite.headline, *SHOWN)))
    rows = kept(kind_rows(scores, natural=True))
    rows = rows[rows["estimator"].isin(names)]
    keys = ["architecture", "recipe", "estimator"]
    means = rows.groupby([*keys, "group", "target"])["absolute"].mean().groupby([*keys, "group"]).mean()
    found = means.groupby(keys).agg(["mean", "size"]).reset_index()
    whole = rows["group"].nunique()
    return found[found["size"] == whole]


def _table(scores: SuiteScores, architecture: str, own: pd.DataFrame) -> str:
    names = [n for n in dict.fromkeys((scores.suite.headline, *SHOWN)) if n in set(own["estimator"])]
    wide = own.pivot(index="recipe", columns="estimator", values="mean").reindex(columns=names)
    home = _accuracy(scores, architecture, [scores.suite.source.test])
    groups = [sets for group, sets in labelled_groups(scores).items() if is_natural(scores, group)]
    away = pd.concat([_accuracy(scores, architecture, sets) for sets in groups], axis=1).mean(axis=1)
    plain = {run.recipe for run in scores.runs.itertuples() if run.plain and run.architecture == architecture}
    order = sorted(wide.index, key=lambda recipe: (recipe not in plain, recipe))
    headings = {"recipe": "left", "ID %": "right", "natural %": "right"} | dict.fromkeys(names, "right")
    first = wide.loc[order[0]]
    cells = []
    for recipe in order:
        figures = [
            _figure(value, first[name], recipe == order[0]) for name, value in wide.loc[recipe].items()
        ]
        cells.append([escape(recipe), percent(home[recipe]), percent(away[recipe]), *figures])
    return table(headings, cells)


def _figure(value: float, base: float, alone: bool) -> str:
    if pd.isna(value):
        return BLANK
    return points(value) if alone or pd.isna(base) else f"{points(value)} ({signed(value - base)})"


def _accuracy(scores: SuiteScores, architecture: str, sets: list[str]) -> pd.Series[float]:
    """Return the mean accuracy of an architecture's complete runs over `sets`, by recipe."""
    runs = run_accuracies(scores, sets)
    return runs[runs["architecture"] == architecture].groupby("recipe")["accuracy"].mean()

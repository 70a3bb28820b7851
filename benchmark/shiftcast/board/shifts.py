"""Tables across the boards: each labelled shift with models and estimators, and recipes as an axis."""

from __future__ import annotations

from typing import Any

import pandas as pd

from shiftcast.board.estimators import EstimatorTables
from shiftcast.board.models import ModelTables
from shiftcast.board.words import KINDS

Rows = list[dict[str, Any]]
SHOWN = ("NoShift", "AC", "DoC", "ATC-NE", "COTT", "AgreementShift", "ALine-D", "NuclearNorm")
"""Estimators beside the headline in tables of recipes: one or two of each track."""
FEWEST_RECIPES = 3
"""Recipes of an architecture that make an axis."""


def shift_rows(models: ModelTables, by_shift: pd.DataFrame) -> Rows:
    """Return a row per labelled shift: how models do on it, how confusing it is, who predicts it best.

    Parameters
    ----------
    models
        The tables of models.
    by_shift
        Figures of estimators on natural and synthetic shifts, see `estimators.shift_figures`.
    """
    scores, confusion = models.scores, {}
    if scores.confusion is not None:
        confusion = scores.confusion.sets.groupby("group")["mean"].mean().to_dict()
    rows: Rows = []
    for group, own in models.by_group.groupby("group", sort=False):
        there = by_shift[(by_shift["shift"] == group) & by_shift["mae"].notna()]
        there = there.sort_values(["mae", "estimator"])
        headline = there[there["estimator"] == scores.suite.headline]
        rows.append(
            {
                "shift": str(group),
                "kind": KINDS[bool(own["natural"].iloc[0])],
                "models": len(own),
                "images": int(own["n"].min()),
                "accuracy": float(own["accuracy"].mean()),
                "lowest": float(own["accuracy"].min()),
                "highest": float(own["accuracy"].max()),
                "confusion": float(confusion.get(group, float("nan"))),
                "best": "" if there.empty else str(there["estimator"].iloc[0]),
                "best_mae": float("nan") if there.empty else float(there["mae"].iloc[0]),
                "headline_mae": float("nan") if headline.empty else float(headline["mae"].iloc[0]),
            }
        )
    return rows


def recipe_axes(natural: EstimatorTables, models: ModelTables) -> dict[str, Rows]:
    """Return, for each architecture that is trained in several ways, what recipes do to the estimates.

    Returns
    -------
    dict
        Rows by architecture, plain recipes first: `recipe`, `id_accuracy`, `natural` (accuracy over natural
        shifts), `errors` (mean absolute error in pp by estimator, over natural shifts; only of estimators
        that answer on all) and `base`, the errors of the first row, which has none.
    """
    names = list(dict.fromkeys((models.scores.suite.headline, *SHOWN)))
    errors = natural.by_model[natural.by_model["shifts"] == natural.shifts]
    errors = errors[errors["estimator"].isin(names)]
    axes = {}
    for architecture, own in errors.groupby("architecture", sort=True):
        if own["recipe"].nunique() >= FEWEST_RECIPES:
            wide = own.pivot(index="recipe", columns="estimator", values="mae")
            wide = wide.reindex(columns=[name for name in names if name in wide.columns])
            axes[str(architecture)] = _axis(models, str(architecture), wide)
    return axes


def _axis(models: ModelTables, architecture: str, errors: pd.DataFrame) -> Rows:
    home = _accuracy(models, architecture, [models.scores.suite.source.test])
    groups = [sets for group, sets in models.groups.items() if models.is_natural(group)]
    away = pd.concat([_accuracy(models, architecture, sets) for sets in groups], axis=1).mean(axis=1)
    runs = models.scores.runs[models.scores.runs["architecture"] == architecture]
    plain = set(runs.loc[runs["plain"].astype(bool), "recipe"])
    order = sorted(errors.index, key=lambda recipe: (recipe not in plain, recipe))
    known = {recipe: errors.loc[recipe].to_dict() for recipe in order}
    return [
        {
            "recipe": recipe,
            "id_accuracy": home[recipe],
            "natural": away[recipe],
            "errors": known[recipe],
            "base": known[order[0]] if recipe != order[0] else {},
        }
        for recipe in order
    ]


def _accuracy(models: ModelTables, architecture: str, sets: list[str]) -> pd.Series[float]:
    """Return the mean accuracy of an architecture's complete runs over `sets`, by recipe."""
    runs = models.accuracies(sets)
    return runs[runs["architecture"] == architecture].groupby("recipe")["accuracy"].mean()

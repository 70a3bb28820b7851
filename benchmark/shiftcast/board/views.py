"""Accuracy under other labels of the same images, and on parts of sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any, cast

import numpy as np
import pandas as pd

from shiftcast.board.tables import MODEL, SuiteScores

Rows = list[dict[Any, Any]]


@dataclass(frozen=True)
class LabelViews:
    """Whether the ranking of models depends on whose labels are used.

    Parameters
    ----------
    views
        One dictionary a view: `view`, `title`, `images`, `differs` (images whose labels differ), `pairs` of
        models, how many of them `swapped` places, and how far they are `apart` at most (pp) under the given
        labels.
    rows
        One row per model: `architecture`, `recipe`, `given`, and the accuracy under each view by its name.
    several
        Whether models have several recipes.
    lacking
        Models without these figures.
    """

    views: Rows
    rows: Rows
    several: bool
    lacking: int


def label_views(scores: SuiteScores) -> LabelViews:
    """Return the accuracies under other labels, means over seeds, and what they do to the ranking."""
    frame = scores.label_views
    long = frame.groupby([*MODEL, "view"], sort=True)[["accuracy", "given"]].mean().reset_index()
    means = long.pivot(index=MODEL, columns="view")
    names = list(dict.fromkeys(frame["view"]))
    views = [{**frame[frame["view"] == name].iloc[0].to_dict(), **_swapped(means, name)} for name in names]
    rows = [
        {
            **dict(zip(MODEL, cast("tuple[str, str]", key), strict=True)),
            "given": float(row["given"].mean()),
            "under": {name: float(row["accuracy"][name]) for name in names},
        }
        for key, row in means.iterrows()
    ]
    ok = scores.runs[(scores.runs["role"] == "scored") & (scores.runs["status"] == "ok")]
    return LabelViews(views, rows, frame["recipe"].nunique() > 1, len(ok.drop_duplicates(MODEL)) - len(means))


def _swapped(means: pd.DataFrame, name: str) -> dict[str, float]:
    """Return how many pairs of models change places under a view."""
    both = np.stack([means["given"][name], means["accuracy"][name]], axis=1)
    both = both[~np.isnan(both).any(axis=1)]
    gaps = [one - other for one, other in combinations(both, 2)]
    apart = [abs(float(gap[0])) for gap in gaps if gap[0] * gap[1] < 0]
    return {"pairs": math.comb(len(both), 2), "swapped": len(apart), "apart": 100 * max(apart, default=0.0)}


@dataclass(frozen=True)
class Parts:
    """Accuracies on parts of sets beside those on the whole.

    Parameters
    ----------
    parts
        One dictionary a part: `set`, `view`, `title`, `n`.
    columns
        Every (set, view), the whole of each set, which is the view "", before its parts.
    rows
        One row per model: `architecture`, `recipe`, and `shares`, the accuracy by (set, view); NaN where
        the model has none.
    several
        Whether models have several recipes.
    """

    parts: Rows
    columns: list[tuple[str, str]]
    rows: Rows
    several: bool


def parts_of_sets(scores: SuiteScores) -> Parts:
    """Return accuracies on parts of sets beside those on the whole, means over seeds."""
    frame = scores.views
    parts = frame.drop_duplicates(["set", "view"])[["set", "view", "title", "n"]].to_dict("records")
    both = [key for part in parts for key in ((part["set"], ""), (part["set"], part["view"]))]
    columns = list(dict.fromkeys(both))
    sets = scores.accuracies[scores.accuracies["role"] == "scored"]
    counted = pd.concat([frame, sets[sets["set"].isin(frame["set"])].assign(view="")])
    shares = counted["right"].astype(float) / counted["n"].astype(float)
    means = shares.groupby([counted[key] for key in (*MODEL, "set", "view")]).mean().to_dict()
    models = frame.drop_duplicates(MODEL)[MODEL].sort_values(MODEL).to_dict("records")
    rows = [
        {
            **model,
            "shares": {key: means.get((*model.values(), *key), float("nan")) for key in columns},
        }
        for model in models
    ]
    return Parts(parts, columns, rows, frame["recipe"].nunique() > 1)

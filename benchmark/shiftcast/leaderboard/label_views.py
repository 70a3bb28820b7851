"""Accuracy under other people's labels of the same images, and whether the ranking depends on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd

from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape, model_name, table
from shiftcast.util.text import count, percent, points

KEYS = ["architecture", "recipe"]


def label_views(scores: SuiteScores) -> list[str]:
    """Return a sentence on the ranking and the accuracies under each view; nothing without views."""
    frame = scores.label_views
    if frame.empty:
        return []
    long = frame.groupby([*KEYS, "view"], sort=True)[["accuracy", "given"]].mean().reset_index()
    means = long.pivot(index=KEYS, columns="view")
    names = list(dict.fromkeys(frame["view"]))
    said = [_said(frame, means, name) for name in names]
    kept = [label for label, swapped in said if not swapped]
    parts = ["**Label views.**"]
    if kept:
        models = count(len(means), "model")
        parts.append(
            f"The ranking of the {models} by in-distribution accuracy is the same under {_listed(kept)}."
        )
    parts += [
        f"Under {label} it is not: {swapped}" if kept else f"Under {label} the ranking changes: {swapped}"
        for label, swapped in said
        if swapped
    ]
    sentence = " ".join([*parts, *_incomplete(scores, means)])
    headings = {"model": "left", "given %": "right"} | {f"{escape(name)} %": "right" for name in names}
    several = frame["recipe"].nunique() > 1
    cells = [
        [
            model_name(dict(zip(KEYS, cast("tuple[str, str]", key), strict=True)), several),
            percent(float(row["given"].mean())),
            *(percent(float(row["accuracy"][name])) for name in names),
        ]
        for key, row in means.iterrows()
    ]
    return [sentence, table(headings, cells)]


def _said(frame: pd.DataFrame, means: pd.DataFrame, name: str) -> tuple[str, str]:
    """Return what a view is, and which models change places under it; empty when none do."""
    first = frame[frame["view"] == name].iloc[0]
    label = f"{escape(first['title'])} ({first['differs']:,} of {count(first['images'], 'image')} differ)"
    both = np.stack([means["given"][name], means["accuracy"][name]], axis=1)
    both = both[~np.isnan(both).any(axis=1)]
    gaps = [one - other for one, other in combinations(both, 2)]
    swapped = [abs(float(gap[0])) for gap in gaps if gap[0] * gap[1] < 0]
    if not swapped:
        return label, ""
    return label, (
        f"{len(swapped)} of {math.comb(len(both), 2)} pairs of models change places, at most "
        f"{points(100 * max(swapped))} pp apart under the given labels."
    )


def _listed(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _incomplete(scores: SuiteScores, means: pd.DataFrame) -> list[str]:
    ok = scores.runs[(scores.runs["role"] == "scored") & (scores.runs["status"] == "ok")]
    lacking = len(ok.drop_duplicates(KEYS)) - len(means)
    return [f"{count(lacking, 'model')} without these figures."] if lacking > 0 else []

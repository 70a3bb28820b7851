"""Accuracy under other people's labels of the same images, and whether the ranking depends on them."""

from __future__ import annotations

import math
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd

from shiftcast.leaderboard.text import count, escape, model_name, percent, points, table
from shiftcast.scores import SuiteScores

KEYS = ["architecture", "recipe"]


def label_views(scores: SuiteScores) -> list[str]:
    """Return a sentence on the ranking and the accuracies under each view; nothing without views."""
    frame = scores.label_views
    if frame.empty:
        return []
    long = frame.groupby([*KEYS, "view"], sort=True)[["accuracy", "given"]].mean().reset_index()
    means = long.pivot(index=KEYS, columns="view")
    names = list(dict.fromkeys(frame["view"]))
    sentence = " ".join(
        ["**Label views.**", *(_sentence(frame, means, name) for name in names), *_incomplete(scores, means)]
    )
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


def _sentence(frame: pd.DataFrame, means: pd.DataFrame, name: str) -> str:
    """Say whether models change places under one view, and how far apart those are that do."""
    first = frame[frame["view"] == name].iloc[0]
    differing = f"{first['differs']:,} of {count(first['images'], 'image')} differ"
    label = f"Under {escape(first['title'])} ({differing})"
    both = np.stack([means["given"][name], means["accuracy"][name]], axis=1)
    both = both[~np.isnan(both).any(axis=1)]
    gaps = [first - second for first, second in combinations(both, 2)]
    swapped = [abs(float(gap[0])) for gap in gaps if gap[0] * gap[1] < 0]
    if not swapped:
        return f"{label} the ranking of the {len(both)} models by in-distribution accuracy stays the same."
    pairs = math.comb(len(both), 2)
    return (
        f"{label} the ranking depends on the view: {len(swapped)} of {pairs} pairs of models change places, "
        f"at most {points(100 * max(swapped))} pp apart under the given labels."
    )


def _incomplete(scores: SuiteScores, means: pd.DataFrame) -> list[str]:
    ok = scores.runs[(scores.runs["role"] == "scored") & (scores.runs["status"] == "ok")]
    lacking = len(ok.drop_duplicates(KEYS)) - len(means)
    return [f"{count(lacking, 'model')} without these figures."] if lacking > 0 else []

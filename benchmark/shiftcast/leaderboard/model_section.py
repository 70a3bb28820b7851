"""The part of a suite's page about models: their board, and what else is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.columns import (
    ENSEMBLES,
    ensemble_columns,
    label_view_columns,
    model_columns,
    part_columns,
    pick,
    recipe_columns,
    seed_columns,
)
from shiftcast.board.tables import MODEL
from shiftcast.leaderboard.markup import escape, fold, pictures, table
from shiftcast.util.text import count, points

MOST_NAMED = 5
"""Shifts that are named where models are ranked by them; more are listed at the head of the suite."""


CAPTIONS = {
    "recipes": "Errors of estimators on one architecture, by how it was trained",
    "ensembles": "Error of ConfusionPartition by kind and size of its ensemble",
}


def models(board: Board, links: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the blocks about models, with pictures by `links`; none where the suite has no runs."""
    if not (board.scores.runs["role"] == "scored").any():
        return []
    return [
        "## Models",
        *_board(board),
        *label_views(board),
        *_parts(board),
        *seed_spreads(board),
        *recipe_axis(board, links),
        *ensemble_kinds(board, links),
    ]


def _board(board: Board) -> list[str]:
    columns, ranking = model_columns(board), board.models.ranking
    rows = board.models.overall.to_dict("records")
    synthetic = board.models.overall["synthetic"].notna().any() and any(map(board.models.is_natural, ranking))
    shown = ["rank", "model", "runs", "id_accuracy", "score", "predicted", "robustness"]
    shown += ["synthetic"] if synthetic else []
    sizes = table(pick(columns, "model", "family", "parameters", "id_sd", "sd"), rows)
    reasons = [
        f"- {escape(columns['model'].cell(row))}: {escape(row['reason'])}" for row in rows if row["reason"]
    ]
    return [
        f"Ranked by {ranked_by(board)}; predicted by {escape(board.headline)}.",
        table(pick(columns, *shown), rows),
        fold("Families, parameters and spread of seeds", sizes),
        *(["Not ranked:\n\n" + "\n".join(reasons)] if reasons else []),
    ]


def ranked_by(board: Board) -> str:
    """Return what models are ranked by, in words."""
    ranking = board.models.ranking
    if not ranking:
        return "nothing: no required shift has known labels"
    if len(ranking) == 1:
        return f"accuracy on {escape(ranking[0])}"
    named = f" ({', '.join(map(escape, ranking))})" if len(ranking) <= MOST_NAMED else ""
    return f"mean accuracy over the {len(ranking)} required {board.kind(ranking[0])} shifts{named}"


def label_views(board: Board) -> list[str]:
    """Return a sentence on whether the ranking depends on labels, and the accuracies; nothing without."""
    found = board.label_views
    if not found.rows:
        return []
    kept = [_labels(view) for view in found.views if not view["swapped"]]
    parts = ["**Label views.**"]
    if kept:
        parts.append(
            f"The ranking of the {count(len(found.rows), 'model')} by in-distribution accuracy is the same "
            f"under {_listed(kept)}."
        )
    parts += [
        f"Under {_labels(view)} {'it is not' if kept else 'the ranking changes'}: {view['swapped']} of "
        f"{view['pairs']} pairs of models change places, at most {points(view['apart'])} pp apart under the "
        "given labels."
        for view in found.views
        if view["swapped"]
    ]
    if found.lacking > 0:
        parts.append(f"{count(found.lacking, 'model')} without these figures.")
    body = table(label_view_columns(board), found.rows)
    return [" ".join(parts), fold("Accuracy under other labels", body)]


def _labels(view: dict[Any, Any]) -> str:
    return f"{escape(view['title'])} ({view['differs']:,} of {count(view['images'], 'image')} differ)"


def _listed(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _parts(board: Board) -> list[str]:
    if board.scores.views.empty:
        return []
    said = [
        f"- **{escape(part['set'])}: {escape(part['view'])}**: {escape(part['title'])} "
        f"({count(part['n'], 'image')})."
        for part in board.parts.parts
    ]
    body = "\n\n".join(["\n".join(said), table(part_columns(board), board.parts.rows)])
    return [fold("Accuracy on parts of the sets", body)]


def seed_spreads(board: Board) -> list[str]:
    """Return the blocks on models with many seeds; none where there are none."""
    frame = board.scores.seeds
    if frame.empty:
        return []
    text = (
        f"**Spread of seeds**, in pp, of {count(len(frame.drop_duplicates(MODEL)), 'model')} with at least "
        "four. Raw: standard deviation of the "
        "accuracies on these images. Distribution-wise: the spread on the distribution that the images "
        "were drawn from, without differences on single images (Jordan 2024). Its estimated variance can be "
        "negative; its root then has a minus sign. Brackets: 95 % chi-square intervals; where one contains "
        "0, the spread is not distinguishable from none."
    )
    rows = frame.sort_values(MODEL, kind="stable").to_dict("records")
    return [text, table(seed_columns(board.scores.suite.source.test), rows)]


def recipe_axis(board: Board, links: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the blocks on architectures with three recipes or more; none where there are none."""
    text = (
        "Mean absolute errors (pp) on natural shifts of one architecture, trained in several ways; in "
        "brackets the difference from the first row. A recipe that changes an estimator's error shows what "
        "the estimator depends on."
    )
    blocks = [
        fold(escape(architecture), table(recipe_columns(rows[0]["errors"]), rows))
        for architecture, rows in board.recipes.items()
    ]
    return ["## Recipes", text, *pictures(CAPTIONS, links, "recipes"), *blocks] if blocks else []


def ensemble_kinds(board: Board, links: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the blocks on the suite's other ensembles; none where none is complete."""
    confusion = board.scores.confusion
    if confusion is None or confusion.ensembles.empty:
        return []
    frame = confusion.ensembles
    judged = count(int(frame["judged"].iloc[0]), "run")
    text = (
        f"Mean absolute error of ConfusionPartition (bias in brackets), in pp, on {judged} of families that "
        "are in none of these ensembles, for each ensemble that scores the images. M members: mean over "
        "ensembles of M members that are consecutive in the suite's order. *Differ*: share of "
        "in-distribution images on which two "
        "members give different classes."
    )
    blocks = ["## Ensembles", text, *pictures(CAPTIONS, links, "ensembles")]
    blocks += [
        fold(f"{kind.capitalize()} shifts", _sizes(frame[frame["part"] == "all"], kind))
        for kind in ("natural", "synthetic")
        if frame[f"{kind}_mae"].notna().any()
    ]
    parted = frame[frame["part"] != "all"].to_dict("records")
    if parted:
        blocks.append(fold("By the accuracy of the members", table(list(ENSEMBLES.values()), parted)))
    return blocks


def _sizes(whole: pd.DataFrame, kind: str) -> str:
    rows = []
    for _, own in whole.groupby("title", sort=False):
        errors = zip(own["size"], own[f"{kind}_mae"], own[f"{kind}_bias"], strict=True)
        largest = own.sort_values("size").iloc[-1].to_dict()
        rows.append({**largest, "errors": {size: (mae, bias) for size, mae, bias in errors}})
    return table(ensemble_columns(sorted(whole["size"].unique())), rows)

"""Self-reported models: their own section, apart from everything that is ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from shiftcast.board.models import ranking_groups
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape, table
from shiftcast.runs.ledger import LEVELS
from shiftcast.statistics import wilson
from shiftcast.util.text import BLANK, count, interval, percent, predicted

KEYS = ["architecture", "seed"]
HARD = "‡"
"""Stands behind models of which only class indices are known."""
Groups = Mapping[str, Sequence[str]]
"""Sets (ids) by group, in the suite's order."""


def self_reported(scores: SuiteScores) -> list[str]:
    """Return the blocks of the section on self-reported models; none where there are none."""
    frame = scores.reported
    if frame.empty:
        return []
    shown = frame[frame["stale"] == ""]
    blocks = ["### Self-reported models"]
    if len(shown):
        blocks += [_sentence(scores, shown), _table(scores, shown)]
    stale = frame[frame["stale"] != ""].drop_duplicates(KEYS).sort_values(KEYS).to_dict("records")
    reasons = [f"- {_name(row, several=True)}: {escape(row['stale'])}{_remedy(row)}" for row in stale]
    return [*blocks, *(["Not shown:\n\n" + "\n".join(reasons)] if reasons else [])]


def _remedy(row: Mapping[Any, Any]) -> str:
    return "; submit it again" if "version" in row["stale"] else ""


def _sentence(scores: SuiteScores, shown: pd.DataFrame) -> str:
    text = (
        f"{count(len(shown.drop_duplicates(KEYS)), 'run')} trained elsewhere. Accuracies follow from the "
        "logits that were submitted; family, parameters and note are their authors' word. They are not "
        "ranked, and no other figure on this page is made with them."
    )
    hard = shown.loc[shown["outputs"] == "classes"].drop_duplicates(KEYS)
    if len(hard):
        text += f" Of {count(len(hard), 'run')} only the predicted classes are known, marked {HARD}."
    vouched = shown.loc[shown["trust"].isin(LEVELS[:-1])].drop_duplicates(KEYS).sort_values(KEYS)
    if len(vouched):
        levels = [f"{_name(row, several=True)} {escape(row['trust'])}" for row in vouched.to_dict("records")]
        text += f" Maintainers vouch for {', '.join(levels)}."
    groups = ranking_groups(scores)
    if groups and shown["predicted"].notna().any():
        named = escape(groups[0]) if len(groups) == 1 else f"the mean over {', '.join(map(escape, groups))}"
        text += f" Predicted by {escape(scores.suite.headline)}: {named}."
    return text


def _table(scores: SuiteScores, shown: pd.DataFrame) -> str:
    headings, cells = reported_rows(scores, shown)
    return table(headings, list(cells.values()))


def reported_rows(
    scores: SuiteScores, shown: pd.DataFrame
) -> tuple[dict[str, str], dict[tuple[str, int], list[str]]]:
    """Return the table of self-reported models: headings with their alignment, and cells by name and seed."""
    natural, synthetic = (_groups(scores, shown, kind) for kind in (True, False))
    everything = {**natural, **synthetic}
    ranking = {group: everything[group] for group in ranking_groups(scores) if group in everything}
    whole = len(ranking) == len(ranking_groups(scores)) > 0
    guessed = whole and bool(shown["predicted"].notna().any())
    headings = {"model": "left", "family": "left", "parameters": "right", "note": "left"}
    headings |= dict.fromkeys(("ID accuracy %", *(f"{escape(group)} %" for group in natural)), "right")
    headings |= {"synthetic mean %": "right"} if synthetic else {}
    headings |= {"predicted % (error)": "right"} if guessed else {}
    several = set(shown.drop_duplicates(KEYS)["architecture"].value_counts().loc[lambda n: n > 1].index)
    cells: dict[tuple[str, int], list[str]] = {}
    for _, own in shown.groupby(KEYS, sort=True):
        row = own.iloc[0]
        right, n = own["right"].astype("Float64"), own["n"].astype("Float64")
        shares = dict(zip(own["set"], (right / n).to_numpy(float, na_value=np.nan), strict=True))
        guesses = dict(zip(own["set"], own["predicted"].astype(float), strict=True))
        cells[str(row["architecture"]), int(row["seed"])] = [
            _name(row, row["architecture"] in several) + (HARD if row["outputs"] == "classes" else ""),
            escape(row["family"]),
            BLANK if pd.isna(row["parameters"]) else f"{row['parameters']:,}",
            escape(row["note"]) or BLANK,
            _in_distribution(own[own["set"] == scores.suite.source.test].iloc[0]),
            *(percent(_mean(shares, {group: natural[group]})) for group in natural),
            *([percent(_mean(shares, synthetic))] if synthetic else []),
            *([predicted(_mean(guesses, ranking), _mean(shares, ranking))] if guessed else []),
        ]
    return headings, cells


def _groups(scores: SuiteScores, shown: pd.DataFrame, natural: bool) -> dict[str, list[str]]:
    """Return the labelled groups of one kind: of natural ones those that a self-reported run was run on.

    Synthetic ones are all that anybody was run on, so that their means are comparable.
    """
    known = set(shown.loc[shown["right"].notna(), "set"])
    if not natural and known & {t.id for t in scores.suite.unfolded_targets() if not scores.natural[t.id]}:
        known |= set(scores.accuracies.loc[scores.accuracies["right"].notna(), "set"])
    groups: dict[str, list[str]] = {}
    for target in scores.suite.unfolded_targets():
        if scores.natural[target.id] == natural and target.id in known:
            groups.setdefault(target.group, []).append(target.id)
    return groups


def _mean(values: Mapping[str, float], groups: Groups) -> float:
    """Mean over groups of the mean over each one's sets; NaN where a set has no value."""
    means = [sum(values.get(name, np.nan) for name in sets) / len(sets) for sets in groups.values()]
    return sum(means) / len(means) if means else float("nan")


def _in_distribution(row: pd.Series[Any]) -> str:
    share, size = row["right"] / row["n"], round(row["effective"])
    return interval(share, *wilson(round(share * size), size))


def _name(row: Mapping[Any, Any] | pd.Series[Any], several: bool) -> str:
    name = escape(cast("str", row["architecture"]))
    return f"{name} (seed {row['seed']})" if several else name

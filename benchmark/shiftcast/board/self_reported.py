"""Self-reported models: what they did, apart from everything that is ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.board.tables import SuiteScores
from shiftcast.statistics import wilson

KEYS = ["architecture", "seed"]


@dataclass(frozen=True, eq=False)
class SelfReported:
    """The table of self-reported models.

    Parameters
    ----------
    rows
        One row per run: `architecture`, `seed`, `family`, `parameters`, `note`, `outputs`, `trust`,
        `several` (whether the architecture has other seeds), `id_accuracy` with `id_low` and `id_high`,
        `natural` (accuracy by group), `synthetic`, `predicted` and `score` (predicted and actual accuracy,
        means over the groups that models are ranked by); NaN where a set is missing.
    natural
        Natural groups that any of them was run on.
    synthetic, predicted
        Whether any was run on synthetic groups, and whether anything is predicted.
    stale
        Runs that are not shown, with the reason `stale`.
    """

    rows: Sequence[Mapping[Any, Any]]
    natural: Sequence[str]
    synthetic: bool
    predicted: bool
    stale: Sequence[Mapping[Any, Any]]


def self_reported(scores: SuiteScores, ranking: Sequence[str]) -> SelfReported:
    """Return what self-reported models did; `ranking` are the groups that other models are ranked by."""
    frame = scores.reported
    hidden = frame["stale"] != ""
    shown = frame[~hidden]
    stale = frame[hidden].drop_duplicates(KEYS).sort_values(KEYS).to_dict("records")
    natural, synthetic = (_groups(scores, shown, kind) for kind in (True, False))
    everything = {**natural, **synthetic}
    chosen = {group: everything[group] for group in ranking if group in everything}
    guessed = len(chosen) == len(ranking) > 0 and bool(shown["predicted"].notna().any())
    seeds = shown.drop_duplicates(KEYS)["architecture"].value_counts()
    rows = []
    for _, own in shown.groupby(KEYS, sort=True):
        right, n = own["right"].astype("Float64"), own["n"].astype("Float64")
        shares = dict(zip(own["set"], (right / n).to_numpy(float, na_value=np.nan), strict=True))
        guesses = dict(zip(own["set"], own["predicted"].astype(float), strict=True))
        first: dict[Any, Any] = own.drop_duplicates(KEYS).to_dict("records")[0]
        rows.append(
            {
                **first,
                "several": seeds[first["architecture"]] > 1,
                **_in_distribution(own[own["set"] == scores.suite.source.test].iloc[0]),
                "natural": {group: _mean(shares, {group: natural[group]}) for group in natural},
                "synthetic": _mean(shares, synthetic),
                "predicted": _mean(guesses, chosen) if guessed else float("nan"),
                "score": _mean(shares, chosen),
            }
        )
    return SelfReported(rows, list(natural), bool(synthetic), guessed, stale)


def _groups(scores: SuiteScores, shown: pd.DataFrame, natural: bool) -> dict[str, list[str]]:
    """Return the labelled groups of one kind: of natural ones those that a self-reported run was run on.

    Synthetic ones are all that any run was run on, so that their means are comparable.
    """
    known = set(shown.loc[shown["right"].notna(), "set"])
    targets = scores.suite.unfolded_targets()
    if not natural and known & {target.id for target in targets if not scores.natural[target.id]}:
        known |= set(scores.accuracies.loc[scores.accuracies["right"].notna(), "set"])
    groups: dict[str, list[str]] = {}
    for target in targets:
        if target.id in known and scores.natural[target.id] == natural:
            groups.setdefault(target.group, []).append(target.id)
    return groups


def _mean(values: Mapping[str, float], groups: Mapping[str, Sequence[str]]) -> float:
    """Mean over groups of the mean over each one's sets; NaN where a set has no value."""
    means = [sum(values.get(name, np.nan) for name in sets) / len(sets) for sets in groups.values()]
    return sum(means) / len(means) if means else float("nan")


def _in_distribution(row: pd.Series[Any]) -> dict[str, float]:
    share, size = row["right"] / row["n"], round(row["effective"])
    low, high = wilson(round(share * size), size)
    return {"id_accuracy": share, "id_low": low, "id_high": high}

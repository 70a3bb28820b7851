"""What the scatter charts of a suite show: every accuracy and every official prediction, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.tables import RUN, SuiteScores
from shiftcast.cards.suite import Target
from shiftcast.site.html import script_text
from shiftcast.site.links import Names

UNITS = 100_000
"""Accuracies are written as whole numbers of this part."""


def suite_script(board: Board, names: Names) -> str:
    """Return a script that hands the suite's accuracies and predictions to the charts."""
    return f"window.SHIFTCAST={script_text(suite_data(board, names))};\n"


def suite_data(board: Board, names: Names) -> dict[str, Any]:
    """Return accuracies and predictions of every complete run, as JSON.

    Accuracies are whole numbers of 1/100,000, None where there is none; lists over runs and targets are
    in the order of `runs` and `targets`.
    """
    scores, groups = board.scores, board.models.groups
    sets = scores.accuracies
    sets = sets[(sets["role"] == "scored") & sets["right"].notna()]
    share = sets["right"].astype(float) / sets["n"].astype(float)
    wide = sets.assign(share=share).pivot(index=RUN, columns="set", values="share")
    sizes = sets.groupby("set")["n"].min().to_dict()
    facts = scores.runs.drop_duplicates(RUN).set_index(RUN)
    source = scores.suite.source.test
    targets = [(place, name) for place, group in enumerate(groups) for name in groups[group]]
    titles = {target.id: _title(target) for target in scores.targets}
    return {
        "units": UNITS,
        "runs": [
            {
                "model": names.model_title(architecture, recipe),
                "seed": int(seed),
                "family": str(facts.loc[(architecture, recipe, seed), "family"]),
                "plain": bool(facts.loc[(architecture, recipe, seed), "plain"]),
                "href": names.model((architecture, recipe)),
            }
            for architecture, recipe, seed in wide.index
        ],
        "id": _whole(wide[source].tolist()) if source in wide else [],
        "idImages": int(sizes.get(source, 1)),
        "shifts": [{"name": group, "kind": board.kind(group)} for group in groups],
        "targets": [
            {
                "name": titles[name],
                "shift": place,
                "n": int(sizes[name]),
                "actual": _whole(wide[name].tolist()),
            }
            for place, name in targets
        ],
        "estimators": _estimators(scores, wide.index, [name for _, name in targets]),
    }


def _title(target: Target) -> str:
    return f"{target.group}, severity {target.severity}" if target.severity else target.group


def _whole(values: Sequence[float]) -> list[int | None]:
    return [None if value != value else round(value * UNITS) for value in values]


def _estimators(scores: SuiteScores, runs: pd.Index, targets: Sequence[str]) -> list[dict[str, Any]]:
    table = scores.table[scores.table["protocol"] == "official"]
    rows = table[~table["abstains"].astype(bool)]
    found = []
    for (track, name), own in rows.groupby(["track", "estimator"], sort=True):
        wide = own.pivot(index=RUN, columns="target", values="predicted").astype(float)
        wide = wide.reindex(index=runs, columns=list(targets))
        predicted = [_whole(wide[target].tolist()) for target in targets]
        found.append({"name": str(name), "track": str(track), "predicted": predicted})
    return found

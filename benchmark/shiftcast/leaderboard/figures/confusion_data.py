"""What the pictures of a suite's confusion score plot."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from shiftcast.board.tables import ConfusionTables, SuiteScores
from shiftcast.board.words import KINDS
from shiftcast.leaderboard.figures.board_data import as_number
from shiftcast.leaderboard.figures.picture import Data, Picture
from shiftcast.statistics import probit

FEWEST = 20
"""Images that an accuracy in a bin needs to be drawn or printed."""


def confusion_figures(scores: SuiteScores, tables: ConfusionTables) -> dict[str, Picture]:
    """Return every picture that there are data for, by name."""
    shown = shown_sets(scores, tables)
    found = {
        "confusion-by-set": sets_data(tables),
        "confusion-distribution": distribution_data(tables, shown),
        "accuracy-by-confusion": accuracy_data(tables, shown),
        "predicted-lines": lines_data(scores, tables),
        "partition-against-rivals": pairs_data(tables),
        "where-accuracy-is-lost": drop_data(tables),
        "shared-errors": shared_data(tables),
        "partition-choices": choices_data(tables),
    }
    return {name: Picture(name, data) for name, data in found.items() if data["panels"]}


def shown_sets(scores: SuiteScores, tables: ConfusionTables) -> list[str]:
    """Return what is drawn: the source, the labelled natural sets, and one corruption at its worst."""
    names = tables.sets["set"].tolist()
    labelled = set(tables.accuracy["set"])
    natural = [name for name in names if scores.natural.get(name, False) and name in labelled]
    derived = [t for t in scores.targets if t.derived and t.id in names]
    worst = (
        [max((t for t in derived if t.group == derived[0].group), key=lambda t: t.severity).id]
        if derived
        else []
    )
    return [names[0], *natural, *worst]


def distribution_data(tables: ConfusionTables, shown: Sequence[str]) -> Data:
    """Return the histogram of the score on each shown set, the in-distribution one first."""
    means = dict(zip(tables.sets["set"], tables.sets["mean"], strict=True))
    panels = []
    for name in shown:
        rows = tables.histogram[tables.histogram["set"] == name].sort_values("bin")
        panels.append(
            {
                "set": name,
                "shares": [as_number(share) for share in rows["share"]],
                "mean": as_number(means[name]),
            }
        )
    return {"panels": panels, "threshold": as_number(tables.threshold)}


def sets_data(tables: ConfusionTables) -> Data:
    """Return how much more confusing each set is than the source, and its share of high confusion."""
    keys = ("difference", "difference_low", "difference_high", "above", "above_low", "above_high")
    rows = [
        {"set": row["set"], "natural": bool(row["natural"]), **{key: as_number(row[key]) for key in keys}}
        for row in tables.sets.iloc[1:].to_dict("records")
    ]
    return {"panels": [{"rows": rows}] if rows else []}


def accuracy_data(tables: ConfusionTables, shown: Sequence[str]) -> Data:
    """Return each model's accuracy in each bin of each shown set; None below 20 images."""
    panels = []
    models = list(dict.fromkeys(zip(tables.accuracy["architecture"], tables.accuracy["recipe"], strict=True)))
    several = len({recipe for _, recipe in models}) > 1
    for name in shown:
        own = tables.accuracy[tables.accuracy["set"] == name]
        curves: dict[str, list[float | None]] = {}
        for architecture, recipe in models:
            rows = own[(own["architecture"] == architecture) & (own["recipe"] == recipe)].sort_values("bin")
            label = f"{architecture} ({recipe})" if several else architecture
            curves[label] = [
                as_number(right / n) if images >= FEWEST else None
                for right, n, images in rows[["right", "n", "images"]].itertuples(index=False)
            ]
        panels.append({"set": name, "curves": curves})
    return {"panels": panels}


def lines_data(scores: SuiteScores, tables: ConfusionTables) -> Data:
    """Return actual and predicted accuracy of each run against ID accuracy, with both lines."""
    panels = []
    table = scores.table
    official = table[(table["protocol"] == "official") & (table["estimator"] == "ConfusionPartition")]
    keys = ["architecture", "recipe", "seed"]
    sets = scores.accuracies
    source = sets[(sets["set"] == scores.suite.source.test) & (sets["role"] == "scored")]
    known = source.assign(id_accuracy=source["right"].astype(float) / source["n"])[
        [*keys, "id_accuracy", "n"]
    ]
    for line in tables.lines.to_dict("records"):
        rows = official[official["target"] == line["set"]].merge(known, on=keys, suffixes=("", "_id"))
        panels.append(
            {
                "set": line["set"],
                "n": [int(rows["n_id"].iloc[0]), int(rows["n"].iloc[0])],
                "points": [
                    [as_number(value) for value in point]
                    for point in rows.sort_values(keys)[["id_accuracy", "actual", "predicted"]].itertuples(
                        index=False
                    )
                ],
                "middle": as_number(_middle(rows)),
                "actual": [as_number(line["slope"]), _probit(line["middle"])],
                "predicted": [as_number(line["slope_predicted"]), _probit(line["middle_predicted"])],
            }
        )
    return {"panels": panels}


def _middle(rows: pd.DataFrame) -> float:
    """Return the mean probit of ID accuracy, every architecture x recipe counting once."""
    probits = pd.Series(probit(rows["id_accuracy"], int(rows["n_id"].iloc[0])), index=rows.index)
    return float(probits.groupby([rows["architecture"], rows["recipe"]]).mean().mean())


def _probit(share: float) -> float | None:
    return as_number(float(probit(share, 10**9)))


# Pairs of estimators, and where accuracy is lost


def pairs_data(tables: ConfusionTables) -> Data:
    """Return the partition's error minus each rival's on each natural set, with intervals, in pp."""
    panels = []
    for rival, rows in tables.pairs.groupby("rival", sort=False):
        points = [
            [row["set"], *(as_number(row[name]) for name in ("difference", "low", "high"))]
            for row in rows.to_dict("records")
        ]
        panels.append({"rival": rival, "points": points})
    return {"panels": panels}


def drop_data(tables: ConfusionTables) -> Data:
    """Return the share of the drop that comes from high confusion, with the share of the images."""
    rows = [
        {
            "set": row["set"],
            **{name: as_number(row[name]) for name in ("share", "low", "high", "mass", "uninformative")},
        }
        for row in tables.drop.to_dict("records")
    ]
    return {"panels": [{"rows": rows}] if rows else []}


# Errors that networks share, and choices


def shared_data(tables: ConfusionTables) -> Data:
    """Return how often pairs of networks share an error, by set, for each level of confusion."""
    panels = []
    for level, rows in tables.shared.groupby("level", sort=False):
        points = [
            [row["set"], row["pairs"], *(as_number(row[key]) for key in ("share", "low", "high"))]
            for row in rows.to_dict("records")
        ]
        panels.append({"level": level, "points": points})
    return {"panels": panels}


def choices_data(tables: ConfusionTables) -> Data:
    """Return the partition's mean absolute error under each choice, by kind of shift."""
    panels = []
    for kind in KINDS.values():
        known = tables.sensitivity[tables.sensitivity[f"{kind}_mae"].notna()]
        rows = [
            [row["aspect"], row["variant"], bool(row["default"]), as_number(row[f"{kind}_mae"])]
            for row in known.to_dict("records")
        ]
        if rows:
            panels.append({"kind": kind, "rows": rows})
    return {"panels": panels}

"""What the leaderboard's pictures plot, as plain dictionaries; drawing them is `drawing`'s business."""

from __future__ import annotations

import math

import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.tables import MODEL, RUN
from shiftcast.board.words import KINDS
from shiftcast.errors import InvalidInputError
from shiftcast.leaderboard.figures.picture import Data, Picture
from shiftcast.statistics import fit_line, probit


def figures(board: Board) -> dict[str, Picture]:
    """Return every picture that a suite has data for, by name."""
    found = {
        "predicted-vs-actual": predicted_data(board),
        "ood-vs-id": lines_data(board),
        "estimators": estimators_data(board),
        "recipes": recipes_data(board),
        "ensembles": ensembles_data(board),
    }
    return {name: Picture(name, data) for name, data in found.items() if data["panels"]}


def as_number(value: float) -> float | None:
    """Return a number as the hash sees it: without bits that differ between machines."""
    return None if math.isnan(value) else round(float(value), 6) + 0.0


def predicted_data(board: Board) -> Data:
    """Return predicted and actual accuracy for the headline estimator and NoShift, kinds apart.

    A point is an architecture x recipe on a target: the mean over seeds.
    """
    groups = list(dict.fromkeys(target.group for target in board.scores.targets))
    panels = []
    for tables in board.kinds:
        rows = tables.answers
        for name in dict.fromkeys((board.headline, "NoShift")):
            own = rows[rows["estimator"] == name]
            keys = ["group", *MODEL, "target"]
            means = own.groupby(keys)[["predicted", "actual"]].mean().reset_index()
            found: dict[str, list[list[float | None]]] = {}
            for group in (group for group in groups if (means["group"] == group).any()):
                there = means.loc[means["group"] == group, ["predicted", "actual"]]
                found[group] = [[as_number(p), as_number(a)] for p, a in there.itertuples(index=False)]
            if found:
                panels.append({"kind": tables.kind, "estimator": name, "groups": found})
    return {"panels": panels}


def lines_data(board: Board) -> Data:
    """Return each run's accuracy on each group against its ID accuracy, and the probit lines.

    A line is an ordinary least-squares fit on probit axes over the runs of plain recipes; None below three
    of them. Where there are others, `bent` says which points they are.
    """
    source = board.models.source
    panels: list[Data] = []
    for group, sets in board.models.groups.items():
        both = source.merge(board.models.accuracies(sets), on=RUN, suffixes=("_id", "_ood"))
        if both.empty:
            continue
        plain = both.merge(board.scores.runs[[*RUN, "plain"]], on=RUN)["plain"].astype(bool)
        pairs = both[["accuracy_id", "accuracy_ood"]].itertuples(index=False)
        panels.append(
            {
                "group": group,
                "kind": board.kind(group),
                "points": [[as_number(x), as_number(y)] for x, y in pairs],
                "n": [int(both["n_id"].min()), int(both["n_ood"].min())],
                "line": _line(both[plain.to_numpy()]),
                **({} if plain.all() else {"bent": (~plain).tolist()}),
            }
        )
    panels.sort(key=lambda panel: list(KINDS.values()).index(panel["kind"]))
    return {"panels": panels, "runs": len(source)}


def _line(both: pd.DataFrame) -> list[float | None] | None:
    if len(both) < 3:
        return None
    x = probit(both["accuracy_id"], int(both["n_id"].min()))
    y = probit(both["accuracy_ood"], int(both["n_ood"].min()))
    try:
        line = fit_line(x, y)
    except InvalidInputError:  # all runs have one ID accuracy
        return None
    return [as_number(line.slope), as_number(line.intercept), as_number(line.r2)]


def estimators_data(board: Board) -> Data:
    """Return each estimator's mean absolute error and the sampling-noise floor, kinds apart."""
    panels = []
    for tables in board.kinds:
        overall = tables.overall
        rows = [
            {"estimator": row["estimator"], "mae": as_number(row["mae"]), "ranked": not pd.isna(row["rank"])}
            for row in overall.sort_values("estimator").to_dict("records")
            if not math.isnan(row["mae"])
        ]
        if rows:
            floor = overall.loc[overall["cells"] == overall["all_cells"], "floor"].dropna()
            panels.append({"kind": tables.kind, "rows": rows, "floor": as_number(floor.max())})
    return {"panels": panels, "headline": board.headline}


def recipes_data(board: Board) -> Data:
    """Return estimators' errors under each recipe of an architecture, the plain recipe first."""
    panels = [
        {
            "architecture": architecture,
            "recipes": [row["recipe"] for row in rows],
            "errors": {name: [as_number(row["errors"][name]) for row in rows] for name in rows[0]["errors"]},
        }
        for architecture, rows in board.recipes.items()
    ]
    return {"panels": panels}


def ensembles_data(board: Board) -> Data:
    """Return the partition's error by the size of the ensemble that it uses, a line for each ensemble."""
    panels: list[Data] = []
    confusion = board.scores.confusion
    if confusion is None:
        return {"panels": panels}
    whole = confusion.ensembles[confusion.ensembles["part"] == "all"].sort_values("size")
    for kind in KINDS.values():
        known = whole[whole[f"{kind}_mae"].notna()]
        lines = {
            str(title): [[int(row["size"]), as_number(row[f"{kind}_mae"])] for row in own.to_dict("records")]
            for title, own in known.groupby("title", sort=False)
        }
        if lines:
            panels.append({"kind": kind, "lines": lines})
    return {"panels": panels}

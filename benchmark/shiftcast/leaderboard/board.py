"""The board of estimators: how far predicted lies from actual accuracy, as tables.

Pure functions from `SuiteScores` to data frames; figures in percentage points (pp). Synthetic and
natural shifts never meet in one figure. A *cell* is (architecture x recipe) x group: a figure is
averaged over a cell's seeds, then its severities, then over the cells of a group and last over
groups. Models are `models`'s business, wording `markdown`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shiftcast.scores import SuiteScores
from shiftcast.statistics import kendall_tau

if TYPE_CHECKING:
    from rich.table import Table

CELL = ["architecture", "recipe", "group"]
ROW = ["architecture", "recipe", "seed", "target"]
BASELINES = ("NoShift", "MeanShift")
FEWEST_RUNS = 3
"""Runs that a rank correlation needs."""

BOARD_COLUMNS = (
    *("track", "rank", "estimator", "mae", "bias", "rmse", "worst", "worst_cell", "skill", "tau", "tau_id"),
    *("coverage", "width", "nominal", "floor", "mae_shared", "abstained", "cells", "all_cells"),
    *("groups", "architectures", "rows", "selected", "seconds"),
)
DETAIL_COLUMNS = ("part", "track", "estimator", "mae", "bias", "rows", "cells", "all_cells", "selected")


def kind_rows(scores: SuiteScores, natural: bool, protocol: str = "official") -> pd.DataFrame:
    """Return the rows of one kind of shift whose actual accuracy is known, with their errors.

    Parameters
    ----------
    scores
        A suite's scores.
    natural
        Natural shifts, or synthetic ones.
    protocol
        "official" or "shared".

    Returns
    -------
    pd.DataFrame
        The rows of `scores.table` in a fixed order, with the columns `error`, `absolute`, `width`
        and `floor` (pp), `squared` (pp^2), `covered` (0 or 1; NaN without an interval),
        `id_accuracy` and `selected` (whether the estimator was chosen on the row's dataset).
    """
    table = scores.table
    kind = table["natural"].astype(bool) == natural
    chosen = table[kind & (table["protocol"] == protocol) & table["actual"].notna()]
    rows = chosen.sort_values(["estimator", *ROW]).reset_index(drop=True)
    actual, low, high = (rows[name].astype(float) for name in ("actual", "low", "high"))
    error = 100 * (rows["predicted"].astype(float) - actual)
    inside = ((low <= actual) & (actual <= high)).astype(float)
    return rows.assign(
        abstains=rows["abstains"].astype(bool),
        error=error,
        absolute=error.abs(),
        squared=error**2,
        covered=inside.where(low.notna() & high.notna()),
        width=100 * (high - low),
        floor=196 * np.sqrt(actual * (1 - actual) / rows["n"].astype(float)),
        id_accuracy=_id_accuracy(scores, rows),
        selected=_selected(scores, rows),
    )


def _id_accuracy(scores: SuiteScores, rows: pd.DataFrame) -> list[float]:
    sets = scores.accuracies
    source = sets[
        (sets["set"] == scores.suite.source.test) & (sets["role"] == "scored") & sets["right"].notna()
    ]
    keys = zip(source["architecture"], source["recipe"], source["seed"], strict=True)
    shares = (source["right"].astype(float) / source["n"].astype(float)).tolist()
    known = dict(zip(keys, shares, strict=True))
    runs = zip(rows["architecture"], rows["recipe"], rows["seed"], strict=True)
    return [known.get(run, np.nan) for run in runs]


def _selected(scores: SuiteScores, rows: pd.DataFrame) -> list[bool]:
    dataset = {target.id: target.dataset for target in scores.targets}
    pairs = zip(rows["target"], rows["selected_on"], strict=True)
    return [dataset.get(target, target) in str(names).split(";") for target, names in pairs]


def cell_means(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    """Return a column's mean in each cell: over seeds, then over the cell's targets (severities)."""
    by_target = rows.groupby([*CELL, "target"])[column].mean()
    return by_target.groupby(level=CELL).mean()


def board_mean(rows: pd.DataFrame, column: str) -> float:
    """Return a column's mean over groups of equal weight, each the mean of its cells.

    NaN without rows, or where a row has no value.
    """
    if rows.empty or rows[column].isna().any():
        return float("nan")
    return float(cell_means(rows, column).groupby(level="group").mean().mean())


def kept(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows on which the estimator does not abstain."""
    return rows[~rows["abstains"]]


def estimator_board(scores: SuiteScores, natural: bool) -> pd.DataFrame:
    """Return the estimator board of one kind of shift.

    Parameters
    ----------
    scores
        A suite's scores.
    natural
        Natural shifts, or synthetic ones.

    Returns
    -------
    pd.DataFrame
        One row per estimator, by track, then rank, then name; see `BOARD_COLUMNS`. `rank` (Int64)
        counts within a track and is <NA> for an estimator that lacks any row of any cell;
        estimators whose MAE prints alike share a rank. `coverage` and `abstained` are shares,
        `skill` is 1 - MAE / MAE of the better baseline on the same rows.
    """
    rows = kind_rows(scores, natural)
    shared = kind_rows(scores, natural, "shared")
    records = []
    for name, own in rows.groupby("estimator"):
        record = _counts(own, rows) | _errors(kept(own), rows) | _intervals(kept(own))
        record["mae_shared"] = board_mean(kept(shared[shared["estimator"] == name]), "absolute")
        records.append({"estimator": name, "track": own["track"].iloc[0], **record})
    return _ranked(records)


def _counts(own: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    used = kept(own)
    return {
        "abstained": float(own["abstains"].mean()),
        "cells": complete_cells(used, rows),
        "all_cells": len(rows.drop_duplicates(CELL)),
        "groups": used["group"].nunique(),
        "architectures": used["architecture"].nunique(),
        "rows": len(used),
        "selected": bool(own["selected"].any()),
        "seconds": float(own["seconds"].mean()),
    }


def complete_cells(own: pd.DataFrame, rows: pd.DataFrame) -> int:
    """Return in how many cells `own` holds every run and target that any estimator has a row for."""
    expected = rows.drop_duplicates(ROW).groupby(CELL).size()
    present = own.drop_duplicates(ROW).groupby(CELL).size()
    return int((present.reindex(expected.index, fill_value=0) == expected).sum())


def _errors(used: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    cells = cell_means(used, "absolute")
    mae = board_mean(used, "absolute")
    return {
        "mae": mae,
        "bias": board_mean(used, "error"),
        "rmse": board_mean(used, "squared") ** 0.5,
        "worst": float(cells.max()) if len(cells) else float("nan"),
        "worst_cell": worst_cell(cells),
        "skill": _skill(mae, used, rows),
        "tau": _rank_agreement(used, "predicted"),
        "tau_id": _rank_agreement(used, "id_accuracy"),
        "floor": board_mean(used, "floor"),
    }


def worst_cell(cells: pd.Series[float]) -> str:
    """Return the name of the cell with the largest error; the first by name where several share it."""
    if cells.empty:
        return ""
    position = int(cells.to_numpy().argmax())
    architecture, recipe, group = (cells.index.get_level_values(name)[position] for name in CELL)
    return f"{architecture} ({recipe}) on {group}"


def _skill(mae: float, used: pd.DataFrame, rows: pd.DataFrame) -> float:
    """1 - MAE / MAE of the better baseline, both on exactly the rows in `used`."""
    errors = []
    for name in BASELINES:
        baseline = kept(rows[rows["estimator"] == name])
        same = baseline.merge(used[ROW], on=ROW)
        if len(same) == len(used):
            errors.append(board_mean(same, "absolute"))
    best = min(errors, default=float("nan"))
    return 1 - mae / best if best > 0 else float("nan")


def _rank_agreement(used: pd.DataFrame, column: str) -> float:
    """Kendall's tau with the actual accuracy across runs: mean over targets, then over groups."""
    taus = [
        (group, _tau(rows[column], rows["actual"])) for (group, _), rows in used.groupby(["group", "target"])
    ]
    frame = pd.DataFrame(taus, columns=["group", "tau"])
    if frame.empty or frame["tau"].isna().any():
        return float("nan")
    return float(frame.groupby("group")["tau"].mean().mean())


def _tau(predicted: pd.Series[float], actual: pd.Series[float]) -> float:
    if len(predicted) < FEWEST_RUNS or predicted.isna().any():
        return float("nan")
    return kendall_tau(predicted, actual)


def _intervals(used: pd.DataFrame) -> dict[str, Any]:
    levels = sorted({round(float(level), 6) for level in used["nominal"].dropna()})
    return {
        "coverage": board_mean(used, "covered"),
        "width": board_mean(used, "width"),
        "nominal": "/".join(f"{100 * level:g}" for level in levels),
    }


def _ranked(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    board = pd.DataFrame(records, columns=list(BOARD_COLUMNS))
    # What prints alike ranks alike: bits beyond the second decimal may differ between machines.
    printed = board["mae"].astype(float).round(2)
    full = (board["cells"] == board["all_cells"]) & printed.notna()
    board["rank"] = printed.where(full).groupby(board["track"]).rank(method="min").astype("Int64")
    order = board.assign(unranked=~full, printed=printed)
    return order.sort_values(["track", "unranked", "printed", "estimator"])[list(BOARD_COLUMNS)].reset_index(
        drop=True
    )


def details(scores: SuiteScores, natural: bool, by: str) -> pd.DataFrame:
    """Return each estimator's error on each group or target.

    Parameters
    ----------
    scores
        A suite's scores.
    natural
        Natural shifts, or synthetic ones.
    by
        "group" or "target".

    Returns
    -------
    pd.DataFrame
        One row per part (group or target) and estimator, by part, track and name: `part`, `track`,
        `estimator`, `mae`, `bias` (pp), `rows`, `cells`, `all_cells`, `selected`.
    """
    rows = kind_rows(scores, natural)
    rows = rows.assign(part=rows[by])
    key = ["part", "track", "estimator"]
    used = kept(rows)
    # All parts at once: a loop over hundreds of small frames takes seconds.
    by_target = used.groupby([*key, *CELL, "target"])[["absolute", "error"]].mean()
    cells = by_target.groupby(level=[*key, *CELL]).mean()
    table = rows.groupby(key).agg(selected=("selected", "any"))
    table[["mae", "bias"]] = cells.groupby(level=key).mean()
    table["rows"] = used.groupby(key).size()
    table["cells"] = _complete_by_part(rows, used, key)
    table = table.fillna({"rows": 0, "cells": 0}).astype({"rows": int, "cells": int}).reset_index()
    counts = rows.drop_duplicates(["part", *CELL]).groupby("part").size()
    table["all_cells"] = table["part"].map(counts)
    return table[list(DETAIL_COLUMNS)]


def _complete_by_part(rows: pd.DataFrame, used: pd.DataFrame, key: list[str]) -> pd.Series[int]:
    """Count complete cells, as `complete_cells` does, for every key at once."""
    expected = rows.drop_duplicates(["part", *ROW]).groupby(["part", *CELL]).size().rename("expected")
    present = used.groupby([*key, *CELL]).size().rename("present").reset_index()
    both = present.merge(expected.reset_index(), on=["part", *CELL])
    both["complete"] = both["present"] == both["expected"]
    return both.groupby(key)["complete"].sum()


def terminal_tables(scores: SuiteScores) -> list[Table]:
    """Return the estimator boards for the console, one per kind of shift that there is."""
    boards = (
        (kind, estimator_board(scores, natural))
        for natural, kind in ((True, "Natural"), (False, "Synthetic"))
    )
    return [_terminal_table(f"{kind} shifts", board) for kind, board in boards if len(board)]


def _terminal_table(title: str, board: pd.DataFrame) -> Table:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from shiftcast.leaderboard.text import percent, points, ratio, signed

    table = Table(title=title, box=SIMPLE, pad_edge=False, collapse_padding=True)  # fits 80 columns
    for heading in ("track", "estimator", "MAE pp", "bias pp", "skill", "cover %", "cells", "ms"):
        table.add_column(
            heading, no_wrap=True, justify="left" if heading in ("track", "estimator") else "right"
        )
    for row in board.to_dict("records"):
        table.add_row(
            row["track"],
            escape(str(row["estimator"])),
            *(points(row["mae"]), signed(row["bias"]), ratio(row["skill"]), percent(row["coverage"])),
            f"{row['cells']}/{row['all_cells']}",
            f"{1000 * row['seconds']:.2f}",
        )
    return table

"""The board of estimators: how far predicted lies from actual accuracy, as tables.

Figures are in percentage points (pp). Synthetic and natural shifts never meet in one figure. A *cell* is
(architecture x recipe) x group: a figure is averaged over a cell's seeds, then its severities, then over the
cells of a group and last over groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shiftcast.analysis.ranking import RANK_COLUMNS
from shiftcast.board.coverage import coverage_by
from shiftcast.board.tables import SuiteScores
from shiftcast.board.words import BASELINES, FEWEST_CELLS, KINDS
from shiftcast.statistics import kendall_tau
from shiftcast.util.memory import give_back

CELL = ["architecture", "recipe", "group"]
ROW = ["architecture", "recipe", "seed", "target"]
LEARNS_THE_MEAN = "MeanShift"
"""Learns the mean drop over the other shifts of the table: its bias over all of them is 0 by construction."""
FEWEST_RUNS = 3
"""Runs that a rank correlation needs."""
COMPARED = {"shared": "mae_shared", "kind-out": "mae_kind_out"}
"""Protocols beside the official one, and the column of their MAE."""
NORMAL_ABSOLUTE = math.sqrt(2 / math.pi)
"""Mean absolute value of a standard normal variate."""

BOARD_COLUMNS = (
    *("track", "rank", "estimator", "mae", "bias", "rmse", "worst", "worst_cell", "skill", "tau", "tau_id"),
    *("coverage", "width", "nominal", "floor", *COMPARED.values(), "abstained", "cells", "all_cells"),
    *("conformal_coverage", "conformal_width", "conformal_nominal", "conformal_cells"),
    *("groups", "architectures", "rows", "flagged", "selected", "seconds"),
    *("mae_common", "common_cells", "mae_in_track", "track_cells"),
)
RESTING_ON_CELLS = (
    *(
        "mae",
        "bias",
        "rmse",
        "worst",
        "skill",
        "tau",
        "tau_id",
        "coverage",
        "width",
        "floor",
        *COMPARED.values(),
    ),
    *("conformal_coverage", "conformal_width"),
)
"""Figures that an estimator lacks where it has fewer than `FEWEST_CELLS` of the cells."""
DETAIL_COLUMNS = ("part", "track", "estimator", "mae", "bias", "rows", "cells", "all_cells", "selected")
RANK_ENDS = ("mae_low", "mae_high", "rank_low", "rank_high")
SHIFT_MEANS = ("squared", "floor", "covered", "width", "conformal_covered", "conformal_width")


@dataclass(frozen=True, eq=False)
class EstimatorTables:
    """How the estimators of a suite do on one kind of shift. Each table is made when it is first read.

    Parameters
    ----------
    scores
        The suite's scores.
    natural
        Natural shifts, or synthetic ones.
    """

    scores: SuiteScores
    natural: bool

    @property
    def kind(self) -> str:
        """Return "natural" or "synthetic"."""
        return KINDS[self.natural]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Official predictions with their errors, see `kind_rows`."""
        return kind_rows(self.scores, self.natural)

    @cached_property
    def answers(self) -> pd.DataFrame:
        """The rows on which the estimator does not abstain."""
        return kept(self.rows)

    @cached_property
    def shifts(self) -> int:
        """Number of labelled shifts."""
        return int(self.rows["group"].nunique())

    @cached_property
    def overall(self) -> pd.DataFrame:
        """The board: a row for each estimator, see `estimator_board`, with `RANK_ENDS` (NaN if unknown)."""
        compared = {
            name: board_means(kept(kind_rows(self.scores, self.natural, name)), ["absolute"])["absolute"]
            for name in COMPARED
        }
        board = estimator_board(self.rows, compared)
        give_back()  # copies of a large table
        ends = self.ranks.set_index("estimator").reindex(board["estimator"])
        return board.assign(**{name: ends[name].to_numpy(dtype=float) for name in RANK_ENDS})

    @cached_property
    def by_name(self) -> dict[str, dict[Any, Any]]:
        """The rows of the board by estimator."""
        return {row["estimator"]: row for row in self.overall.to_dict("records")}

    @property
    def best(self) -> dict[Any, Any] | None:
        """The row of the ranked estimator with the lowest error; None where none is ranked."""
        ranked = self.overall[self.overall["rank"].notna()].sort_values(["mae", "estimator"])
        return dict(ranked.iloc[0]) if len(ranked) else None

    @cached_property
    def selected(self) -> dict[str, str]:
        """Estimators that were chosen on datasets of these shifts, and on which, by name."""
        marked = self.rows[self.rows["selected"].astype(bool)].groupby("estimator")["selected_on"].first()
        return {str(name): str(on).replace(";", ", ") for name, on in marked.items()}

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """What a bootstrap says of estimators, see `ConfusionTables.ranks`; empty where it says nothing."""
        confusion = self.scores.confusion
        if confusion is None or confusion.ranks.empty:
            return pd.DataFrame(columns=list(RANK_COLUMNS))
        frame = confusion.ranks[confusion.ranks["natural"].astype(bool) == self.natural]
        frame = frame.assign(printed=frame["mae"].astype(float).round(2))
        return frame.sort_values(["track", "printed", "estimator"]).drop(columns="printed")

    @cached_property
    def by_group(self) -> pd.DataFrame:
        """Errors by shift, see `details`."""
        return details(self.rows, "group")

    @cached_property
    def by_target(self) -> pd.DataFrame:
        """Errors by target, see `details`."""
        return details(self.rows, "target")

    @cached_property
    def by_shift(self) -> pd.DataFrame:
        """All figures by shift, see `shift_figures`."""
        return shift_figures(self.answers, self.by_group, self.overall).assign(kind=self.kind)

    @cached_property
    def by_model(self) -> pd.DataFrame:
        """Errors by model, see `model_errors`."""
        return model_errors(self.answers)

    @cached_property
    def coverage(self) -> pd.DataFrame:
        """Where intervals hold, see `coverage_by`."""
        return coverage_by(self.answers)


def kind_rows(scores: SuiteScores, natural: bool, protocol: str = "official") -> pd.DataFrame:
    """Return the rows of one kind of shift whose actual accuracy is known, with their errors.

    Parameters
    ----------
    scores
        A suite's scores.
    natural
        Natural shifts, or synthetic ones.
    protocol
        "official", "shared" or "kind-out".

    Returns
    -------
    pd.DataFrame
        The rows of `scores.table` in a fixed order, with the columns `error`, `absolute`, `width`
        and `floor` (pp), `squared` (pp^2), `covered` (0 or 1; NaN without an interval), the same two
        of the conformal interval (`conformal_covered`, `conformal_width`),
        `id_accuracy` and `selected` (whether the estimator was chosen on the row's dataset).
    """
    table = scores.table
    kind = table["natural"].astype(bool) == natural
    chosen = table[kind & (table["protocol"] == protocol) & table["actual"].notna()]
    rows = chosen.sort_values(["estimator", *ROW]).reset_index(drop=True)
    actual = rows["actual"].astype(float)
    error = 100 * (rows["predicted"].astype(float) - actual)
    covered, width = _interval(rows, "")
    conformal = dict(
        zip(("conformal_covered", "conformal_width"), _interval(rows, "conformal_"), strict=True)
    )
    return rows.assign(
        abstains=rows["abstains"].astype(bool),
        error=error,
        absolute=error.abs(),
        squared=error**2,
        covered=covered,
        width=width,
        **conformal,
        floor=100 * NORMAL_ABSOLUTE * np.sqrt(actual * (1 - actual) / rows["effective"].astype(float)),
        id_accuracy=_id_accuracy(scores, rows),
        selected=_selected(scores, rows),
    )


def _interval(rows: pd.DataFrame, prefix: str) -> tuple[pd.Series[float], pd.Series[float]]:
    """Return whether the actual accuracy lies within an interval, and its width in pp; NaN without one."""
    actual, low, high = (rows[name].astype(float) for name in ("actual", f"{prefix}low", f"{prefix}high"))
    inside = ((low <= actual) & (actual <= high)).astype(float)
    return inside.where(low.notna() & high.notna()), 100 * (high - low)


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


def kept(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows on which the estimator does not abstain."""
    return rows[~rows["abstains"]]


def estimator_board(official: pd.DataFrame, compared: Mapping[str, pd.Series[float]]) -> pd.DataFrame:
    """Return the estimator board of one kind of shift.

    Parameters
    ----------
    official, compared
        Rows of the official protocol, see `kind_rows`; mean absolute errors by the protocols in `COMPARED`.

    Returns
    -------
    pd.DataFrame
        One row per estimator, by track, then rank, then name; see `BOARD_COLUMNS`. `rank` (Int64)
        counts within a track and is <NA> for an estimator that lacks any row of any cell;
        estimators whose MAE prints alike share a rank. `RESTING_ON_CELLS` are NaN for an estimator
        with fewer than `FEWEST_CELLS` of the cells. `coverage`, `abstained` and `flagged` (doubtful
        among the answers) are shares, `skill` is 1 - MAE / MAE of the better baseline on the same rows.
    """
    rows = _with_baselines(official)
    used = kept(rows)
    everyone = rows.groupby("estimator")
    board = pd.DataFrame(
        {
            "track": everyone["track"].first(),
            "abstained": everyone["abstains"].mean().astype(float),
            "selected": everyone["selected"].any(),
            "seconds": everyone["seconds"].mean().astype(float),
        }
    )
    own, keys = used.groupby("estimator"), ["estimator"]
    board["groups"], board["architectures"] = own["group"].nunique(), own["architecture"].nunique()
    board["rows"], board["flagged"] = own.size(), own["flagged"].mean().astype(float)
    board["cells"] = _complete_by(keys, rows.drop_duplicates(ROW), used)
    board["all_cells"] = len(rows.drop_duplicates(CELL))
    means = board_means(used, ["absolute", "error", "squared", "floor", "covered", "width", *_BASELINE])
    for column, name in (("mae", "absolute"), ("bias", "error"), ("floor", "floor"), ("width", "width")):
        board[column] = means[name]
    board["rmse"], board["coverage"] = means["squared"] ** 0.5, means["covered"]
    stated = used[used["conformal_level"].notna()]
    wide = board_means(stated, ["conformal_covered", "conformal_width"])
    board["conformal_coverage"], board["conformal_width"] = wide["conformal_covered"], wide["conformal_width"]
    board["conformal_cells"] = _complete_by(keys, rows.drop_duplicates(ROW), stated)
    board["conformal_nominal"] = {
        name: _levels(own_rows["conformal_level"]) for name, own_rows in stated.groupby("estimator")
    }
    board["bias"] = _without_constructed(board["bias"], board.index, used)
    best = means[list(_BASELINE)].min(axis=1)
    board["skill"] = (1 - board["mae"] / best).where(best > 0)
    board = board.assign(**{column: compared[protocol] for protocol, column in COMPARED.items()})
    for column, name in (("tau", "predicted"), ("tau_id", "id_accuracy")):
        board[column] = _rank_agreement(used, name)
    worst = _errors_of_cells(used)
    board["worst"] = {name: float(errors.max()) for name, errors in worst.items()}
    board["worst_cell"] = {name: worst_cell(errors) for name, errors in worst.items()}
    board["nominal"] = {name: _levels(rows["nominal"]) for name, rows in own}
    filled = board.fillna(
        dict.fromkeys(("groups", "architectures", "rows", "cells", "conformal_cells"), 0)
        | dict.fromkeys(("worst_cell", "nominal", "conformal_nominal"), "")
    )
    return _ranked(_with_common(_without_few(filled.reset_index(), RESTING_ON_CELLS), rows))


def _errors_of_cells(used: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """Return each estimator's mean absolute errors by cell."""
    cells = used.groupby(["estimator", *CELL, "target"])["absolute"].mean()
    cells = cells.groupby(level=["estimator", *CELL]).mean()
    return {str(name): own.droplevel("estimator") for name, own in cells.groupby(level="estimator")}


def _without_constructed(
    bias: pd.Series[float], names: pd.Index[str] | pd.Series[str], answers: pd.DataFrame
) -> pd.Series[float]:
    """Return biases without one that is 0 by construction: not where it learns from corruptions instead."""
    own = answers[answers["estimator"] == LEARNS_THE_MEAN]
    return bias if own["note"].astype(bool).any() else bias.mask(names == LEARNS_THE_MEAN)


def _with_common(board: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the board with errors over the cells that all estimators with an error have.

    `mae_common` over `common_cells` of the whole table, and `mae_in_track` over `track_cells` of the track.
    """
    used, everything = kept(rows), rows.drop_duplicates(ROW)
    cells_of = _cells(["estimator"], everything, used)
    complete = cells_of[cells_of["complete"]]
    known = board.loc[board["mae"].notna(), ["estimator", "track"]]
    board = board.assign(mae_common=float("nan"), mae_in_track=float("nan"), common_cells=0, track_cells=0)
    parts = [("mae_common", "common_cells", known)]
    parts += [("mae_in_track", "track_cells", own) for _, own in known.groupby("track")]
    for error, number, own in parts:
        names = own["estimator"].tolist()
        there = complete[complete["estimator"].isin(names)].groupby(CELL).size()
        cells = there[there == len(names)].index
        mine = used["estimator"].isin(names) & pd.MultiIndex.from_frame(used[CELL]).isin(cells)
        place = board["estimator"].isin(names)
        if len(cells):
            found = board_means(used[mine], ["absolute"])["absolute"]
            board.loc[place, error] = board.loc[place, "estimator"].map(found).astype(float)
        board.loc[place, number] = len(cells)
    return board


def _without_few(table: pd.DataFrame, figures: Sequence[str]) -> pd.DataFrame:
    """Return a table without the figures of rows that rest on too few cells."""
    # The columns of an empty table are text.
    enough = table["cells"].astype(float) >= FEWEST_CELLS * table["all_cells"].astype(float)
    return table.assign(**{name: table[name].where(enough) for name in figures})


def _levels(nominal: pd.Series[float]) -> str:
    """Return the levels that intervals promise, in percent."""
    levels = sorted({round(float(level), 6) for level in nominal.dropna()})
    return "/".join(f"{100 * level:g}" for level in levels)


_BASELINE = {f"absolute_{name}": name for name in BASELINES}


def _with_baselines(rows: pd.DataFrame) -> pd.DataFrame:
    """Add each baseline's absolute error on the same run and target; NaN where it has none."""
    runs = pd.MultiIndex.from_frame(rows[ROW])
    for column, name in _BASELINE.items():
        baseline = kept(rows[rows["estimator"] == name]).set_index(ROW)["absolute"]
        rows = rows.assign(**{column: baseline.reindex(runs).to_numpy()})
    return rows


def board_means(used: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the board mean of several columns for every estimator: one row each.

    NaN where a row of the estimator has no value in a column.
    """
    values = used[list(columns)].astype(float)
    table = pd.concat([used[["estimator", *CELL, "target"]], values], axis=1)
    means = table.groupby(["estimator", *CELL, "target"])[list(columns)].mean()
    for levels in (["estimator", *CELL], ["estimator", "group"], ["estimator"]):
        means = means.groupby(level=levels).mean()
    lacking = values.isna().groupby(used["estimator"]).any()
    return means.mask(lacking)


def worst_cell(cells: pd.Series[float]) -> str:
    """Return the name of the cell with the largest error; the first by name where several share it."""
    if cells.empty:
        return ""
    position = int(cells.to_numpy().argmax())
    architecture, recipe, group = (cells.index.get_level_values(name)[position] for name in CELL)
    return f"{architecture} ({recipe}) on {group}"


def _rank_agreement(used: pd.DataFrame, column: str) -> pd.Series[float]:
    """Kendall's tau with the actual accuracy across runs: mean over targets, then over groups."""
    taus = [
        (*key, _tau(rows[column].to_numpy(), rows["actual"].to_numpy()))
        for key, rows in used[["estimator", "group", "target", column, "actual"]].groupby(
            ["estimator", "group", "target"]
        )
    ]
    frame = pd.DataFrame(taus, columns=["estimator", "group", "target", "tau"])
    means = frame.groupby(["estimator", "group"])["tau"].mean().groupby(level="estimator").mean()
    return means.mask(frame["tau"].isna().groupby(frame["estimator"]).any())


def _tau(predicted: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    if len(predicted) < FEWEST_RUNS or np.isnan(predicted).any():
        return float("nan")
    return kendall_tau(predicted, actual)


def _ranked(board: pd.DataFrame) -> pd.DataFrame:
    board["worst_cell"] = board["worst_cell"].where(board["mae"].notna(), "")
    # What prints alike ranks alike: bits beyond the second decimal may differ between machines.
    printed = board["mae"].astype(float).round(2)
    full = (board["cells"] == board["all_cells"]) & printed.notna()
    board["rank"] = printed.where(full).groupby(board["track"]).rank(method="min").astype("Int64")
    # Where a track has no cell that all have, errors over different cells are all there is.
    order = board.assign(printed=board["mae_in_track"].fillna(printed).astype(float).round(2))
    return order.sort_values(["track", "printed", "estimator"])[list(BOARD_COLUMNS)].reset_index(drop=True)


def details(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return each estimator's error on each group or target.

    Parameters
    ----------
    rows
        Official rows of one kind of shift, see `kind_rows`.
    by
        "group" or "target".

    Returns
    -------
    pd.DataFrame
        One row per part (group or target) and estimator, by part, track and name: `part`, `track`,
        `estimator`, `mae`, `bias` (pp; NaN on fewer than `FEWEST_CELLS` of the part's cells), `rows`,
        `cells`, `all_cells`, `selected`.
    """
    rows = rows.assign(part=rows[by])
    key = ["part", "track", "estimator"]
    used = kept(rows)
    # All parts at once: a loop over hundreds of small frames takes seconds.
    by_target = used.groupby([*key, *CELL, "target"])[["absolute", "error"]].mean()
    cells = by_target.groupby(level=[*key, *CELL]).mean()
    table = rows.groupby(key)["selected"].any().to_frame()
    table[["mae", "bias"]] = cells.groupby(level=key).mean()
    table["rows"] = used.groupby(key).size()
    table["cells"] = _complete_by(key, rows.drop_duplicates(["part", *ROW]), used)
    table = table.fillna({"rows": 0, "cells": 0}).astype({"rows": int, "cells": int}).reset_index()
    counts = rows.drop_duplicates(["part", *CELL]).groupby("part").size()
    table["all_cells"] = table["part"].map(counts)
    return _without_few(table, ("mae", "bias"))[list(DETAIL_COLUMNS)]


def _complete_by(keys: list[str], everything: pd.DataFrame, used: pd.DataFrame) -> pd.Series[int]:
    """Count, for every value of `keys`, the complete cells of `_cells`."""
    return _cells(keys, everything, used).groupby(keys)["complete"].sum()


def _cells(keys: list[str], everything: pd.DataFrame, used: pd.DataFrame) -> pd.DataFrame:
    """Return, for every value of `keys`, the cells and whether `used` holds each row that there is.

    `everything` has every run and target once (for each part, if that is a key).
    """
    shared = [key for key in keys if key == "part"]
    expected = everything.groupby([*shared, *CELL]).size().rename("expected")
    present = (
        used.drop_duplicates([*keys, *ROW]).groupby([*keys, *CELL]).size().rename("present").reset_index()
    )
    both = present.merge(expected.reset_index(), on=[*shared, *CELL])
    return both.assign(complete=both["present"] == both["expected"])


def shift_figures(answers: pd.DataFrame, by_group: pd.DataFrame, overall: pd.DataFrame) -> pd.DataFrame:
    """Return every estimator's figures on every labelled shift of one kind.

    Parameters
    ----------
    answers, by_group, overall
        Tables of `EstimatorTables`.

    Returns
    -------
    pd.DataFrame
        One row per shift and estimator: `shift`, `track`, `estimator`, `mae`, `bias`, `rmse`,
        `floor`, `width`, `conformal_width` (pp), `coverage`, `conformal_coverage` (shares), `nominal`,
        `conformal_nominal` (levels in percent, as text), `rows`, `cells`, `all_cells`, `selected`.
    """
    means = [
        board_means(own, SHIFT_MEANS).reset_index().assign(part=part)
        for part, own in answers.groupby("group")
    ]
    names = {"part": "shift", "covered": "coverage", "conformal_covered": "conformal_coverage"}
    if not means:
        return by_group.iloc[:0].rename(columns=names)
    frame = by_group.merge(pd.concat(means), on=["part", "estimator"], how="left")
    frame = _without_few(frame, SHIFT_MEANS)
    frame = frame.merge(overall[["estimator", "nominal", "conformal_nominal"]], on="estimator")
    return frame.assign(rmse=np.sqrt(frame["squared"].astype(float))).rename(columns=names)


def model_errors(answers: pd.DataFrame) -> pd.DataFrame:
    """Return each estimator's error on each model, over all labelled shifts of one kind.

    Returns
    -------
    pd.DataFrame
        One row per estimator and model: `estimator`, `architecture`, `recipe`, `mae`, `bias` (pp), and how
        many `shifts` they are the mean of.
    """
    keys = ["estimator", "architecture", "recipe"]
    means = answers.groupby([*keys, "group", "target"])[["absolute", "error"]].mean()
    groups = means.groupby(level=[*keys, "group"]).mean().groupby(level=keys)
    named = groups.mean().rename(columns={"absolute": "mae", "error": "bias"})
    named = named.assign(shifts=groups.size()).reset_index()
    return named.assign(bias=_without_constructed(named["bias"], named["estimator"], answers))

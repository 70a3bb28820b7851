"""Tables of a suite's results as CSV files beside its runs: written with the leaderboard, read at once.

A suite takes a minute to be scored. `shiftcast leaderboard` writes what came of it, and
`shiftcast leaderboard --check` compares it, as all that is made. Numbers have six decimals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.estimators import RANK_ENDS
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.runs.layout import (
    LEDGER,
    RECORD,
    TABLES,
    recorded_folders,
    register_path,
    results_folder,
    table_path,
)
from shiftcast.scoring.harness import DECIMALS, ESTIMATED, Cells
from shiftcast.scoring.processes import Stored
from shiftcast.util.hashing import file_hash, hash_of, source_hash
from shiftcast.workspace import Workspace

SOURCE, BOARD, ESTIMATES, UNRANKED = "source", "board", "estimates", "unranked"
FIELDS = ("runs", "accuracies", "skipped", "seeds", "views", "label_views", "controls", "signals", "reported")
"""Tables that are kept as they are, by their name in `SuiteScores`."""
WHOLE = ("parameters", "epochs", "right", "rank")
"""Columns of whole numbers that may be unknown."""
TEXTS = frozenset(
    (
        *(
            "suite",
            "architecture",
            "recipe",
            "role",
            "family",
            "device",
            "status",
            "trust",
            "outputs",
            "stale",
        ),
        *("set", "target", "group", "kind", "view", "title", "text", "quantity", "note", "reason"),
        *("estimator", "track", "protocol", "selected_on", "worst_cell", "conformal_nominal"),
    )
)
"""Columns of text, empty where nothing is known."""
ROW_KEYS = ["architecture", "recipe", "seed", "target", "estimator", "protocol"]
OF_TARGET = ["target", "group", "natural", "severity", "level"]
OF_ESTIMATOR = ["estimator", "target", "track", "selected_on"]
OF_RUN = ["architecture", "recipe", "family"]
OF_SET = ["architecture", "recipe", "seed", "target", "actual", "effective"]
"""Columns of `SuiteScores.table` that follow from few of the others; each such part is a table."""
PARTS = {"targets": OF_TARGET, "estimators": OF_ESTIMATOR, "families": OF_RUN, "sets": OF_SET}
KEYS = {"targets": 1, "estimators": 2, "families": 2, "sets": 4}
"""How many of a part's columns, the first ones, say which row it is."""
LEFT_OUT = ("suite", "seconds")
"""Columns that are not kept: they are known, or of one machine."""


def board_figures(board: Board) -> pd.DataFrame:
    """Return the board's figures of estimators, one row per kind of shift and estimator.

    Returns
    -------
    DataFrame
        `kind` ("natural" or "synthetic"), then the columns of `shiftcast.board.estimators.BOARD_COLUMNS`
        (but `seconds`, which differ between machines), and the ends of the bootstrap intervals, `mae_low`,
        `mae_high`, `rank_low` and `rank_high`.
    """
    frames = [tables.overall.assign(kind=tables.kind) for tables in board.kinds]
    whole = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    columns = [name for name in whole if name not in ("kind", "seconds", *RANK_ENDS)]
    return whole[["kind", *columns, *RANK_ENDS]]


def suite_files(board: Board, results: Path, workspace: Workspace) -> dict[str, str]:
    """Return the text of each file of a suite's tables, by its path below the suite's folder."""
    scores = board.scores
    tables = {name: getattr(scores, name) for name in FIELDS} | {BOARD: board_figures(board)}
    tables[UNRANKED] = scores.unranked[[*ROW_KEYS, *ESTIMATED[:-1]]].sort_values(ROW_KEYS)
    rows = scores.table
    for name, columns in PARTS.items():
        tables[name] = rows[columns].drop_duplicates().sort_values(columns[: KEYS[name]])
    derived = {name for part, columns in PARTS.items() for name in columns[KEYS[part] :]}
    kept = [name for name in rows if name not in derived | set(LEFT_OUT)]
    files = {table_path(name): _text(table) for name, table in tables.items()}
    for path, own in rows.groupby(rows["group"].map(lambda group: table_path(f"{ESTIMATES}-{group}"))):
        files[str(path)] = _text(own[kept].sort_values(ROW_KEYS))
    stamp = source_stamp(workspace, results, scores.suite, scores.edition)
    return files | {table_path(SOURCE): f"source\n{stamp}\n"}


def _text(table: pd.DataFrame) -> str:
    rounded = table.copy()
    for name in rounded:
        if pd.api.types.is_float_dtype(rounded[name]) or _holds_floats(rounded[name]):
            rounded[name] = rounded[name].astype(float).round(DECIMALS) + 0.0
    return rounded.to_csv(index=False, lineterminator="\n")


def _holds_floats(column: pd.Series[Any]) -> bool:
    return column.dtype == object and any(isinstance(value, float | np.floating) for value in column)


def source_stamp(workspace: Workspace, results: Path, suite: Suite, edition: str) -> str:
    """Return the hash of what a suite's tables come from: its runs, cards, the ledger and the registers."""
    folder = results_folder(results, suite, edition)
    runs = [path for path in recorded_folders(results) if path.is_relative_to(folder)]
    records = {path.relative_to(folder).as_posix(): path / RECORD for path in runs}
    registers = [register_path(results, target.dataset) for target in suite.targets]
    known = {path.relative_to(workspace.root).as_posix(): path for path in workspace.card_files(suite)}
    known |= records | {path.name: path for path in [results / LEDGER, *registers]}
    return hash_of({name: file_hash(path) for name, path in sorted(known.items()) if path.is_file()})


def read_files(
    workspace: Workspace, results: Path, suite: Suite, edition: str
) -> dict[str, pd.DataFrame] | None:
    """Return the tables of a suite by their names in `Results`; None where there are none of these runs.

    Parameters
    ----------
    workspace, results, suite, edition
        Where the cards and the runs are, and whose tables.
    """
    folder = results_folder(results, suite, edition)
    try:
        stamp = (folder / table_path(SOURCE)).read_text(encoding="utf-8").split("\n")[1]
    except (OSError, IndexError, UnicodeDecodeError):
        return None
    if stamp != source_stamp(workspace, results, suite, edition):
        return None
    try:
        return _joined(suite, {path.stem: _frame(path) for path in sorted((folder / TABLES).glob("*.csv"))})
    except (KeyError, ValueError):  # what somebody edited or merged badly is made anew
        return None


def _joined(suite: Suite, tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame] | None:
    """Return the tables with parts put together; None where one is missing."""
    if not {*FIELDS, *PARTS, BOARD} <= tables.keys():
        return None
    found = {name: tables[name] for name in FIELDS} | {"boards": tables[BOARD]}
    shifts = [table for name, table in tables.items() if name.startswith(f"{ESTIMATES}-")]
    if any(not {*ROW_KEYS, "predicted"} <= set(table) for table in shifts):
        return None
    rows = pd.concat(shifts, ignore_index=True) if shifts else pd.DataFrame(columns=ROW_KEYS)
    for name, columns in PARTS.items():
        rows = rows.merge(tables[name], on=columns[: KEYS[name]], how="left", validate="many_to_one")
    return found | {ESTIMATES: rows.assign(suite=suite.name, seconds=np.nan)}


def stored_rows(
    workspace: Workspace, results: Path, suite: Suite, edition: str, again: int
) -> tuple[Stored, pd.DataFrame] | None:
    """Return what gives the stored rows of all runs but some, and the table of what was skipped.

    The runs that are to be scored again are chosen by the code: each change tries others.

    Parameters
    ----------
    workspace, results, suite, edition
        As in `read_files`.
    again
        How many runs are to be scored again.
    """
    tables = read_files(workspace, results, suite, edition)
    path = results_folder(results, suite, edition) / table_path(UNRANKED)
    if tables is None or not path.is_file():
        return None
    skipped, columns = tables["skipped"], [*ROW_KEYS, *ESTIMATED]
    ranked = tables[ESTIMATES].reindex(columns=columns)
    tables.clear()  # a large suite's take as much as its scores
    rows = pd.concat([ranked, _frame(path).reindex(columns=columns)], ignore_index=True)
    names = rows["architecture"] + "/" + rows["recipe"] + "/" + rows["seed"].astype(str)
    runs = {str(name): own for name, own in rows.groupby(names)}
    code = source_hash()
    chosen = sorted(runs, key=lambda run: hash_of([code, run]))[:again]

    def of(run: RunKey) -> Cells | None:
        name = f"{run.architecture}/{run.recipe}/{run.seed}"
        if name in chosen or name not in runs:
            return None
        own = runs[name]
        keys = zip(own["target"], own["protocol"], own["estimator"], strict=True)
        columns = [own[column] for column in ESTIMATED]
        return {
            key: dict(zip(ESTIMATED, cell, strict=True)) for key, *cell in zip(keys, *columns, strict=True)
        }

    return of, skipped


def _frame(path: Path) -> pd.DataFrame:
    texts = TEXTS | ({"nominal"} if path.stem == BOARD else frozenset())  # "80/90" there, a number elsewhere
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(texts, str))
    for name in table:
        if name in texts:
            table[name] = table[name].fillna("")
        elif name in WHOLE:
            table[name] = table[name].astype("Int64")
    return table

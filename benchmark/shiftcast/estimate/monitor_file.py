"""Rows of `shiftcast monitor` in a file that dashboards read: one row a chunk, however often written."""

from __future__ import annotations

import importlib
import io
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from shiftcast.errors import HeldError, InvalidInputError, needs_extra
from shiftcast.intake.tables import TABLES, read_table
from shiftcast.util.files import write_atomic
from shiftcast.util.text import printable

SQLITE, TABLE = ".sqlite", "monitor"
WAIT = 5.0
"""Seconds to wait for another program that holds the database."""
KINDS = (*TABLES, SQLITE)
TEXTS, WHOLE = ("time", "chunk", "verdict", "source", "chunk_size"), ("images", "labelled", "look", "alarm")
SETTINGS = ("source", "source_accuracy", "chunk_size", "margin", "false_alarms")
"""What must not change within one file: looks share one budget of false alarms."""
SHARES = {"source_accuracy": "%", "margin": "pp", "false_alarms": "%"}
NEEDED = ("time", "chunk", "images", "look")
"""Cells that cannot be empty; a row without a margin has no look."""
MOST = 10**9
"""Larger numbers of looks or images are none."""
COLUMNS = (
    *("time", "chunk", "images", "accuracy", "low", "high", "level", "sampling_low", "sampling_high"),
    *("confidence", "difficulty", "labelled", "actual", "verdict", "look", "bound", "alarm"),
    *SETTINGS,
)


def require_kind(path: Path) -> None:
    """Refuse a file that rows cannot be written to.

    Raises
    ------
    InvalidInputError
        If its name ends otherwise than those in `KINDS`.
    """
    if path.suffix.lower() not in KINDS:
        raise InvalidInputError(f"{path}: expected a {', '.join(KINDS[:-1])} or {KINDS[-1]} file")


def read_rows(path: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that a file holds, with the keys `COLUMNS`; none where there is no file.

    Parameters
    ----------
    path
        The file.
    settings
        A value for each of `SETTINGS`.

    Raises
    ------
    InvalidInputError
        If it is none that this module wrote, or was written with other settings.
    """
    if not path.exists():
        return []
    frame = _read_sqlite(path) if path.suffix.lower() == SQLITE else read_table(path).frame
    if list(frame.columns) != list(COLUMNS):
        raise InvalidInputError(
            f"{path}: holds other columns than shiftcast monitor writes; name another file to append to"
        )
    cells = frame.astype(object).where(frame.notna() & (frame != ""), None)
    try:
        rows = [{name: _value(name, row[name]) for name in COLUMNS} for row in cells.to_dict("records")]
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{path}: expected numbers, got {printable(str(error), 120)}; name another file to append to"
        ) from error
    for number, row in enumerate(rows):
        needed = ("time", "chunk", "images") if settings["margin"] is None else NEEDED
        if lacking := [name for name in needed if row[name] is None]:
            raise InvalidInputError(
                f"{path}: row {number} (from 0) has no {lacking[0]}; name another file to append to"
            )
        for name, value in settings.items():
            if row[name] != value:
                raise InvalidInputError(
                    f"{path}: its rows were written with {_setting(name, row[name])}, and now with "
                    f"{_setting(name, value)}; append to "
                    "another file: the looks of one file share one budget of false alarms"
                )
    return rows


def _setting(name: str, value: Any) -> str:
    """Return a setting as the command takes it: margins in pp, the chance of false alarms in percent."""
    words = name.replace("_", " ")
    if value is None:
        return f"no {words}"
    return f"{words} {100 * value:g} {SHARES[name]}" if name in SHARES else f"{words} {value}"


def _value(name: str, cell: Any) -> Any:
    if cell is None or name in TEXTS:
        return cell if cell is None else str(cell)
    number = float(cell)
    if name not in WHOLE:
        return number
    if number != int(number) or not int(name == "look") <= number <= MOST:
        raise ValueError(f"{name} {cell}")
    return int(number)


def looks_of(known: Sequence[Mapping[str, Any]], chunks: Sequence[tuple[str, int]]) -> list[int]:
    """Return the number of each chunk's look, given as name and number of images, from 1.

    A chunk that is known with as many images keeps its number; one that has grown is looked at anew.
    """
    held = {row["chunk"]: (row["images"], row["look"]) for row in known if row["look"] is not None}
    following = max((look for _, look in held.values()), default=0) + 1
    looks = []
    for name, images in chunks:
        if held.get(name, (None, 0))[0] == images:
            looks.append(held[name][1])
        else:
            looks.append(following)
            following += 1
    return looks


def write_rows(
    path: Path,
    known: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> None:
    """Write known and new rows by time; a new one takes the place of a known one of the same chunk."""
    new = [{name: {**row, **settings}.get(name) for name in COLUMNS} for row in rows]
    merged = {row["chunk"]: row for row in [*known, *new]}
    ordered = sorted(merged.values(), key=lambda row: (row["time"].rstrip("Z"), row["chunk"]))
    frame = pd.DataFrame(ordered, columns=list(COLUMNS))
    for name in COLUMNS:
        if name not in TEXTS:
            frame[name] = pd.to_numeric(frame[name]).astype("Int64" if name in WHOLE else "float64")
    if path.suffix.lower() == SQLITE:
        _write_sqlite(path, frame)
    elif path.suffix.lower() == ".csv":
        write_atomic(path, frame.to_csv(index=False, lineterminator="\n"))
    else:
        with needs_extra("parquet"):
            importlib.import_module("pyarrow")  # pandas would say it in other words
        stream = io.BytesIO()
        frame.to_parquet(stream, index=False)
        write_atomic(path, stream.getvalue())


def _read_sqlite(path: Path) -> pd.DataFrame:
    try:
        with closing(sqlite3.connect(path, timeout=WAIT)) as connection:
            return pd.read_sql_query(f"SELECT * FROM {TABLE}", connection)  # noqa: S608  a constant
    except (sqlite3.Error, pd.errors.DatabaseError) as error:
        _refuse_locked(path, error)
        raise InvalidInputError(
            f"{path}: no table {TABLE!r} can be read ({printable(str(error), 120)}); name another file"
        ) from error


def _write_sqlite(path: Path, frame: pd.DataFrame) -> None:
    """Write the rows in one transaction; other tables of the database stay."""
    kinds = ["TEXT" if name in TEXTS else "INTEGER" if name in WHOLE else "REAL" for name in COLUMNS]
    typed = ", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, kinds, strict=True))
    marks, values = ", ".join("?" * len(COLUMNS)), frame.astype(object).where(frame.notna(), None)
    try:
        with closing(sqlite3.connect(path, timeout=WAIT)) as connection, connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} ({typed}, PRIMARY KEY (chunk))")
            insert = f"INSERT OR REPLACE INTO {TABLE} VALUES ({marks})"  # noqa: S608  constants
            connection.executemany(insert, values.to_numpy().tolist())
    except sqlite3.Error as error:
        _refuse_locked(path, error)
        raise InvalidInputError(
            f"{path}: cannot be written ({printable(str(error), 120)}); it is as before. Name another file"
        ) from error


def _refuse_locked(path: Path, error: Exception) -> None:
    if "locked" in str(error):
        raise HeldError(
            f"{path}: another program holds this database; close it there, and repeat the command"
        ) from error

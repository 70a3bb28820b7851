"""Times of rows as people write them, and the chunks of rows that they fall into."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.errors import InvalidInputError
from shiftcast.util.text import count, printable
from shiftcast.util.types import Integers

PERIODS = {"day": "D", "week": "W-SUN", "month": "M"}
"""Calendar chunks in UTC and their codes in pandas; a week begins on Monday."""
AWARE = re.compile(r".*\d[T ]\d.*(?:Z|[+-]\d\d(?::?\d\d)?)", re.IGNORECASE)
"""A time that says how far it is from UTC."""
SHOWN = 3
MOST_DIGITS = 18
"""Of a number of rows."""


def chunk_size(given: str) -> str | int:
    """Return "day", "week", "month", or a number of rows.

    Raises
    ------
    InvalidInputError
        If it is none of these.
    """
    if given in PERIODS:
        return given
    if given.isascii() and given.isdigit() and len(given) <= MOST_DIGITS and int(given) > 0:
        return int(given)
    raise InvalidInputError(
        f"chunk: expected {', '.join(PERIODS)} or a number of images such as 1000, got {given!r}"
    )


def read_times(what: str, texts: pd.Series[Any]) -> pd.DatetimeIndex:
    """Return times (n,) in UTC: ISO 8601, all with an offset from UTC or all without one, then taken as UTC.

    Parameters
    ----------
    what
        File and column, for messages.
    texts
        The cells as they are written.

    Raises
    ------
    InvalidInputError
        If a cell is empty or none, or only some say their offset; the first rows are named.
    """
    cells = texts.str.strip()
    empty = np.flatnonzero(cells == "")
    if empty.size:
        raise InvalidInputError(
            f"{what}: {_rows(empty)} no time; fill it in, or leave these rows out of the table"
        )
    iso = cells.str.match(r"\d{4}-\d\d-\d\d")  # also refuses plain numbers, whose unit nobody tells
    times = pd.to_datetime(cells.where(iso), format="ISO8601", utc=True, errors="coerce")
    wrong = np.flatnonzero(~times.dt.year.between(1, 9999))  # of what is no time, the year is unknown
    if wrong.size:
        held = printable(repr(str(texts.iloc[wrong[0]])), 80)
        hint = "; of seconds since 1970: pandas.to_datetime(column, unit='s')" if _is_number(held) else ""
        raise InvalidInputError(
            f"{what}: {_rows(wrong)} no time that can be read, the first {held}; write ISO 8601, such as "
            f"2026-01-31T08:30:00Z{hint}"
        )
    aware = cells.str.fullmatch(AWARE)
    if aware.any() and not aware.all():
        raise InvalidInputError(
            f"{what}: {_rows(np.flatnonzero(~aware))} a time without an offset from UTC, while others have "
            "one; which hour is meant is not known: write all with an offset (…Z or …+02:00) or all without"
        )
    return pd.DatetimeIndex(times)


def chunks_of(times: pd.DatetimeIndex, by: str | int) -> list[tuple[str, pd.Timestamp, Integers]]:
    """Return the chunks of rows in order of time: name, start, and positions of the rows; none is empty.

    Calendar chunks start with their period, and periods without rows have none. Chunks of a number of rows
    start with their first row; rows of one time stay in the table's order, and the last chunk may be smaller.
    Chunks that start at one time are told apart by a number.
    """
    order = np.argsort(times.to_numpy(), kind="stable")
    if isinstance(by, int):
        parts = [order[first : first + by] for first in range(0, len(order), by)]
        starts = [times[part[0]] for part in parts]
    else:
        periods = times[order].tz_localize(None).to_period(PERIODS[by])
        codes, distinct = pd.factorize(periods)
        parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
        starts = [period.start_time.tz_localize("UTC") for period in distinct]
    chunks, seen = [], dict.fromkeys(starts, 0)
    for start, part in zip(starts, parts, strict=True):
        seen[start] += 1
        name = str(start.date()) if isinstance(by, str) else iso(start)
        chunks.append((name if seen[start] == 1 else f"{name} #{seen[start]}", start, part))
    return chunks


def iso(time: pd.Timestamp) -> str:
    """Return a time in UTC as ISO 8601."""
    return time.isoformat().replace("+00:00", "Z")


def _rows(rows: Integers) -> str:
    named = ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
    return f"{count(len(rows), 'row')} ({named}, from 0) {'has' if len(rows) == 1 else 'have'}"


def _is_number(held: str) -> bool:
    return held.strip("'\"").replace(".", "", 1).isdigit()

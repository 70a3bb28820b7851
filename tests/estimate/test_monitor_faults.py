"""Faults around files that `shiftcast monitor` appends to: each is named, and nothing is lost."""

import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from shiftcast.errors import HeldError, InvalidInputError
from shiftcast.estimate import monitor_file
from shiftcast.estimate.chunks import chunk_size, read_times
from shiftcast.estimate.monitor_file import COLUMNS, read_rows, write_rows

SETTINGS = {
    "source": "val.npz",
    "source_accuracy": 0.9,
    "chunk_size": "7",
    "margin": 0.03,
    "false_alarms": 0.05,
}
ROW = dict.fromkeys(COLUMNS) | {
    "time": "2026-03-02T00:00:00Z",
    "chunk": "2026-03-02T00:00:00Z",
    "images": 7,
    "accuracy": 0.8,
    "labelled": 0,
    "look": 1,
    "alarm": 0,
}


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("time", "", "row 0 .* has no time"),
        ("chunk", "", "row 0 .* has no chunk"),
        ("images", "", "row 0 .* has no images"),
        ("look", "", "row 0 .* has no look"),
        ("look", "inf", "expected numbers"),
        ("look", "nan", "expected numbers"),
        ("look", "0", "expected numbers, got look 0"),
        ("look", "-5", "expected numbers, got look -5"),
        ("look", "1.5", "expected numbers, got look 1.5"),
        ("look", "1e300", "expected numbers, got look 1e300"),
        ("alarm", "True", "expected numbers"),
        ("margin", "0.04", "written with margin 4 pp, and now with margin 3 pp"),
    ],
)
def test_edited_cells_are_refused(tmp_path, column, cell, said):
    path = tmp_path / "rows.csv"
    write_rows(path, [], [ROW], SETTINGS)
    table = pd.read_csv(path, dtype=str, keep_default_na=False).assign(**{column: cell})
    table.to_csv(path, index=False)
    with pytest.raises(InvalidInputError, match=said):
        read_rows(path, SETTINGS)


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_locked_database_is_told_and_stays(tmp_path, monkeypatch, lock):
    monkeypatch.setattr(monitor_file, "WAIT", 0.0)
    path = tmp_path / "rows.sqlite"
    write_rows(path, [], [ROW], SETTINGS)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"BEGIN {lock}")
        with pytest.raises(HeldError, match="another program holds this database; close it there"):
            write_rows(path, read_rows(path, SETTINGS), [{**ROW, "chunk": "b"}], SETTINGS)
    assert [row["chunk"] for row in read_rows(path, SETTINGS)] == [ROW["chunk"]]


def test_rows_are_in_order_of_time_with_and_without_fractions_of_seconds(tmp_path):
    times = ["2026-03-02T00:00:00Z", "2026-03-02T00:00:00.500000Z", "2026-03-02T00:00:01Z"]
    rows = [{**ROW, "time": time, "chunk": time, "look": 1 + k} for k, time in enumerate(times)]
    write_rows(tmp_path / "rows.csv", [], rows[::-1], SETTINGS)
    assert [row["time"] for row in read_rows(tmp_path / "rows.csv", SETTINGS)] == times


@pytest.mark.parametrize("time", ["0000-01-01", "9999-12-31T23:00:00-05:00", "2026-02-30", "1774656000"])
def test_times_outside_the_calendar_are_refused(time):
    with pytest.raises(InvalidInputError, match="no time that can be read"):
        read_times("a.csv: column t", pd.Series([time, time]))


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "9" * 5000, "DAY", "٣"])
def test_chunks_that_are_none(given):
    with pytest.raises(InvalidInputError, match="chunk: expected day, week, month or a number"):
        chunk_size(given)

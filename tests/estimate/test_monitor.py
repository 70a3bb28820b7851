"""Estimates over time: the same as `shiftcast estimate` of each chunk, and alarms that rarely are false."""

import json
import re
import sqlite3
import sys
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shiftcast
from shiftcast.estimate.charts import timeline_chart
from shiftcast.estimate.chunks import chunks_of
from shiftcast.estimate.inputs import OwnSet
from shiftcast.estimate.monitor import headline, highest_change, monitor
from shiftcast.estimate.monitor_file import COLUMNS, looks_of, read_rows, write_rows
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from support import REPOSITORY
from support.command_line import typed

SOURCE, TARGET = make_predictions(400, seed=1), make_predictions(300, seed=2, shift=1.0)
BARE = [Predictions(one.name, one.logits, "logits", labels=one.labels) for one in (SOURCE, TARGET)]
FILES = ("--source", "val.npz", "--target", "new.csv")
START = pd.Timestamp("2026-03-02T00:00Z")


def rows_of(source, target, by, margin=0.03, budget=0.05, looks=None):
    times = pd.DatetimeIndex(START + pd.to_timedelta(np.arange(len(target)), unit="h"))
    chunks = chunks_of(times, by)
    looks = looks or range(1, len(chunks) + 1)
    return monitor(OwnSet(source), OwnSet(target), chunks, looks, margin, budget)


def test_a_chunk_is_what_estimate_says_of_it():
    rows = rows_of(*BARE, 100)
    assert [row["images"] for row in rows] == [100, 100, 100]
    for k, row in enumerate(rows):
        own = BARE[1].select(np.arange(100 * k, 100 * k + 100))
        answer = shiftcast.estimate(BARE[0], own, margin=3)
        for key in ("accuracy", "low", "high", "level", "verdict"):
            assert row[key] == getattr(answer, key)
        assert row["confidence"] == pytest.approx(own.confidence.mean(), abs=1e-6)
        assert row["actual"] == pytest.approx(own.accuracy, abs=1e-6)
        assert row["low"] <= row["sampling_low"] <= row["accuracy"] <= row["sampling_high"] <= row["high"]
    assert rows[0]["difficulty"] is None
    assert rows_of(SOURCE, TARGET, 300)[0]["difficulty"] > 0


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 60), st.one_of(st.sampled_from(["day", "week"]), st.integers(1, 60)), st.booleans())
def test_chunks_of_any_size_are_estimated(images, by, one_class):
    target = BARE[1].select(np.arange(images))
    if one_class:
        target = BARE[1].select(np.flatnonzero(BARE[1].predicted == 0)[:images])
    rows = rows_of(BARE[0].select(np.arange(100)), target, by)
    assert sum(row["images"] for row in rows) == len(target)
    for row in rows:
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
        assert row["low"] < row["high"]
        assert row["bound"] > row["accuracy"] or row["bound"] == 1


def test_a_source_without_errors_raises_no_alarm():
    right = BARE[0].select(np.flatnonzero(BARE[0].correct))
    rows = rows_of(right, BARE[1], 150, margin=0.0)
    assert [(row["accuracy"], row["bound"], row["alarm"]) for row in rows] == [(None, None, False)] * 2
    assert "at least" in headline(rows, 0.0)
    assert "<svg" in timeline_chart(rows, 1.0, 1.0)


def test_the_budget_of_false_alarms_holds_over_all_looks():
    """Accuracy stays as on the source: looks at 60 images, 20 in a row, 600 such monitors of 10 % each."""
    random, alarmed, budget, n, m, looks = np.random.default_rng(0), 0, 0.1, 500, 60, 20
    bounds = {}
    for _ in range(600):
        known = random.binomial(n, 0.85) / n
        for look, right in enumerate(random.binomial(m, 0.85, looks), 1):
            key = right, known, look
            if key not in bounds:
                bounds[key] = highest_change(right / m, m, known, n, budget / (look * (look + 1)))
            if bounds[key] < 0:
                alarmed += 1
                break
    assert alarmed / 600 <= budget
    assert alarmed > 0  # and is no rule that never alarms


def test_the_bound_of_a_change_by_hand():
    """0 of 4 right, 1 - 0.1^(1/4) above; with a source known for certain nothing else counts."""
    assert highest_change(0.0, 4, 0.9, 1e9, 0.1) == pytest.approx(-0.9 + 1 - 0.1**0.25, abs=1e-3)
    assert highest_change(1.0, 4, 0.0, 50, 0.1) == 1.0


def test_a_loss_of_accuracy_is_seen_and_a_higher_look_is_stricter():
    harder = make_predictions(1000, seed=3, shift=4.0)
    harder = Predictions("set", harder.logits, "logits", labels=harder.labels)
    first = rows_of(BARE[0], harder, 1000)[0]
    later = rows_of(BARE[0], harder, 1000, looks=[500])[0]
    assert first["alarm"]
    assert first["bound"] < later["bound"]
    assert headline([first], 0.03).startswith("Alarm in 1 of 1 chunk (margin 3 pp), first in 2026-03-02")


SETTINGS = {
    "source": "val.npz",
    "source_accuracy": 0.9,
    "chunk_size": "100",
    "margin": 0.03,
    "false_alarms": 0.05,
}


@pytest.mark.parametrize("ending", ["csv", "parquet", "sqlite"])
def test_a_chunk_has_one_row_however_often_it_is_written(tmp_path, ending):
    path, rows = tmp_path / f"accuracy.{ending}", rows_of(*BARE, 100)
    write_rows(path, [], rows[:2], SETTINGS)
    known = read_rows(path, SETTINGS)
    grown = [{**rows[1], "images": 150, "accuracy": 0.5, "alarm": True, "look": 3}, rows[2]]
    write_rows(path, known, grown, SETTINGS)
    write_rows(path, read_rows(path, SETTINGS), grown, SETTINGS)
    held = read_rows(path, SETTINGS)
    assert held == [{**SETTINGS, **row} | {"alarm": int(row["alarm"])} for row in (rows[0], *grown)]
    assert all(set(row) == set(COLUMNS) for row in held)


def test_looks_are_counted_on_and_a_grown_chunk_is_looked_at_anew():
    known = [{"chunk": "a", "images": 5, "look": 1}, {"chunk": "b", "images": 3, "look": 2}]
    assert looks_of([], [("a", 5), ("b", 3)]) == [1, 2]
    assert looks_of(known, [("a", 5), ("b", 4), ("c", 9)]) == [1, 3, 4]


def table(path, target, times):
    frame = pd.DataFrame(target.logits, columns=[f"logit_{k}" for k in range(target.classes)])
    frame.insert(0, "seen", times)
    (frame.to_csv if path.suffix == ".csv" else frame.to_parquet)(path, index=False)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("val.npz", logits=BARE[0].logits, labels=BARE[0].labels)
    times = pd.date_range("2026-03-02", periods=300, freq="h")
    table(tmp_path / "new.csv", BARE[1], times.strftime("%Y-%m-%dT%H:%M:%S+01:00"))
    table(tmp_path / "new.parquet", BARE[1], times.tz_localize("Etc/GMT-1"))
    return tmp_path


def test_the_command_writes_page_and_rows_and_says_the_answer_first(files):
    command = ["monitor", *FILES, "--time", "seen", "--chunk", "week", "--margin", 3]
    done = typed(*command, "--append", "rows.sqlite", "--html", "page.html", "--fail-on-alarm")
    told = json.loads(typed(*command[:4], "new.parquet", *command[5:], "--json").stdout)
    assert [row["chunk"] for row in told["rows"]] == ["2026-02-23", "2026-03-02", "2026-03-09"]
    alarms = sum(row["alarm"] for row in told["rows"])
    assert done.returncode == int(alarms > 0)
    assert done.stdout.startswith(f"Alarm in {alarms} of 3 chunks" if alarms else "No alarm in 3 chunks")
    page = (files / "page.html").read_text()
    assert done.stdout.splitlines()[0] in page
    assert re.search(r"images +acc. % +likely \(80 %\) +verdict", done.stdout)  # first what decides
    assert page.count('class="alarm"><title>') == alarms
    assert "prefers-color-scheme: dark" in page
    with closing(sqlite3.connect("rows.sqlite")) as connection:
        held = connection.execute("SELECT time, accuracy, look FROM monitor ORDER BY time").fetchall()
    assert held == [(row["time"], row["accuracy"], row["look"]) for row in told["rows"]]
    assert list(files.glob(".*")) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--time", "sen"], "no column 'sen'.*did you mean seen"),
        (["--time", "seen", "--chunk", "year"], "day, week, month or a number"),
        (["--time", "seen", "--append", "rows.txt"], r"expected a .csv, .parquet or .sqlite"),
        (["--time", "seen", "--append", "new.csv"], "would be written over"),
        (["--time", "seen", "--append", "other.csv"], "holds other columns"),
        (["--time", "seen", "--append", "other.sqlite"], "no table 'monitor' can be read"),
        (["--time", "seen", "--append", "rows.csv"], "written with margin 3 pp, and now with no margin"),
        (["--time", "seen", "--fail-on-alarm"], "needs --margin"),
        (["--time", "seen", "--margin", 3, "--false-alarms", 0], "between 0 and 100"),
    ],
)
def test_mistakes_lose_nothing(files, options, said):
    (files / "other.csv").write_text("a,b\n1,2\n")
    (files / "other.sqlite").write_text("no database\n" * 99)
    write_rows(
        files / "rows.csv",
        [],
        rows_of(*BARE, 100)[:1],
        SETTINGS | {"source_accuracy": round(BARE[0].accuracy, 6), "chunk_size": "week"},
    )
    before = {path: path.read_bytes() for path in files.iterdir()}
    done = typed("monitor", *FILES, *options)
    assert done.returncode == 2
    assert re.search(said, " ".join(done.stderr.replace("│", " ").split()))
    assert {path: path.read_bytes() for path in files.iterdir()} == before


def test_the_page_shows_what_the_script_makes_of_its_table(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs" / "scripts"))
    import monitor_streams as script

    frame = pd.read_csv(script.TABLE)
    text = script.report(frame)
    sys.modules.pop("monitor_streams")
    assert text in script.PAGE.read_text()
    assert not frame["set"].dropna().str.contains("blind-[fgh]").any()


def test_the_chart_places_steps_and_alarms_on_one_scale():
    rows = [
        {"chunk": "2026-01-01", "accuracy": 0.9, "low": 0.8, "high": 1.0}
        | {"sampling_low": 0.88, "sampling_high": 0.92, "alarm": False},
        {"chunk": "2026-01-02", "accuracy": 0.8, "low": 0.6, "high": 0.9}
        | {"sampling_low": 0.78, "sampling_high": 0.82, "alarm": True},
    ]
    svg = timeline_chart(rows, 0.9, 0.87)
    steps = svg.split('<polyline points="')[1].split('"')[0].split()
    heights = [float(point.split(",")[1]) for point in steps]
    assert heights[0] == heights[1] < heights[2] == heights[3]
    dashed = float(svg.split("source dashed")[0].rsplit('y1="')[-1].split('"')[0])
    assert dashed == heights[0]
    assert svg.count('class="alarm"') == 1
    assert "alarm: 2026-01-02" in svg
    assert svg.count("2026-01-0") == 3

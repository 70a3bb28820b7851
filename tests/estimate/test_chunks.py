"""Times as people write them, and chunks of rows: each row is in one, none is empty, order is time's."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.chunks import chunk_size, chunks_of, read_times

MINUTES = st.lists(st.integers(0, 200_000), min_size=1, max_size=80)
BY = st.one_of(st.sampled_from(["day", "week", "month"]), st.integers(1, 90))


def times_of(minutes):
    return pd.DatetimeIndex(
        pd.Timestamp("2026-01-30T23:00Z") + pd.to_timedelta(np.array(minutes), unit="min")
    )


@settings(max_examples=30, deadline=None)
@given(MINUTES, BY)
def test_every_row_is_in_one_chunk_and_chunks_are_in_order(minutes, by):
    times = times_of(minutes)
    chunks = chunks_of(times, by)
    rows = np.concatenate([part for _, _, part in chunks])
    assert sorted(rows) == list(range(len(minutes)))
    assert times[rows].is_monotonic_increasing
    assert len({name for name, _, _ in chunks}) == len(chunks)
    assert all(len(part) and times[part].min() >= start for _, start, part in chunks)
    if isinstance(by, int):
        assert [len(part) for _, _, part in chunks[:-1]] == [by] * (len(chunks) - 1)
        assert 1 <= len(chunks[-1][2]) <= by
    else:
        longest = {"day": 1, "week": 7, "month": 31}[by]
        assert all(times[part].max() < start + pd.Timedelta(days=longest) for _, start, part in chunks)


@settings(max_examples=20, deadline=None)
@given(MINUTES, st.randoms(use_true_random=False))
def test_the_order_of_the_table_does_not_matter(minutes, random):
    shuffled = random.sample(range(len(minutes)), len(minutes))
    first = chunks_of(times_of(minutes), "week")
    second = chunks_of(times_of([minutes[k] for k in shuffled]), "week")
    assert [name for name, _, _ in first] == [name for name, _, _ in second]
    for (_, _, part), (_, _, moved) in zip(first, second, strict=True):
        assert set(part) == {shuffled[k] for k in moved}


def test_periods_are_those_of_the_calendar_in_utc():
    times = pd.DatetimeIndex(
        ["2026-11-29T23:59Z", "2026-11-30T00:00Z", "2026-12-06T12:00Z", "2027-01-01T00:00Z"]
    )
    assert [name for name, _, _ in chunks_of(times, "week")] == ["2026-11-23", "2026-11-30", "2026-12-28"]
    assert [name for name, _, _ in chunks_of(times, "month")] == ["2026-11-01", "2026-12-01", "2027-01-01"]


def test_an_exact_multiple_leaves_no_empty_last_chunk_and_ties_are_told_apart():
    chunks = chunks_of(times_of([5] * 6), 2)
    name = "2026-01-30T23:05:00Z"
    assert [(name, list(part)) for name, _, part in chunks] == [
        (name, [0, 1]),
        (f"{name} #2", [2, 3]),
        (f"{name} #3", [4, 5]),
    ]


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["2026-01-31T01:30:00+02:00", "2026-01-30T23:30:00Z"], "2026-01-30T23:30:00"),
        (["2026-01-31 01:30:00.25"], "2026-01-31T01:30:00.25"),
        (["2026-01-31"], "2026-01-31"),
        ([" 2026-01-31T10:00-0500 "], "2026-01-31T15:00"),
    ],
)
def test_offsets_become_utc(texts, first):
    found = read_times("x", pd.Series(texts))
    assert found[0] == pd.Timestamp(first, tz="UTC")
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["2026-01-31T01:30Z", "2026-01-31T02:30"], r"1 row \(1, from 0\) has a time without an offset"),
        (["2026-01-31T01:30Z", "2026-01-31"], "without an offset"),
        (
            ["2026-01-31", "", "  ", "2026-02-01"],
            r"2 rows \(1, 2, from 0\) have no time",
        ),
        (["2026-01-31", "31/01/2026"], r"row \(1, from 0\) .*'31/01/2026'; write ISO 8601"),
        (["1764500000"], "seconds since 1970"),
        (["2026-02-30"], "2026-02-30"),
        (["2026-01-31T25:00"], "no time that can be read"),
        (["99999-01-31"], "no time that can be read"),
        (["yesterday"] * 9, r"9 rows \(0, 1, 2, …, from 0\)"),
    ],
)
def test_times_that_are_none_are_named_by_row(texts, said):
    with pytest.raises(InvalidInputError, match=said):
        read_times("outputs.csv: column t", pd.Series(texts))


def test_sizes_of_chunks():
    assert [chunk_size(given) for given in ("day", "1000")] == ["day", 1000]
    for given_ in ("0", "-5", "year", "1.5", "²", ""):
        with pytest.raises(InvalidInputError, match="day, week, month or a number"):
            chunk_size(given_)

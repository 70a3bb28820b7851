"""Stored benchmarks: what is read, and when one counts as slower."""

import json
import math

import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError
from shiftcast.speed import Benchmarks, Reading, best_of, compare, read_benchmarks


def stored(machine="A", **seconds):
    """Return pytest-benchmark's JSON; each value is (seconds, calibration)."""
    return {
        "machine_info": {"cpu": {"brand_raw": machine, "count": 2}},
        "benchmarks": [
            {"name": name, "stats": {"min": one}, "extra_info": {"calibration_seconds": kernel}}
            for name, (one, kernel) in seconds.items()
        ],
    }


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def session(**seconds):
    return Benchmarks("m", {name: Reading(*one) for name, one in seconds.items()})


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ((0.10, 0.01), (0.10, 0.01), "alike"),
        ((0.10, 0.01), (0.30, 0.03), "alike"),  # the machine is three times as slow today
        ((0.10, 0.01), (0.16, 0.01), "slower"),
        ((0.10, 0.01), (0.149, 0.01), "alike"),
        ((0.10, 0.01), (0.10, 0.005), "slower"),  # the machine is faster, the benchmark is not
        ((0.001, 0.01), (0.0029, 0.01), "alike"),  # below the floor
        ((0.001, 0.01), (0.0031, 0.01), "slower"),
        ((0.16, 0.01), (0.10, 0.01), "faster"),
    ],
)
def test_ratios_to_the_kernel_decide(old, new, verdict):
    (found,) = compare(session(x=old), session(x=new), factor=1.5, floor=0.002)
    assert found.verdict == verdict
    assert found.growth == pytest.approx((new[0] / new[1]) / (old[0] / old[1]))


def test_missing_ones_are_named():
    found = {one.name: one for one in compare(session(a=(1, 1)), session(b=(1, 1)))}
    assert found["a"].verdict == "gone"
    assert found["b"].verdict == "new"
    assert math.isnan(found["a"].growth)


@pytest.mark.parametrize(("factor", "floor"), [(1.0, 0), (math.nan, 0), (2, -1), (2, math.nan)])
def test_bounds_that_are_none_are_refused(factor, floor):
    with pytest.raises(InvalidInputError, match="expected a factor above 1"):
        compare(session(), session(), factor, floor)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not the JSON of a session"),
        ("[]", "is not the JSON of a session"),
        ('{"benchmarks": []}', "is not the JSON of a session"),
        (stored(x=(0, 1)), "x: expected seconds above 0, got 0"),
        (stored(x=(1, "y")), "expected seconds above 0, got 'y'"),
        (stored(x=(math.inf, 1)), "expected seconds above 0, got inf"),
        (stored(), "holds no benchmark"),
        (stored(**{"a\u202eb": (1, 1)}), "is no name of a benchmark"),
        (stored(x=(True, 1)), "expected seconds above 0, got True"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, said):
    with pytest.raises(InvalidInputError, match=said):
        read_benchmarks(write(tmp_path / "a.json", content))


def test_a_benchmark_without_calibration_is_refused(tmp_path):
    content = stored(x=(1, 1))
    content["benchmarks"][0]["extra_info"] = {}
    with pytest.raises(InvalidInputError, match="x carries no calibration_seconds; make the file with"):
        read_benchmarks(write(tmp_path / "a.json", content))
    with pytest.raises(InvalidInputError, match="there is no such file"):
        read_benchmarks(tmp_path / "b.json")
    with pytest.raises(InvalidInputError, match="cannot be read: Is a directory"):
        read_benchmarks(tmp_path)


def test_the_command_shows_growth_and_fails_on_request_alone(tmp_path):
    old = write(tmp_path / "old.json", stored(a=(0.1, 0.01), b=(0.1, 0.01), c=(0.1, 0.01)))
    new = write(tmp_path / "new.json", stored(a=(0.3, 0.01), b=(0.1, 0.01)))
    done = CliRunner().invoke(app, ["bench", "compare", str(old), str(new)])
    assert done.exit_code == 0, done.output
    assert "3.00 x" in done.output
    assert "slower" in done.output
    assert "gone" in done.output
    failed = CliRunner().invoke(app, ["bench", "compare", str(old), str(new), "--check"])
    assert failed.exit_code != 0
    assert "a: slower than in" in str(failed.exception)
    assert "; c: in " in str(failed.exception)
    assert f"cp {new} {old}" in str(failed.exception)
    more = CliRunner().invoke(app, ["bench", "compare", str(old), str(old), "--check"])
    assert more.exit_code == 0


def test_of_several_sessions_the_best_counts(tmp_path):
    old = write(tmp_path / "old.json", stored(a=(0.1, 0.01), b=(0.1, 0.01)))
    first = write(tmp_path / "1.json", stored(a=(0.3, 0.01), b=(0.3, 0.01)))
    second = write(tmp_path / "2.json", stored(a=(0.2, 0.02), b=(0.3, 0.01)))
    done = CliRunner().invoke(app, ["bench", "compare", str(old), str(first), str(second), "--check"])
    assert str(done.exception).startswith("b: slower than in")
    assert f"cp {second} {old}" in str(done.exception)
    assert best_of([session(x=(3, 1)), session(x=(4, 2), y=(1, 1))]) == session(x=(4, 2), y=(1, 1))
    with pytest.raises(
        InvalidInputError, match="expected sessions of one machine, got A, 2 cores; B, 2 cores"
    ):
        best_of([Benchmarks("A, 2 cores", {}), Benchmarks("B, 2 cores", {})])


def test_other_processors_are_not_judged(tmp_path):
    old = write(tmp_path / "old.json", stored(a=(0.1, 0.01)))
    new = write(tmp_path / "new.json", stored("B", a=(0.9, 0.01)))
    done = CliRunner().invoke(app, ["bench", "compare", str(old), str(new), "--check"])
    assert done.exit_code == 0
    assert "nothing is judged" in done.output

"""Stored benchmarks: what is read, and when one counts as slower."""

import json
import math

import pytest

from performance.compare import Benchmarks, Reading, best_of, compare, main, read_benchmarks
from shiftcast.errors import InvalidInputError


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
    (found,) = compare(session(x=old), session(x=new))
    assert found.verdict == verdict
    assert found.growth == pytest.approx((new[0] / new[1]) / (old[0] / old[1]))


def test_missing_ones_are_named():
    found = {one.name: one for one in compare(session(a=(1, 1)), session(b=(1, 1)))}
    assert found["a"].verdict == "gone"
    assert found["b"].verdict == "new"
    assert math.isnan(found["a"].growth)


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


def test_the_script_shows_growth_and_fails_on_request_alone(tmp_path, capsys):
    old = write(tmp_path / "old.json", stored(a=(0.1, 0.01), b=(0.1, 0.01), c=(0.1, 0.01)))
    new = write(tmp_path / "new.json", stored(a=(0.3, 0.01), b=(0.1, 0.01)))
    assert main([str(old), str(new)]) == 0
    shown = capsys.readouterr().out
    assert "3.00 x" in shown
    assert "slower" in shown
    assert "gone" in shown
    assert main([str(old), str(new), "--check"]) == 1
    problems = capsys.readouterr().err
    assert "a: slower than in" in problems
    assert "; c: in " in problems
    assert f"cp {new} {old}" in problems
    assert main([str(old), str(old), "--check"]) == 0
    assert main([str(old), str(tmp_path / "none.json")]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_of_several_sessions_the_best_counts(tmp_path, capsys):
    old = write(tmp_path / "old.json", stored(a=(0.1, 0.01), b=(0.1, 0.01)))
    first = write(tmp_path / "1.json", stored(a=(0.3, 0.01), b=(0.3, 0.01)))
    second = write(tmp_path / "2.json", stored(a=(0.2, 0.02), b=(0.3, 0.01)))
    assert main([str(old), str(first), str(second), "--check"]) == 1
    problems = capsys.readouterr().err
    assert problems.startswith("error: b: slower than in")
    assert f"cp {second} {old}" in problems
    assert best_of([session(x=(3, 1)), session(x=(4, 2), y=(1, 1))]) == session(x=(4, 2), y=(1, 1))
    with pytest.raises(
        InvalidInputError, match="expected sessions of one machine, got A, 2 cores; B, 2 cores"
    ):
        best_of([Benchmarks("A, 2 cores", {}), Benchmarks("B, 2 cores", {})])


def test_other_processors_are_not_judged(tmp_path, capsys):
    old = write(tmp_path / "old.json", stored(a=(0.1, 0.01)))
    new = write(tmp_path / "new.json", stored("B", a=(0.9, 0.01)))
    assert main([str(old), str(new), "--check"]) == 0
    assert "nothing is judged" in capsys.readouterr().out

"""Compare stored sessions of benchmarks, on machines that other work shares.

    python tests/performance/compare.py OLD NEW... [--check]

A file is pytest-benchmark's JSON, as `make bench` writes it. Each benchmark also carries the seconds of a
calibration kernel that its process timed before and after it: the *ratio* of the two, each the minimum of
its rounds, is compared, since a machine that is slow today is slow for both. Of several new sessions the best
ratio of each benchmark counts.

Exit code 1 with --check if a benchmark became slower or is gone, 2 if a file cannot be read. Sessions of
another processor are shown and not judged.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tabulate import tabulate

from shiftcast.errors import InvalidInputError

CALIBRATION = "calibration_seconds"
"""Under `extra_info` of each benchmark."""
FACTOR = 1.5
"""Growth of a ratio from which a benchmark counts as slower."""
FLOOR = 0.002
"""Seconds by which it must have grown as well: tiny times jitter."""

Verdict = Literal["slower", "faster", "alike", "new", "gone"]


@dataclass(frozen=True)
class Reading:
    """One benchmark: the minimum of its rounds, and of the calibration kernel's, in seconds."""

    seconds: float
    calibration: float

    @property
    def ratio(self) -> float:
        """How many calibration kernels it takes."""
        return self.seconds / self.calibration


@dataclass(frozen=True)
class Benchmarks:
    """A stored session.

    Parameters
    ----------
    machine
        Processor and number of cores, in words.
    readings
        By name of the benchmark.
    """

    machine: str
    readings: Mapping[str, Reading]


@dataclass(frozen=True)
class Comparison:
    """A benchmark in two sessions; a reading is None where the session lacks it."""

    name: str
    old: Reading | None
    new: Reading | None
    verdict: Verdict

    @property
    def growth(self) -> float:
        """New ratio over old ratio; NaN where either is missing."""
        return math.nan if self.old is None or self.new is None else self.new.ratio / self.old.ratio


def read_benchmarks(path: Path) -> Benchmarks:
    """Return what pytest-benchmark stored.

    Raises
    ------
    InvalidInputError
        If the file is missing, is not pytest-benchmark's JSON, or a benchmark lacks its calibration.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        stored = content["benchmarks"]
        cpu = content["machine_info"].get("cpu", {})
        readings = {}
        for one in stored:
            extra = one["extra_info"]
            if CALIBRATION not in extra:
                raise InvalidInputError(
                    f"{path}: {one['name']} carries no {CALIBRATION}; make the file with: make bench"
                )
            name = _printable(path, one["name"])
            readings[name] = _reading(path, name, one["stats"]["min"], extra[CALIBRATION])
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path}: there is no such file; make one with: make bench") from error
    except InvalidInputError:
        raise
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"{path}: is not the JSON of a session of benchmarks, or not all of it; make one with: make bench"
        ) from error
    if not readings:
        raise InvalidInputError(f"{path}: holds no benchmark; make a session with: make bench")
    return Benchmarks(machine_name(cpu), readings)


def machine_name(cpu: Mapping[str, Any]) -> str:
    """Return processor and number of cores in words, from what py-cpuinfo says of a machine."""
    return f"{cpu.get('brand_raw', 'unknown processor')}, {cpu.get('count', '?')} cores"


def _printable(path: Path, name: object) -> str:
    if not isinstance(name, str) or not name.isprintable():
        raise InvalidInputError(f"{path}: {name!r} is no name of a benchmark")
    return name


def _reading(path: Path, name: str, seconds: object, calibration: object) -> Reading:
    for value in (seconds, calibration):
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            raise InvalidInputError(f"{path}: {name}: expected seconds above 0, got {value!r}")
    return Reading(float(seconds), float(calibration))


def best_of(sessions: Sequence[Benchmarks]) -> Benchmarks:
    """Return each benchmark's smallest ratio in sessions of one program, at least one.

    Other work on a machine makes a session slow here and there; what has become slower is so in all of them.

    Raises
    ------
    InvalidInputError
        If they are of several machines.
    """
    machines = sorted({one.machine for one in sessions})
    if len(machines) != 1:
        raise InvalidInputError(f"best_of: expected sessions of one machine, got {'; '.join(machines)}")
    names = {name for one in sessions for name in one.readings}
    found = {name: [one.readings[name] for one in sessions if name in one.readings] for name in names}
    return Benchmarks(machines[0], {name: min(own, key=lambda one: one.ratio) for name, own in found.items()})


def compare(old: Benchmarks, new: Benchmarks) -> list[Comparison]:
    """Return how each benchmark changed, in order of name.

    It is slower if its ratio to the calibration kernel grew by more than `FACTOR` and its time, had the
    kernel taken as long as in `old`, by more than `FLOOR` seconds; faster if the reverse holds.
    """
    names = sorted({*old.readings, *new.readings})
    pairs = [(name, old.readings.get(name), new.readings.get(name)) for name in names]
    return [Comparison(name, before, after, _verdict(before, after)) for name, before, after in pairs]


def _verdict(old: Reading | None, new: Reading | None) -> Verdict:
    if old is None or new is None:
        return "new" if old is None else "gone"
    difference = (new.ratio - old.ratio) * old.calibration
    if new.ratio > FACTOR * old.ratio and difference > FLOOR:
        return "slower"
    if old.ratio > FACTOR * new.ratio and -difference > FLOOR:
        return "faster"
    return "alike"


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return how each benchmark changed as a table, times in milliseconds."""
    rows = [
        {
            "benchmark": row.name,
            "old ms": "" if row.old is None else f"{1000 * row.old.seconds:,.2f}",
            "new ms": "" if row.new is None else f"{1000 * row.new.seconds:,.2f}",
            "old ratio": "" if row.old is None else f"{row.old.ratio:,.3f}",
            "new ratio": "" if row.new is None else f"{row.new.ratio:,.3f}",
            "growth": "" if math.isnan(row.growth) else f"{row.growth:.2f} x",
            "": "" if row.verdict == "alike" else row.verdict,
        }
        for row in comparisons
    ]
    return str(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True, stralign="right"))


def problems_of(comparisons: Sequence[Comparison], old: Path, new: Path) -> list[str]:
    """Return what a check fails for: benchmarks that became slower, and those that are gone."""
    slower = ", ".join(row.name for row in comparisons if row.verdict == "slower")
    gone = ", ".join(row.name for row in comparisons if row.verdict == "gone")
    problems = [f"{slower}: slower than in {old} by more than {FACTOR:g} x"] if slower else []
    return problems + ([f"{gone}: in {old} and not in {new}"] if gone else [])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; return the exit code."""
    parser = argparse.ArgumentParser(description="Compare stored sessions of benchmarks.")
    parser.add_argument("old", type=Path, metavar="OLD", help="file that make bench wrote")
    parser.add_argument(
        "new", type=Path, metavar="NEW", nargs="+", help="later file; the best of several counts"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if a benchmark became slower or is gone")
    given = parser.parse_args(arguments)
    try:
        old, new = read_benchmarks(given.old), best_of([read_benchmarks(path) for path in given.new])
    except InvalidInputError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    comparisons = compare(old, new)
    print(f"old: {old.machine}\nnew: {new.machine}\n{comparison_table(comparisons)}")  # noqa: T201
    if old.machine != new.machine:
        print("Another processor: its ratios to the kernel may differ, so nothing is judged.")  # noqa: T201
        return 0
    problems = problems_of(comparisons, given.old, given.new[-1]) if given.check else []
    if problems:
        print(  # noqa: T201
            f"error: {'; '.join(problems)}. Other work on the machine does that too: try again when it "
            f"is idle. If the change is intended, keep the new times: cp {given.new[-1]} {given.old}",
            file=sys.stderr,
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

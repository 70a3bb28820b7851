"""Stored benchmarks and what two of them say of each other, on machines that other work shares.

A file is pytest-benchmark's JSON. Each benchmark also carries the seconds of a calibration kernel that its
process timed before and after it: the *ratio* of the two, each the minimum of its rounds, is what is
compared, since a machine that is slow today is slow for both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
    return Reading(float(seconds), float(calibration))  # type: ignore[arg-type]  # checked just above


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


def compare(
    old: Benchmarks, new: Benchmarks, factor: float = FACTOR, floor: float = FLOOR
) -> list[Comparison]:
    """Return what has become of each benchmark, in order of name.

    It is slower where its ratio to the calibration kernel grew by more than `factor` and its time, had the
    kernel taken as long as in `old`, by more than `floor` seconds; faster where the reverse holds.

    Raises
    ------
    InvalidInputError
        If the factor is not above 1 or the floor below 0.
    """
    if not factor > 1 or not floor >= 0:
        raise InvalidInputError(f"compare: expected a factor above 1 and a floor >= 0, got {factor}, {floor}")
    found = []
    for name in sorted({*old.readings, *new.readings}):
        before, after = old.readings.get(name), new.readings.get(name)
        found.append(Comparison(name, before, after, _verdict(before, after, factor, floor)))
    return found


def _verdict(old: Reading | None, new: Reading | None, factor: float, floor: float) -> Verdict:
    if old is None or new is None:
        return "new" if old is None else "gone"
    difference = (new.ratio - old.ratio) * old.calibration
    if new.ratio > factor * old.ratio and difference > floor:
        return "slower"
    if old.ratio > factor * new.ratio and -difference > floor:
        return "faster"
    return "alike"

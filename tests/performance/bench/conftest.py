"""What every benchmark is timed with, and the kernel that says how fast the machine is just now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

CALIBRATION = "calibration_seconds"
"""Where `compare.py` looks for the kernel's seconds; not imported, as tests copy this file elsewhere."""
ROUNDS = 10
"""Of the calibration kernel, before a benchmark and again after it; the minimum counts."""
FEWEST, MOST, SECONDS = 5, 40, 0.5
"""Rounds of a benchmark: as many as these seconds hold, within bounds."""


def kernel() -> float:
    """Sort, exponentiate and count, on one thread, for some twenty milliseconds; return the seconds taken.

    Not shorter: where others use the machine too, what is over within one slice of time is never interrupted.
    """
    values = np.random.RandomState(0).normal(size=1_000_000)
    start = time.perf_counter()
    np.sort(values)
    for _ in range(3):
        np.exp(values)
    total = 0
    for k in range(450_000):
        total += k & 3
    return time.perf_counter() - start


def calibrate() -> float:
    return min(kernel() for _ in range(ROUNDS))


KEPT = {"machine", "python_implementation", "python_version", "system"}
KEPT_OF_CPU = ("brand_raw", "arch", "count", "hz_advertised_friendly", "l2_cache_size", "l3_cache_size")


def pytest_benchmark_update_machine_info(config, machine_info) -> None:
    """Keep what says how fast a machine is, and not what it is called."""
    cpu = machine_info.get("cpu", {})
    for name in set(machine_info) - KEPT:
        del machine_info[name]
    machine_info["cpu"] = {name: cpu[name] for name in KEPT_OF_CPU if name in cpu}


def pytest_benchmark_update_json(config, benchmarks, output_json) -> None:
    """Keep figures of rounds, not every round."""
    output_json.pop("commit_info", None)
    for one in output_json["benchmarks"]:
        one["stats"].pop("data", None)


Timed = Callable[..., Any]


@pytest.fixture
def timed(benchmark) -> Timed:
    """Time a call, with the calibration kernel before and after it."""

    def run(work: Callable[..., Any], rounds: int = 0, setup: Callable[[], Any] | None = None) -> Any:
        before = calibrate()
        if not rounds:
            start = time.perf_counter()
            work()
            rounds = min(max(int(SECONDS / (time.perf_counter() - start)), FEWEST), MOST)
        result = benchmark.pedantic(work, setup=setup, rounds=rounds, warmup_rounds=1)
        benchmark.extra_info[CALIBRATION] = min(before, calibrate())
        return result

    return run


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A workspace of eight scored runs on twenty-two shifts, with made-up predictions."""
    from support.large import make_large  # planted sessions, which have this file alone, do without

    return make_large(tmp_path_factory.mktemp("bench") / "large", 4, 2, natural=3, images=1000)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "cache"))

"""The gate of the benchmarks: it lets clean runs pass on a shared machine and catches a planted slowdown."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from shiftcast.speed import best_of, compare, read_benchmarks

BENCH = Path(__file__).parent / "bench"
REPEATS = int(os.environ.get("SHIFTCAST_GATE_REPEATS", "3"))
"""Clean sessions; ten say more."""
SESSIONS = 3
"""Sessions after which `make gate` says no: a slowdown is caught in each, and in the best of them."""
FILE = """
import os
import numpy as np

VALUES = np.random.RandomState(0).normal(size=2_000_000)

def test_sorting(timed):
    def work():
        for _ in range(int(os.environ.get("PLANTED", "1"))):
            found = np.sort(VALUES)
        return found
    assert timed(work)[0] < 0

def test_counting(timed):
    assert timed(lambda: sum(k & 1 for k in range(200_000))) == 100_000
"""


def session(folder, name, planted=1):
    """Run two benchmarks in a process of their own; return what it stored."""
    path = folder / f"{name}.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "python_files=bench_*.py",
    ]
    done = subprocess.run(
        [*command, f"--rootdir={folder}", f"--benchmark-json={path}", str(folder)],
        cwd=folder,
        env=os.environ | {"PLANTED": str(planted)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return path


def test_clean_sessions_pass_and_a_planted_slowdown_is_caught(tmp_path):
    shutil.copy(BENCH / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "bench_two.py").write_text(FILE)
    baseline = read_benchmarks(session(tmp_path, "baseline"))
    for k in range(REPEATS):
        found = compare(baseline, read_benchmarks(session(tmp_path, f"clean-{k}")))
        assert {one.verdict for one in found} <= {"alike", "faster"}, found
    planted = []
    for k in range(SESSIONS):
        planted.append(read_benchmarks(session(tmp_path, f"planted-{k}", planted=2)))
        verdicts = {one.name: one.verdict for one in compare(baseline, best_of(planted))}
        assert verdicts["test_sorting"] == "slower"
        assert verdicts["test_counting"] in ("alike", "faster")


def test_what_is_stored_names_no_machine(tmp_path):
    shutil.copy(BENCH / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "bench_two.py").write_text(FILE)
    content = json.loads(session(tmp_path, "a").read_text())
    assert "node" not in content["machine_info"]
    assert "data" not in content["benchmarks"][0]["stats"]

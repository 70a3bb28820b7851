"""The gate of the benchmarks: noise passes, a planted slowdown is caught, one processor alone is judged.

Sessions are planted, with times that a test gives them; SHIFTCAST_GATE_REPEATS asks for real ones.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from performance.compare import best_of, compare, main, read_benchmarks

HERE = Path(__file__).parent
BENCH = HERE / "bench"
REPEATS = int(os.environ.get("SHIFTCAST_GATE_REPEATS", "0"))
"""Clean sessions that are really timed, on a quiet machine; ten say more than three."""
SESSIONS = 3
"""Sessions after which `make gate` says no: a slowdown is caught in each, and in the best of them."""
SECONDS = {"sorting": 0.16, "counting": 0.02, "start": 0.4}
"""Times of planted benchmarks, by name."""
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


def plant(folder, name, seed=0, slow=None, cpu=None):
    """Write a session of a machine that is up to three times as slow as on other days, 20 % uneven."""
    drawn = random.Random(seed)  # noqa: S311
    speed = drawn.uniform(1, 3)
    seconds = {
        one: own * speed * drawn.uniform(1, 1.2) * (2 if one == slow else 1) for one, own in SECONDS.items()
    }
    content = {
        "machine_info": {"cpu": cpu or {"brand_raw": "Planted", "count": 2}},
        "benchmarks": [
            {"name": one, "stats": {"min": own}, "extra_info": {"calibration_seconds": 0.02 * speed}}
            for one, own in seconds.items()
        ],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("seed", range(10))
def test_planted_noise_passes_and_a_planted_slowdown_is_caught(tmp_path, seed, capsys):
    old = plant(tmp_path, "baseline", 100)
    sessions = [plant(tmp_path, f"clean-{k}", SESSIONS * seed + k) for k in range(SESSIONS)]
    slow = [plant(tmp_path, f"slow-{k}", SESSIONS * seed + k, slow="start") for k in range(SESSIONS)]
    for count in range(1, SESSIONS + 1):
        assert main([*map(str, [old, *sessions[:count]]), "--check"]) == 0
        assert main([*map(str, [old, *slow[:count]]), "--check"]) == 1
        assert capsys.readouterr().err.startswith("error: start: slower than in")


def session(folder, name, planted=1):
    """Time two benchmarks in a process of their own; return what it stored."""
    path = folder / f"{name}.json"
    python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [
            *python,
            "-o",
            "python_files=bench_*.py",
            f"--rootdir={folder}",
            f"--benchmark-json={path}",
            str(folder),
        ],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
        | {"PLANTED": str(planted)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.fixture
def timing(tmp_path):
    """A folder with two benchmarks that are timed as ours are."""
    shutil.copy(BENCH / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "bench_two.py").write_text(FILE)
    return tmp_path


@pytest.mark.skipif(not REPEATS, reason="SHIFTCAST_GATE_REPEATS=3 asks for them: seven sessions")
def test_real_clean_sessions_pass_and_a_planted_slowdown_is_caught(timing):
    baseline = read_benchmarks(session(timing, "baseline"))
    for k in range(REPEATS):
        found = compare(baseline, read_benchmarks(session(timing, f"clean-{k}")))
        assert {one.verdict for one in found} <= {"alike", "faster"}, found
    planted = []
    for k in range(SESSIONS):
        planted.append(read_benchmarks(session(timing, f"planted-{k}", planted=2)))
        verdicts = {one.name: one.verdict for one in compare(baseline, best_of(planted))}
        assert verdicts["test_sorting"] == "slower"
        assert verdicts["test_counting"] in ("alike", "faster")


def test_what_is_stored_names_no_machine_and_can_be_compared(timing):
    path = session(timing, "a")
    content = json.loads(path.read_text())
    assert "node" not in content["machine_info"]
    assert "data" not in content["benchmarks"][0]["stats"]
    assert set(read_benchmarks(path).readings) == {"test_sorting", "test_counting"}
    subprocess.run([sys.executable, HERE / "processor.py", path], check=True)


def gate(baseline):
    """Run `make gate` with another baseline; the environment counts as installed."""
    own = [f"BASELINE={baseline}", f"BIN={Path(sys.executable).parent}"]
    command = ["make", "-o", ".venv/.ready", "gate", *own]
    return subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)


def test_on_another_processor_the_gate_times_nothing_and_says_so(tmp_path):
    done = gate(plant(tmp_path, "baseline", cpu={"brand_raw": "Another", "count": 512}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOTHING IS JUDGED" in done.stdout
    assert "times of Another, 512 cores; this is" in done.stdout
    assert "session" not in done.stdout


def test_a_damaged_baseline_stops_the_gate(tmp_path):
    baseline = tmp_path / "baseline.json"
    baseline.write_text("{")
    done = gate(baseline)
    assert done.returncode != 0
    assert "is not the JSON of a session" in done.stderr

"""The committed board: how long it takes to check and how much memory it needs, without torch."""

import json
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MEBIBYTES = 600  # a hundred and forty stored runs in seven suites, one suite at a time
PEAK = """
import json, sys, time
from pathlib import Path

def tell(**figures):
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    loaded = {"torch": "torch" in sys.modules, "drawn": "matplotlib" in sys.modules}
    print(json.dumps({"peak": peak, **loaded, **figures}))
"""
CHECK = """
from shiftcast.cli import main
sys.argv = ["shiftcast", "leaderboard", "--check"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
tell()
"""
COLD, WARM, LARGE_MEBIBYTES = 60.0, 2.0, 2048
BUSY = 2.0
"""How much longer a machine that does other work beside may take."""
LARGE = """
from shiftcast.estimators import official_estimators
from shiftcast.scoring import suite
from shiftcast.cli import main

chosen = official_estimators()
for slow in ("COT", "COTT"):
    chosen.pop(slow)
suite.official_estimators = lambda: dict(list(chosen.items())[:20])
start = time.perf_counter()
sys.argv = ["shiftcast", "leaderboard"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
tell(seconds=time.perf_counter() - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_checking_the_committed_board_takes_little_memory():
    said = run(CHECK)
    assert said["peak"] < MEBIBYTES
    assert not said["torch"]
    assert not said["drawn"]


def run(script, home=REPOSITORY):
    """Run a script in a process of its own; return what it says of itself."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + script], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_board_of_a_hundred_runs_on_thirty_shifts_takes_a_minute_and_unchanged_two_seconds(tmp_path):
    make_large = runpy.run_path(str(Path(__file__).parent / "large.py"))["make_large"]
    workspace = make_large(tmp_path / "large")
    suite = workspace.suite("large")
    assert len(suite.scored_runs()) == 100
    assert len(suite.unfolded_targets()) == 30
    cold = run(LARGE, workspace.root)
    page = (workspace.root / "leaderboard.md").read_text()
    assert "100 of 100 runs complete" in page
    command = [Path(sys.executable).parent / "shiftcast", "leaderboard"]
    start = time.perf_counter()
    again = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=False)
    warm = time.perf_counter() - start
    print(f"cold {cold['seconds']:.1f} s, {cold['peak']:.0f} MiB; unchanged {warm:.2f} s")  # noqa: T201
    assert again.returncode == 0, again.stderr
    assert "stay as they are" in again.stdout
    assert cold["peak"] < LARGE_MEBIBYTES
    assert cold["seconds"] < BUSY * COLD
    assert warm < BUSY * WARM

"""How much memory boards need, the committed one and a large one; without torch."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from shiftcast.leaderboard.legend import MARKER
from support import REPOSITORY
from support.large import make_large

MEBIBYTES = 500
PEAK = """
import json, sys
from pathlib import Path

def tell():
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    loaded = {"torch": "torch" in sys.modules, "drawn": "matplotlib" in sys.modules}
    print(json.dumps({"peak": peak, **loaded}))
"""
CHECK = """
from shiftcast.cli import main
sys.argv = ["shiftcast", "leaderboard", "--check", "--sample", "1"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
tell()
"""
LARGE_MEBIBYTES = 2048
LARGEST_PAGE = 300_000  # bytes: code hosts do not render Markdown beyond 512 kB
LARGE = """
from shiftcast.estimators import official_estimators
from shiftcast.board import assemble as suite
from shiftcast.cli import main

chosen = official_estimators()
for slow in ("COT", "COTT", "LargestDrop-T1", "DensityRatioAC", "ImportanceWeighted"):
    chosen.pop(slow)
suite.official_estimators = lambda: dict(list(chosen.items())[:20])
sys.argv = ["shiftcast", "leaderboard", "--jobs", "2"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
tell()
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_checking_the_committed_board_takes_little_memory():
    said = run(CHECK)
    assert said["peak"] < MEBIBYTES
    assert said["together"] < MEBIBYTES
    assert not said["torch"]
    assert not said["drawn"]


def run(script, home=REPOSITORY):
    """Run a script in a process of its own; return what it says of itself."""
    command = [sys.executable, "-c", PEAK + script]
    done = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    together = 0.0
    while done.poll() is None:
        together = max(together, sum(map(proportional, family(done.pid))))
        time.sleep(0.5)
    said, why = done.communicate()
    assert done.returncode == 0, why
    return json.loads(said.splitlines()[-1]) | {"together": together}


def family(process):
    """Return a process and all that it has started."""
    children = []
    with suppress(OSError):  # it has ended
        for listed in Path(f"/proc/{process}/task").glob("*/children"):
            children += listed.read_text().split()
    return [process, *(one for child in children for one in family(child))]


def proportional(process):
    """Return the memory of a process in MiB, of what it shares its part."""
    with suppress(OSError):
        told = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in told if line.startswith("Pss:"))
    return 0.0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_board_of_a_hundred_runs_on_thirty_shifts_takes_little_memory_and_stays_as_it_is(tmp_path):
    workspace = make_large(tmp_path / "large")
    suite = workspace.suite("large")
    assert len(suite.scored_runs()) == 100
    assert len(suite.unfolded_targets()) == 30
    cold = run(LARGE, workspace.root)
    assert "100 of 100 runs complete" in (workspace.root / "leaderboard.md").read_text()
    pages = [path for path in workspace.root.rglob("*.md") if path.read_text().startswith(MARKER)]
    assert len(pages) > 30
    assert max(path.stat().st_size for path in pages) < LARGEST_PAGE
    command = [Path(sys.executable).parent / "shiftcast", "leaderboard"]
    again = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "stay as they are" in again.stdout
    assert cold["peak"] < LARGE_MEBIBYTES
    assert 0 < cold["together"] < LARGE_MEBIBYTES

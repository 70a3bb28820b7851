"""The committed board: how long it takes to check and how much memory it needs, without torch."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SECONDS = 5.0
MEBIBYTES = 500
CHECK = """
import json, sys
from pathlib import Path
from shiftcast.cli import main
sys.argv = ["shiftcast", "leaderboard", "--check"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
status = Path("/proc/self/status").read_text()
peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps({"peak": peak, "torch": "torch" in sys.modules, "drawn": "matplotlib" in sys.modules}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_checking_the_committed_board_takes_little_memory():
    _, said = check_board()
    assert said["peak"] < MEBIBYTES
    assert not said["torch"]
    assert not said["drawn"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.xfail(reason="five seconds need two quiet cores; busy ones take up to eight", strict=False)
def test_checking_the_committed_board_takes_seconds():
    fastest = min(check_board()[0] for _ in range(3))  # other work on the machine can only slow it down
    assert fastest < SECONDS, f"{fastest:.2f} s"


def check_board():
    """Run the command; return its seconds and what it says of itself."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    return seconds, json.loads(done.stdout.splitlines()[-1])

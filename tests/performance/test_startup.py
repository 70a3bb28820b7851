"""How long a person waits before anything happens."""

import subprocess
import sys
import time


def test_help_answers_within_half_a_second():
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv = ['shiftcast', '--help']; from shiftcast.cli import main; main()",
    ]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5, seconds

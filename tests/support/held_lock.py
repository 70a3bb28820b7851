"""Another process that holds a lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from shiftcast.util.locks import locked

with locked(Path(sys.argv[1]), None):
    print("held", flush=True)
    input()
"""


def hold_elsewhere(lock: Path) -> subprocess.Popen[str]:
    """Return a process that holds a lock until a line is sent to it."""
    command = [sys.executable, "-c", HOLD, str(lock)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process

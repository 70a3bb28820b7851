"""Command lines as people type them, run in the process of the test: one of their own takes a second."""

from __future__ import annotations

import io
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from shiftcast.cli import main


class Done(NamedTuple):
    """How a command ended; fields are named as those of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def typed(*arguments: object) -> Done:
    """Return how `shiftcast` with these arguments ends, and what it says; nothing it leaves is undone."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores Ctrl-C
    command = patch.object(sys, "argv", ["shiftcast", *map(str, arguments)])
    try:
        with command, redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    else:
        code = 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Done(code, out.getvalue(), err.getvalue())

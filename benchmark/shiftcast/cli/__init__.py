"""The command line. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from shiftcast.errors import ShiftcastError, StoppedError, in_words

TERMINATED = 128 + signal.SIGTERM


def main() -> NoReturn:
    """Run the command line.

    Exit code 0 done, 1 a check or run failed, 2 usage or bad input, 130 Ctrl-C, 143 SIGTERM; the last
    two leave what is finished, and say how to go on.
    """
    from shiftcast.cli.app import app

    terminated = False

    def terminate(*_: object) -> None:
        # A scheduler or `kill` asks the process to end: the work stops as with Ctrl-C.
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        app()
        code: object = 0
    except SystemExit as stop:  # how every command ends
        code = stop.code
    except ShiftcastError as error:
        code = _say(str(error), error.exit_code)
    except OSError as error:
        code = _say(f"{in_words(error)}; nothing was left half-written", 2)
    raise SystemExit(TERMINATED if terminated and code == StoppedError.exit_code else code)


def _say(message: str, code: int) -> int:
    from shiftcast.util.text import printable

    sys.stderr.write(f"error: {printable(message, 1_000_000)}\n")  # it may quote anything from a file
    return code

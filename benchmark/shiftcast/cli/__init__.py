"""The command line. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import sys

from shiftcast.errors import ShiftcastError


def main() -> None:
    """Run the command line: exit code 0 done, 1 a check or run failed, 2 usage or bad input, 130 Ctrl-C."""
    from shiftcast.cli.app import app

    try:
        app()
    except ShiftcastError as error:
        code = _say(str(error), error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        code = _say(f"{where}{error.strerror or error}; nothing was left half-written", 2)
    raise SystemExit(code)


def _say(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code

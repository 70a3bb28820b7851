"""The command line. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import sys

from shiftcast.errors import ShiftcastError


def main() -> None:
    """Run the command line: exit code 0 done, 1 a check failed, 2 usage or bad input."""
    from shiftcast.cli.app import app

    try:
        app(standalone_mode=True)
    except ShiftcastError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; what is finished stands, and the same command does the rest", 130)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}; nothing was left half-written", 2)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(code)

"""The command line. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import codecs
import io
import signal
import sys
from pathlib import Path
from typing import NoReturn

from shiftcast.errors import ShiftcastError, StoppedError, in_words

TERMINATED = 128 + signal.SIGTERM
PLAIN = {"–": "-", "—": "-", "…": "...", "±": "+-", "×": "x", "→": "->", "≥": ">=", "≤": "<="}
"""What is printed where an output's encoding lacks a character; others are written out, as \\u00e9."""


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
    _write_what_cannot_be_encoded()
    try:
        app([_expanded(argument) for argument in sys.argv[1:]])
        code: object = 0
    except SystemExit as stop:  # how every command ends
        code = stop.code
    except ShiftcastError as error:
        code = _say(str(error), error.exit_code)
    except MemoryError as error:
        code = _say(f"there is not enough memory: {error or 'no more is to be had'}", 2)
    except OSError as error:
        code = _say(f"{in_words(error)}; nothing was left half-written", 2)
    raise SystemExit(TERMINATED if terminated and code == StoppedError.exit_code else code)


def _expanded(argument: str) -> str:
    """Return an argument with the user's folder for the ~ of `--out=~/FILE`, which shells leave as it is."""
    start, _, path = argument.rpartition("=~/")
    return f"{start}={Path.home() / path}" if start else argument


def _write_what_cannot_be_encoded() -> None:
    """Let terminals and files of other encodings than UTF-8 show what they can of every text."""
    codecs.register_error("shiftcast", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="shiftcast")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101  output is encoded, never decoded
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(c, ascii(c)[1:-1]) for c in text), error.end


def _say(message: str, code: int) -> int:
    from shiftcast.util.text import printable

    sys.stderr.write(f"error: {printable(message, 1_000_000)}\n")  # it may quote anything from a file
    return code

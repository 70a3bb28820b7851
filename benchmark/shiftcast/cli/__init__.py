"""The command line. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import codecs
import io
import signal
import sys

from shiftcast.errors import ShiftcastError, in_words

TERMINATED = 128 + signal.SIGTERM
PLAIN = {"–": "-", "—": "-", "…": "...", "±": "+-", "×": "x", "→": "->", "≥": ">=", "≤": "<="}
"""What is printed where an output's encoding lacks a character; others are written out, as \\u00e9."""


class _Terminated(KeyboardInterrupt):
    """A scheduler or `kill` asked the process to end: the work stops as with Ctrl-C."""


def main() -> None:
    """Run the command line.

    Exit code 0 done, 1 a check or run failed, 2 usage or bad input, 130 Ctrl-C, 143 SIGTERM; the last
    two leave what is finished, and say how to go on.
    """
    from shiftcast.cli.app import app

    signal.signal(signal.SIGTERM, _terminate)
    _write_what_cannot_be_encoded()
    try:
        app()
    except ShiftcastError as error:
        terminated = isinstance(error.__cause__, _Terminated)
        code = _say(str(error), TERMINATED if terminated else error.exit_code)
    except MemoryError as error:
        code = _say(f"there is not enough memory: {error or 'no more is to be had'}", 2)
    except OSError as error:
        code = _say(f"{in_words(error)}; nothing was left half-written", 2)
    raise SystemExit(code)


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


def _terminate(*_: object) -> None:
    raise _Terminated


def _say(message: str, code: int) -> int:
    from shiftcast.util.text import printable

    sys.stderr.write(f"error: {printable(message, 1_000_000)}\n")  # it may quote what anybody wrote
    return code

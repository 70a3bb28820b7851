"""Text that people read."""

from __future__ import annotations

from datetime import UTC, datetime

SHARES = "shares: 1 is 100 %, 0.01 is one percentage point"
"""What JSON says of its units."""
NARROWEST = 1e-4
"""Half the narrowest interval of accuracies that is stated, 0.01 pp: they are printed to this."""


def now() -> str:
    """Return the time in UTC, to the second, as `2026-01-31T12:00:00Z`: such times sort as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def printable(text: str, most: int = 10_000) -> str:
    """Return foreign text so that printing it only shows it.

    Control characters and those that turn the direction of what follows are written out, and of long text
    the beginning is shown; lines are kept.
    """
    # Escape codes of a file name could rewrite what a terminal shows.
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text[:most])
    return shown if len(text) <= most else f"{shown}…"


BLANK = "–"
"""Printed where there is no value."""


def points(value: float, digits: int = 2) -> str:
    """Return a figure in percentage points with two decimals, or as many as asked for."""
    # Rounding to 1e-9 first drops bits in which machines may differ; adding 0 turns -0.0 into 0.0. NumPy
    # rounds its numbers in another way than Python, so that one figure could be printed as two.
    return BLANK if value != value else f"{round(round(float(value), 9), digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """Return a figure in percentage points with its sign; zero has none."""
    text = points(value, digits)
    return text if text in (BLANK, points(0.0, digits)) or text.startswith("-") else f"+{text}"


def score(value: float) -> str:
    """Return a difficulty score with three decimals."""
    return BLANK if value != value else f"{round(round(value, 9), 3) + 0.0:.3f}"


def percent(share: float) -> str:
    """Return a share in percent with two decimals."""
    return points(100 * share)


def ratio(value: float) -> str:
    """Return a plain number, such as a skill or a rank correlation, with two decimals."""
    return points(value)


def interval(share: float, low: float, high: float) -> str:
    """Return a share with its interval, in percent."""
    return BLANK if share != share else f"{percent(share)} [{percent(low)}, {percent(high)}]"


def accuracy(share: float, low: float, high: float) -> str:
    """Return an accuracy in percent, with its interval where it has one."""
    return interval(share, low, high) if low == low else percent(share)


def predicted(share: float, actual: float) -> str:
    """Return a predicted accuracy in percent and its error in pp."""
    return BLANK if share != share else f"{percent(share)} ({signed(100 * (share - actual))})"


def count(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural where it belongs."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"

"""Numbers and names as they stand in Markdown: two decimals, never -0.00, nothing injected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

BLANK = "–"
"""Printed where there is no value."""


def points(value: float) -> str:
    """Return a figure in percentage points with two decimals."""
    # Rounding to 1e-9 first drops bits in which machines may differ; adding 0 turns -0.0 into 0.0.
    return BLANK if value != value else f"{round(round(value, 9), 2) + 0.0:.2f}"


def signed(value: float) -> str:
    """Return a figure in percentage points with its sign; zero has none."""
    text = points(value)
    return text if text in (BLANK, "0.00") or text.startswith("-") else f"+{text}"


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


def model_name(row: Mapping[Any, Any], several: bool) -> str:
    """Return a model's name; its recipe is part of it where the board holds several."""
    name = escape(str(row["architecture"]))
    return f"{name} ({escape(str(row['recipe']))})" if several else name


def count(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural where it belongs."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def escape(text: str) -> str:
    """Return `text` so that Markdown shows it as it is: one line, no markup, no link.

    An underscore inside a word is left alone; it cannot start emphasis.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]{}|~$!#])", r"\\\1", line)
    line = re.sub(r"^(\d*)([-+.)])(?=\s|$)", r"\1\\\2", line)  # no list
    line = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)
    # GitHub turns bare addresses into links even without brackets.
    return re.sub(r"(?i)\bwww\.", lambda found: found.group()[:-1] + "&#46;", line.replace("://", "&#58;//"))


def table(headings: Mapping[str, str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    Parameters
    ----------
    headings
        Each column's heading and its alignment, "left" or "right".
    rows
        Cells as text that is safe to print.
    """
    # "pipe" is GitHub's table with the alignment that its "github" format leaves out.
    return str(
        tabulate(
            [list(row) for row in rows],
            headers=list(headings),
            tablefmt="pipe",
            colalign=tuple(headings.values()),
            disable_numparse=True,
        )
    )

"""Tables on terminals."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from shiftcast.cli.options import text_table

WIDEST = 10_000
"""Columns of a terminal that no table fills."""


def print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as it is: a narrow terminal wraps its lines, and no number is cut away."""
    width = console.width
    unbounded = console.options.update(width=WIDEST)
    console.width = max(width, console.measure(table, options=unbounded).maximum)
    console.print(table, soft_wrap=False)
    console.width = width


def _room() -> int | None:
    """Return the columns of the terminal, or those that COLUMNS states; None where there is neither."""
    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return shutil.get_terminal_size().columns if known else None


def in_lines(text: str) -> str:
    """Return a sentence in lines that fit the terminal, no word or path cut; whole where there is none."""
    room = _room()
    if room is None or "\n" in text:
        return text
    return textwrap.fill(text, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


FEWEST_LETTERS = 24
"""A last column of longer text is wrapped, to at least this many characters."""


def fitting_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table that fits the terminal; where there is none, whole, with a line for each row.

    If the last column holds long text, it is wrapped, and columns before it give way from the right;
    otherwise the last ones give way. A line below names them.
    """
    room = _room()
    if not rows or room is None:
        return text_table(rows)
    from tabulate import MIN_PADDING

    lengths = {key: max(len(key) + MIN_PADDING, *(len(str(row[key])) for row in rows)) for key in rows[0]}
    shown, last = list(lengths), next(reversed(lengths))
    wraps = lengths[last] > FEWEST_LETTERS
    least = lengths | ({last: FEWEST_LETTERS} if wraps else {})
    left_out: list[str] = []
    while sum(least[key] + 2 for key in shown) - 2 > room and len(shown) > 2:
        left_out.insert(0, shown.pop(-2 if wraps else -1))
    free = room - sum(lengths[key] + 2 for key in shown if key != last)
    cells = [
        {
            key: textwrap.fill(str(row[key]), max(free, 1)) if wraps and key == last else str(row[key])
            for key in shown
        }
        for row in rows
    ]
    note = f"\nnot shown at this width: {', '.join(left_out)}" if left_out else ""
    return text_table(cells) + note

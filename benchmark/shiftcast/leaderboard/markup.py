"""Markdown: the one writer of tables, and names that inject nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import pandas as pd

from shiftcast.board.columns import Column, Row


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


def table(columns: Sequence[Column], rows: Iterable[Row]) -> str:
    """Return a table of the board as Markdown; names and words in it are escaped."""
    headings = {
        escape(column.title) if column.named else column.title: "right" if column.figures else "left"
        for column in columns
    }
    return grid(headings, [[_cell(column, row) for column in columns] for row in rows])


def _cell(column: Column, row: Row) -> str:
    text = column.cell(row)
    shown = text if column.figures else escape(text)
    return f"**{shown}**" if column.strong is not None and column.strong(row) else shown


def grid(headings: Mapping[str, str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, without spaces that line its columns up: they would be a third of a page.

    Parameters
    ----------
    headings
        Each column's heading and its alignment, "left" or "right".
    rows
        Cells as text that is safe to print.
    """
    marks = ["--:" if side == "right" else ":--" for side in headings.values()]
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(marks)}|", *lines[1:]])


def once(frame: pd.DataFrame, key: str) -> list[Row]:
    """Return a table's rows, with a value that repeats the one above it left blank."""
    shown = frame[key].where(frame[key] != frame[key].shift(), "")
    return list(frame.assign(**{key: shown}).to_dict("records"))


def fold(summary: str, body: str) -> str:
    """Return Markdown that opens on request."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def pictures(captions: Mapping[str, str], links: Mapping[str, str], *names: str) -> list[str]:
    """Return the pictures of these names that there are, with their captions."""
    return [f"![{captions[name]}]({quote(links[name])})" for name in names if name in links]

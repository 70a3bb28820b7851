"""Numbers and names as they stand in Markdown: two decimals, never -0.00, nothing injected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate


def model_name(row: Mapping[Any, Any], several: bool) -> str:
    """Return a model's name; its recipe is part of it where the board holds several."""
    name = escape(str(row["architecture"]))
    return f"{name} ({escape(str(row['recipe']))})" if several else name


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

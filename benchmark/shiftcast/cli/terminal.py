"""Tables on terminals."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

WIDEST = 10_000
"""Columns of a terminal that no table fills."""


def print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as it is: a narrow terminal wraps its lines, and no number is cut away."""
    width = console.width
    unbounded = console.options.update(width=WIDEST)
    console.width = max(width, console.measure(table, options=unbounded).maximum)
    console.print(table, soft_wrap=False)
    console.width = width

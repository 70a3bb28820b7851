"""Tables of the board in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from shiftcast.board.build import Board
from shiftcast.board.columns import ESTIMATORS, Column, Row, pick
from shiftcast.util.text import percent

COVER = replace(
    ESTIMATORS["coverage"], short="cover", text=lambda row: percent(row["coverage"])
)  # fits 80 columns


def terminal_table(title: str, columns: Sequence[Column], rows: Iterable[Row]) -> Table:
    """Return a table of the board for the terminal; names in it are escaped."""
    table = Table(title=title, box=SIMPLE, title_justify="left", pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column(escape(column.label), no_wrap=True, justify="right" if column.figures else "left")
    for row in rows:
        table.add_row(*(escape(column.cell(row)) for column in columns))
    return table


def estimator_tables(board: Board) -> list[Table]:
    """Return the boards of estimators, one per kind of shift that there is."""
    columns = [
        *pick(ESTIMATORS, "track", "estimator", "mae", "bias", "skill"),
        COVER,
        *pick(ESTIMATORS, "cells"),
    ]
    return [
        terminal_table(f"{tables.kind.capitalize()} shifts", columns, tables.overall.to_dict("records"))
        for tables in board.kinds
        if len(tables.overall)
    ]

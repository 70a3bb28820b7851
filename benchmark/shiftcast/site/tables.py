"""Tables that a script makes sortable and filterable, and that can be read without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shiftcast.board.columns import Column, Row
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import choice, fold
from shiftcast.util.text import BLANK

Cells = Mapping[str, Callable[[Row], Child]]
ALL = ""
"""The option of a filter that hides nothing."""


@dataclass(frozen=True)
class Filter:
    """A choice above a table that hides rows.

    Parameters
    ----------
    label
        What is chosen.
    key
        Name of the row's attribute that it is compared with.
    options
        Values and what people read; "" hides nothing.
    chosen
        The value at first.
    """

    label: str
    key: str
    options: Sequence[tuple[str, str]]
    chosen: str = ALL


def filter_of(label: str, key: str, values: Sequence[str]) -> Filter:
    """Return a filter over every value that occurs, in the order given."""
    return Filter(label, key, [(ALL, "all"), *((value, value) for value in dict.fromkeys(values))])


def table(
    name: str,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    cells: Cells | None = None,
    keys: Mapping[str, Callable[[Row], str]] | None = None,
    filters: Sequence[Filter] = (),
    search: str = "",
    whole: bool = False,
) -> Html:
    """Return a table with its controls.

    Parameters
    ----------
    name
        Names the table: its id is `table-NAME`.
    caption
        What it holds, for people who cannot see what stands around it.
    columns, rows
        What it shows.
    cells
        By a column's key, what stands in its cells in place of text: links.
    keys
        Attributes of a row that filters, here or elsewhere on the page, compare with.
    filters
        Choices of its own.
    whole
        Whether the page is as long as the table, which else scrolls in a frame.
    search
        Label of a field that finds text in rows; none when empty.
    """
    given = dict(keys or {})
    chosen = {one.key: one.chosen for one in filters if one.chosen}
    head = tag("tr", *(_head(column) for column in columns))
    body = [_row(columns, row, cells or {}, given, chosen) for row in rows]
    controls: list[Html] = [
        choice(one.label, one.key, _first(one.options, one.chosen), data_filter=name) for one in filters
    ]
    if search:
        field = tag("input", type="search", data_search=name, autocomplete="off", spellcheck="false")
        controls.append(tag("label", tag("span", search), field))
    controls.append(tag("output", _count(len(rows)), class_="count", data_count=name, aria_live="polite"))
    made = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), id=f"table-{name}")
    scroll = tag(
        "div",
        made,
        class_="scroll whole" if whole else "scroll",
        role="region",
        aria_label=caption,
        tabindex="0",
    )
    said = [joined_help(column) for column in columns if column.meaning]
    legend = fold("What the columns mean", tag("dl", *said, class_="legend")) if said else None
    return tag("div", tag("div", *controls, class_="controls"), scroll, legend, class_="data")


def joined_help(column: Column) -> Html:
    """Return a column's entry in the legend."""
    return tag("div", tag("dt", column.label), tag("dd", column.meaning))


def _first(options: Sequence[tuple[str, str]], chosen: str) -> list[tuple[str, str]]:
    """Put the chosen option first, which is what a choice shows when a page opens."""
    return sorted(options, key=lambda option: option[0] != chosen)


def _count(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _head(column: Column) -> Html:
    return tag(
        "th",
        column.label,
        scope="col",
        class_="number" if column.figures else None,
        data_first="descending" if column.large_first else None,
    )


def _row(
    columns: Sequence[Column],
    row: Row,
    cells: Cells,
    keys: Mapping[str, Callable[[Row], str]],
    chosen: Mapping[str, str],
) -> Html:
    attributes = {f"data_{key}": read(row) for key, read in keys.items()}
    hidden = any(attributes.get(f"data_{key}", value) != value for key, value in chosen.items())
    return tag("tr", *(_cell(column, row, cells) for column in columns), hidden=hidden, **attributes)


def _cell(column: Column, row: Row, cells: Cells) -> Html:
    if not column.figures:
        return tag("td", cells.get(column.key, column.cell)(row))
    number = column.number(row)
    known = number == number
    return tag("td", column.cell(row) if known else BLANK, data_v=f"{number:.7g}" if known else "")

"""A page for each estimator: how far off it is on each shift, and how often its intervals hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shiftcast.board.build import Board
from shiftcast.board.columns import ERRORS, ESTIMATORS, INTERVALS, Column, Row, model_columns, number, pick
from shiftcast.board.words import KINDS, TRACKS
from shiftcast.site.captions import chart
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import (
    SCALES,
    choice,
    facts,
    families,
    filters,
    kind_value,
    page,
    paragraph,
    section,
    shift_value,
    tiles,
)
from shiftcast.site.links import Names
from shiftcast.site.suite import Section
from shiftcast.site.tables import filter_of, table
from shiftcast.util.text import count, percent, points, signed


def estimator_pages(suite: Section) -> dict[str, str]:
    """Return the page of every estimator by its path below the suite's folder."""
    return {f"estimators/{file}.html": _page(suite, name) for name, file in suite.names.estimators.items()}


def _page(suite: Section, name: str) -> str:
    board = suite.board
    named = {tables.kind: tables.by_name.get(name) for tables in board.kinds}
    found: dict[str, Row] = {kind: row for kind, row in named.items() if row and row["mae"] == row["mae"]}
    own = board.by_shift
    own = own[(own["estimator"] == name) & own["mae"].notna()]
    rows = own.sort_values(["kind", "mae"], ascending=[True, False]).to_dict("records")
    blocks: list[Child] = [
        tag("h1", name),
        paragraph(_headline(name, found), class_="lead"),
        tiles(_tiles(found)),
        facts(_facts(suite, name)),
    ]
    if rows:
        errors = _by_shift(rows, suite.names)
        blocks.append(section("Errors by shift", _filters(board, rows), _charts(), errors))
        blocks.append(_by_model(suite, name))
    data = {"page": "estimator", "estimator": name, "shifts": [_numbers(row) for row in rows]}
    return page(name, blocks, depth=2, trail=suite.trail, data=data, scripts=[suite.data])


def _headline(name: str, found: dict[str, Row]) -> str:
    if not found:
        return f"{name} predicts no labelled shift of this suite."
    said = []
    for kind, row in found.items():
        text = f"on {kind} shifts it misses by {points(row['mae'])} pp on average"
        if row["nominal"]:
            held = percent(row["coverage"])
            text += f", and its intervals, which promise {row['nominal']} %, hold {held} % of the time"
        said.append(text)
    sentence = "; ".join(said)
    return f"{name}: {sentence}."


def _tiles(found: dict[str, Row]) -> list[tuple[str, str, str]]:
    figures: list[tuple[str, str, str]] = []
    for kind, row in found.items():
        rank = number(row["rank"])
        place = f"#{rank:.0f} of track {row['track']}" if rank == rank else "unranked: lacks cells"
        figures.append((f"error on {kind}", f"{points(row['mae'])} pp", place))
        figures.append((f"bias on {kind}", f"{signed(row['bias'])} pp", _leaning(row["bias"])))
    return figures


def _leaning(bias: float) -> str:
    return "optimistic" if bias > 0 else "pessimistic" if bias < 0 else "neither way"


def _facts(suite: Section, name: str) -> dict[str, Child]:
    rows = suite.scores.table[suite.scores.table["estimator"] == name]
    chosen = "; ".join(sorted({str(on).replace(";", ", ") for on in rows["selected_on"] if on}))
    track = str(rows["track"].iloc[0])
    return {
        "track": f"{track}: {TRACKS[track]}",
        "comes from": suite.citations.get(name, ""),
        "chosen by looking at": chosen,
        "rows": count(len(rows[rows["protocol"] == "official"]), "prediction"),
    }


def _by_shift(rows: list[dict[Any, Any]], names: Names) -> Html:
    return table(
        "errors",
        "Errors and coverage on every shift",
        [
            *(Column("shift", "shift"), Column("kind", "kind")),
            *pick(ESTIMATORS, *ERRORS, "floor", *INTERVALS, "cells"),
        ],
        rows,
        cells=names.cells,
        keys={"shift": lambda row: shift_value(row["shift"]), "kind": lambda row: kind_value(row["kind"])},
        search="Find in shifts",
    )


def _filters(board: Board, rows: list[dict[Any, Any]]) -> Html:
    kinds = {row["kind"] for row in rows}
    shifts = [(kind_value(kind), f"all {kind}") for kind in KINDS.values() if kind in kinds]
    return filters(
        "Filters of charts and tables",
        choice("Shift", "shift", [*shifts, *((shift_value(row["shift"]), row["shift"]) for row in rows)]),
        families(board.scores.runs),
        choice("Axes", "scale", SCALES),
    )


def _charts() -> Html:
    return tag("div", chart("predicted"), tag("div", chart("errors"), chart("coverage")), class_="pair")


def _numbers(row: Row) -> dict[str, Any]:
    keys = ("mae", "bias", "floor", "coverage", "width", "conformal_coverage", "conformal_width")
    values = {key: number(row[key]) for key in keys}
    return {
        "shift": row["shift"],
        "kind": row["kind"],
        "nominal": row["nominal"],
        "conformalNominal": row["conformal_nominal"],
        **{key.replace("conformal_c", "conformalC").replace("conformal_w", "conformalW"): _short(value)
           for key, value in values.items()},
    }  # fmt: skip


def _short(value: float) -> float | None:
    return None if value != value else round(value, 4) + 0.0


def _by_model(suite: Section, name: str) -> Html:
    board = suite.board
    family = dict(zip(board.models.overall["architecture"], board.models.overall["family"], strict=True))
    rows = [
        {**row, "kind": tables.kind, "family": family[row["architecture"]]}
        for tables in board.kinds
        for row in tables.by_model[tables.by_model["estimator"] == name].sort_values("mae").to_dict("records")
    ]
    made = table(
        "by-model",
        "Errors on every model",
        [
            *pick(model_columns(board), "model", "family"),
            Column("kind", "kind"),
            replace(ESTIMATORS["mae"], help="mean over shifts of the kind"),
            replace(ESTIMATORS["bias"], help=""),
        ],
        rows,
        cells=suite.names.cells,
        keys={"of": lambda row: row["kind"], "family": lambda row: str(row["family"])},
        filters=[filter_of("Kind", "of", list(KINDS.values()))],
        search="Find in models",
    )
    return section("Errors by model", made)

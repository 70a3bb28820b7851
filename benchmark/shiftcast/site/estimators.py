"""A page for each estimator: how far off it is on each shift, and how often its intervals hold."""

from __future__ import annotations

from typing import Any

import pandas as pd

from shiftcast.board.estimators import estimator_board, kept, kind_rows
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.figures.board_data import KINDS
from shiftcast.site import columns as shown
from shiftcast.site.captions import chart
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import SCALES, choice, facts, page, paragraph, section, tiles
from shiftcast.site.links import Names, link
from shiftcast.site.rows import estimator_shifts, kind_value, shift_value
from shiftcast.site.suite import Section
from shiftcast.site.tables import ALL, Column, Row, filter_of, table
from shiftcast.util.text import count, percent, points, signed


def estimator_pages(suite: Section) -> dict[str, str]:
    """Return the page of every estimator by its path below the suite's folder."""
    return {f"estimators/{file}.html": _page(suite, name) for name, file in suite.names.estimators.items()}


def _page(suite: Section, name: str) -> str:
    scores = suite.scores
    boards = {kind: _board_row(scores, natural, name) for natural, kind in KINDS.items()}
    found = {kind: row for kind, row in boards.items() if row is not None}
    own = estimator_shifts(scores)
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
        blocks.append(section("Errors by shift", _filters(scores, rows), _charts(), errors))
        blocks.append(_by_model(suite, name))
    data = {"page": "estimator", "estimator": name, "shifts": [_numbers(row) for row in rows]}
    return page(name, blocks, depth=2, trail=suite.trail, data=data, scripts=[suite.data])


def _board_row(scores: SuiteScores, natural: bool, name: str) -> Row | None:
    board = estimator_board(scores, natural)
    own = board[board["estimator"] == name]
    return own.iloc[0].to_dict() if len(own) and own["mae"].notna().iloc[0] else None


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
        rank = shown.number(row["rank"])
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
        "track": f"{track}: {shown.TRACKS[track]}",
        "comes from": suite.citations.get(name, ""),
        "chosen by looking at": chosen,
        "rows": count(len(rows[rows["protocol"] == "official"]), "prediction"),
    }


def _by_shift(rows: list[dict[Any, Any]], names: Names) -> Html:
    columns = [
        Column("shift", lambda row: link(row["shift"], names.shift(row["shift"]))),
        Column("kind", lambda row: row["kind"]),
        *(column for column in shown.error_columns() if column.heading in ("MAE pp", "bias pp", "RMSE pp")),
        Column("sampling noise pp", lambda row: points(row["floor"]), lambda row: row["floor"],
               "the MAE of an estimator that knows each true accuracy"),
        *shown.coverage_columns(),
        Column("cells", lambda row: f"{row['cells']}/{row['all_cells']}", lambda row: row["cells"],
               "models that it predicts, of all", high_first=True),
    ]  # fmt: skip
    return table(
        "errors",
        "Errors and coverage on every shift",
        columns,
        rows,
        keys={"shift": lambda row: shift_value(row["shift"]), "kind": lambda row: kind_value(row["kind"])},
        search="Find in shifts",
    )


def _filters(scores: SuiteScores, rows: list[dict[Any, Any]]) -> Html:
    kinds = {row["kind"] for row in rows}
    families = sorted(set(scores.runs[scores.runs["status"] == "ok"]["family"]))
    shifts = [(kind_value(kind), f"all {kind}") for kind in KINDS.values() if kind in kinds]
    return tag(
        "div",
        choice("Shift", "shift", [*shifts, *((shift_value(row["shift"]), row["shift"]) for row in rows)]),
        choice("Family", "family", [(ALL, "all"), *((name, name) for name in families)]),
        choice("Axes", "scale", SCALES),
        class_="controls filters",
        role="group",
        aria_label="Filters of charts and tables",
    )


def _charts() -> Html:
    drawn = [
        chart("predicted"),
        chart("errors"),
        chart("coverage"),
    ]
    return tag("div", drawn[0], tag("div", *drawn[1:]), class_="pair")


def _numbers(row: Row) -> dict[str, Any]:
    keys = ("mae", "bias", "floor", "coverage", "width", "conformal_coverage", "conformal_width")
    values = {key: shown.number(row[key]) for key in keys}
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
    rows = pd.concat([kept(kind_rows(suite.scores, natural)) for natural in KINDS])
    own = rows[rows["estimator"] == name]
    means = own.groupby(["architecture", "recipe", "family", "natural", "group"])[
        ["absolute", "error"]
    ].mean()
    by_kind = means.groupby(level=["architecture", "recipe", "family", "natural"]).mean().reset_index()
    names = suite.names
    columns = [
        Column("model", lambda row: link(names.model_title(row["architecture"], row["recipe"]),
                                         names.model((row["architecture"], row["recipe"])))),
        Column("family", lambda row: row["family"]),
        Column("kind", lambda row: KINDS[bool(row["natural"])]),
        Column("MAE pp", lambda row: points(row["absolute"]), lambda row: row["absolute"],
               "mean over shifts of the kind"),
        Column("bias pp", lambda row: signed(row["error"]), lambda row: row["error"]),
    ]  # fmt: skip
    made = table(
        "by-model",
        "Errors on every model",
        columns,
        by_kind.sort_values(["natural", "absolute"], ascending=[False, True]).to_dict("records"),
        keys={
            "of": lambda row: KINDS[bool(row["natural"])],
            "family": lambda row: str(row["family"]),
        },
        filters=[filter_of("Kind", "of", list(KINDS.values()))],
        search="Find in models",
    )
    return section("Errors by model", made)

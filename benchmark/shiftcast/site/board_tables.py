"""The tables of a suite's board: estimators, models, shifts, predictions and what others report."""

from __future__ import annotations

from typing import Any

import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.columns import (
    ERRORS,
    ESTIMATORS,
    INTERVALS,
    REPORTED_SETS,
    WITHHELD,
    Column,
    model_column,
    model_columns,
    pick,
    shift_columns,
)
from shiftcast.board.words import MARK
from shiftcast.site.html import Html, joined, tag
from shiftcast.site.layout import fold, kind_value, paragraph, section, shift_value
from shiftcast.site.links import Names
from shiftcast.site.tables import table


def estimators_section(board: Board, names: Names) -> list[Html]:
    """Return the table of estimators, on all shifts of a kind and on each; none without rows."""
    rows = estimator_rows(board)
    if not rows:
        return []
    links = names.cells
    marked = {
        "estimator": lambda row: joined(links["estimator"](row), f" {MARK}" if row["selected"] else None)
    }
    made = table(
        "estimators",
        "Estimators, by error on the chosen shifts",
        [
            *pick(ESTIMATORS, "estimator", "track", "rank", *ERRORS, "worst", "skill", "tau", *INTERVALS),
            Column("what", "shift"),
        ],
        rows,
        cells={**links, **marked},
        keys={"shift": lambda row: row["about"], "track": lambda row: row["track"]},
        search="Find in estimators",
        whole=True,
    )
    return [
        section(
            "Estimators",
            paragraph(
                "How far predicted lies from actual accuracy. Natural and synthetic shifts are never "
                "averaged together. Tracks are ranked apart, by what an estimator needs to know."
            ),
            made,
            *_marked(board),
        )
    ]


def estimator_rows(board: Board) -> list[dict[Any, Any]]:
    """Return estimators on all shifts of each kind, then on each shift, as rows of one table.

    `about` says which, in the value of a choice of shifts; `what` says it in words.
    """
    rows = [
        {**row, "about": kind_value(tables.kind), "what": f"mean of {tables.shifts} {tables.kind}"}
        for tables in board.kinds
        for row in tables.overall.to_dict("records")
    ]
    single = board.by_shift.sort_values(["kind", "shift", "track", "mae", "estimator"])
    return rows + [
        {"rank": pd.NA, **row, "about": shift_value(row["shift"]), "what": row["shift"]}
        for row in single.to_dict("records")
    ]


def _marked(board: Board) -> list[Html]:
    chosen = board.synthetic.selected | board.natural.selected
    said = ", ".join(f"{name} ({on})" for name, on in sorted(chosen.items()))
    return (
        [
            paragraph(
                f"{MARK} Chosen with labels of the sets in brackets, or added after they were opened: "
                f"{said}.",
                class_="note",
            )
        ]
        if said
        else []
    )


def models_section(board: Board, names: Names) -> list[Html]:
    """Return the table of models; none without runs."""
    frame, columns = board.models.overall, model_columns(board)
    if frame.empty:
        return []
    shown = [
        "model",
        "family",
        "rank",
        "parameters",
        "runs",
        "id_accuracy",
        "score",
        "predicted",
        "robustness",
    ]
    shown += ["synthetic"] if frame["synthetic"].notna().any() else []
    rows = frame.to_dict("records")
    made = table(
        "models",
        "Models, by accuracy under shift",
        pick(columns, *shown),
        rows,
        cells=names.cells,
        keys={"family": lambda row: str(row["family"])},
        search="Find in models",
    )
    said = "A model is an architecture trained by a recipe, with all its seeds. "
    said += f"Predictions are those of {board.headline}."
    reasons = [tag("li", f"{columns['model'].cell(row)}: {row['reason']}") for row in rows if row["reason"]]
    unranked = [fold(f"Not ranked: {len(reasons)}", tag("ul", *reasons))] if reasons else []
    return [section("Models", paragraph(said), made, *unranked)]


def shifts_section(board: Board, names: Names) -> list[Html]:
    """Return the table of labelled shifts; none without any."""
    if not board.shifts:
        return []
    made = table(
        "shifts",
        "Shifts, with how models do on them",
        shift_columns(board),
        board.shifts,
        cells=names.cells,
        keys={"shift": lambda row: shift_value(row["shift"]), "kind": lambda row: kind_value(row["kind"])},
        search="Find in shifts",
    )
    return [section("Shifts", made)]


def withheld_section(board: Board, names: Names, target: str = "") -> list[Html]:
    """Return what is predicted where labels are withheld, on one target or on all; none where none are."""
    frame = board.models.withheld
    frame = frame[frame["target"] == target] if target and len(frame) else frame
    if frame.empty:
        return []
    made = table(
        "withheld",
        "Predictions for shifts whose labels are withheld",
        [
            WITHHELD["target"],
            model_column(names.several),
            *pick(WITHHELD, "n", "predicted", "lowest", "highest"),
        ],
        frame.to_dict("records"),
        cells=names.cells,
        search="Find in withheld",
    )
    said = f"Their labels are withheld; predicted by {board.headline}."
    return [section("Labels withheld", paragraph(said), made)]


def reported_section(board: Board) -> list[Html]:
    """Return the table of self-reported models; none without any."""
    frame = board.scores.reported
    frame = frame[frame["stale"] == ""] if len(frame) else frame
    if frame.empty:
        return []
    frame = frame.assign(share=(frame["right"].astype("Float64") / frame["n"]).astype(float))
    made = table(
        "reported",
        "Self-reported models",
        REPORTED_SETS,
        frame.sort_values(["architecture", "seed", "set"]).to_dict("records"),
        keys={"family": lambda row: str(row["family"])},
        search="Find in self-reported",
    )
    said = (
        "Trained elsewhere: accuracies follow from imported logits; family and note are stated by their "
        "authors. "
        "They are not ranked, and no other figure on this site uses them."
    )
    return [section("Self-reported models", paragraph(said), made)]

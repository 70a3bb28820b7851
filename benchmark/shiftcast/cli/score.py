"""`shiftcast score`: what somebody's estimator does on the committed predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shiftcast.board.candidate import Candidate, default_suite, load_estimator, score_candidate
from shiftcast.board.words import KINDS
from shiftcast.errors import InvalidInputError
from shiftcast.testing import check_estimator
from shiftcast.util.text import points, signed
from shiftcast.workspace import Workspace

LEGEND = """\
Difference: MAE of yours minus theirs, in pp, where both answer; below 0 yours is better. The 95 %
intervals are over images and architectures, for these shifts alone; * marks those without 0, not
adjusted for the number of comparisons."""


def score_estimator(
    workspace: Workspace, where: str, suite: str | None, results: Path | None, as_json: bool, contract: bool
) -> None:
    """Check an estimator against the contract, run it, and print its row and its paired differences.

    Raises
    ------
    InvalidInputError
        If it cannot be loaded or scored; the message says whether it breaks the contract, and where.
    """
    estimator = load_estimator(where)
    name = where.rpartition(":")[2]
    console = Console(stderr=True)
    breach = ""
    if contract:
        try:
            check_estimator(estimator)
        except AssertionError as failure:
            breach = str(failure)
    folder = results or workspace.results()
    chosen = workspace.suite(suite) if suite else default_suite(workspace, folder)
    if suite and results is None:
        folder = workspace.results(chosen)
    try:
        with console.status(f"Scoring {name} and ours on {chosen.name} …"):
            found = score_candidate(workspace, chosen, folder, estimator, name)
    except InvalidInputError as error:
        verdict = f"\nIt breaks the contract of estimators: {breach}" if breach else ""
        raise InvalidInputError(f"{error}{verdict}") from error
    if as_json:
        print(json.dumps(_answer(found, breach), indent=1, sort_keys=True))  # noqa: T201
        return
    _print(found, breach, contract)


def _own(found: Candidate) -> dict[str, dict[str, Any]]:
    """Return the candidate's figures by kind of shift: plain means over cells as on the board."""
    figures: dict[str, dict[str, Any]] = {}
    rows = found.table[(found.table["estimator"] == found.name) & (found.table["protocol"] == "official")]
    rows = rows[rows["actual"].notna()].astype({"abstains": bool})
    for natural, kind in KINDS.items():
        own = rows[rows["natural"].astype(bool) == natural]
        used = own[~own["abstains"]]
        if used.empty:
            continue
        error = 100 * (used["predicted"].astype(float) - used["actual"].astype(float))
        inside = (used["low"] <= used["actual"]) & (used["actual"] <= used["high"])
        columns = used.assign(mae=error.abs(), bias=error, coverage=100.0 * inside)
        figures_of, cell = ["mae", "bias", "coverage"], ["architecture", "recipe", "group"]
        cells = columns.groupby([*cell, "target"])[figures_of].mean().groupby(level=cell).mean()
        board = cells.groupby(level="group").mean().mean()
        figures[kind] = {
            **{name: round(float(board[name]), 4) for name in figures_of},
            "rows": len(used),
            "abstained": len(own) - len(used),
            "shifts": int(used["group"].nunique()),
            "seconds": round(float(own["seconds"].mean()), 6),
            "nominal": round(100 * float(used["nominal"].iloc[0]), 4),
        }
    return figures


def _answer(found: Candidate, breach: str) -> dict[str, Any]:
    pairs = found.pairs.round(4).astype(object).where(found.pairs.notna(), None)
    return {
        "estimator": found.name,
        "suite": found.suite.name,
        "contract": breach or "kept",
        "figures": _own(found),
        "differences": pairs.to_dict("records"),
        "skipped": dict(found.skipped),
    }


def _print(found: Candidate, breach: str, contract: bool) -> None:
    console = Console(highlight=False)
    track = found.table.loc[found.table["estimator"] == found.name, "track"].iloc[0]
    console.print(f"{escape(found.name)} ({track}) on {found.suite.name}", style="bold")
    if breach:
        console.print(f"It breaks the contract; the board would not list it: {escape(breach)}", style="red")
    elif contract:
        console.print("It keeps the contract of estimators (shiftcast.testing.check_estimator).")
    for kind, row in _own(found).items():
        console.print(f"\n{kind.capitalize()} shifts ({row['shifts']}): {_in_words(row)}", soft_wrap=True)
        console.print(_pair_table(found, kind, track))
    for reason, count in found.skipped.items():
        console.print(f"skipped {count} rows: {escape(reason)}")
    console.print(LEGEND, style="dim")


def _in_words(row: dict[str, Any]) -> str:
    abstained = f", abstains on {row['abstained']}" if row["abstained"] else ""
    return (
        f"MAE {points(row['mae'])} pp, bias {signed(row['bias'])} pp, "
        f"coverage {row['coverage']:.1f} of {row['nominal']:g} %, {row['rows']} rows{abstained}"
    )


def _pair_table(found: Candidate, kind: str, track: str) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    for heading in ("track", "estimator", "MAE", "yours", "difference", "95 %", "sets"):
        left = heading in ("track", "estimator")
        table.add_column(heading, no_wrap=True, justify="left" if left else "right")
    pairs = found.pairs[found.pairs["kind"] == kind].sort_values(["track", "rival_mae", "rival"])
    for row in pairs.to_dict("records"):
        apart = not pd.isna(row["low"]) and not row["low"] <= 0 <= row["high"]
        table.add_row(
            row["track"],
            escape(row["rival"]),
            points(row["rival_mae"]),
            points(row["mae"]),
            signed(row["difference"]) + ("*" if apart else " "),
            f"{signed(row['low'])}, {signed(row['high'])}",
            str(row["sets"]),
            style="bold" if row["track"] == track else None,
        )
    return table

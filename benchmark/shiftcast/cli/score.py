"""`shiftcast score`: a user's estimator on the stored predictions, beside the official ones."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import YOUR_MODEL, AsJson, Results, example, workspace_of
from shiftcast.errors import InvalidInputError
from shiftcast.util.text import SHARES, points, printable, signed

if TYPE_CHECKING:
    from rich.table import Table

    from shiftcast.board.candidate import Candidate
    from shiftcast.estimators import Estimator

LEGEND = """\
diff.: MAE of yours minus theirs, in pp, where both answer; below 0 yours is better. The 95 % \
intervals are over images and architectures, for these shifts only. * marks intervals without 0, \
not adjusted for the number of comparisons."""

SCHEMA = 2
"""Of the JSON. 1 had percentage points."""
POINTS = ("mae", "bias", "coverage", "nominal")
PAIR_POINTS = ("mae", "rival_mae", "difference", "low", "high")
"""Figures that are shares in JSON."""

app = typer.Typer()


@app.command(rich_help_panel=YOUR_MODEL, epilog=example("score my_estimator.py:MyEstimator controls-line"))
def score(
    context: typer.Context,
    estimator: Annotated[
        str, typer.Argument(help="Class of the estimator, as FILE.py:Class or package.module:Class.")
    ],
    suite: Annotated[
        str | None, typer.Argument(help="Name of a suite [default: that with the most architectures].")
    ] = None,
    as_json: AsJson = False,
    contract: Annotated[
        bool, typer.Option("--check/--no-check", help="Check the contract of estimators first.")
    ] = True,
    results: Results = None,
) -> None:
    """Score your estimator on the stored predictions.

    It is compared with the official estimators. Neither images nor torch are needed.
    """
    from shiftcast.board.candidate import default_suite, load_estimator, score_candidate
    from shiftcast.cli.bars import Steps, doing

    workspace = workspace_of(context)
    candidate, name = load_estimator(estimator), estimator.rpartition(":")[2]
    breach = _breach(candidate) if contract else ""
    folder = results or workspace.results()
    chosen = workspace.suite(suite) if suite else default_suite(workspace, folder)
    if suite and results is None:
        folder = workspace.results(chosen)
    try:
        with doing() as say:
            say(f"Scoring {name} on {chosen.name} …")
            steps = Steps(say, lambda what: f"Scoring {what} on {chosen.name}")
            scored = score_candidate(workspace, chosen, folder, candidate, name, steps)
    except InvalidInputError as error:
        verdict = f"\nIt breaks the contract of estimators: {breach}" if breach else ""
        raise InvalidInputError(f"{error}{verdict}") from error
    if as_json:
        typer.echo(json.dumps(_answer(scored, breach), indent=1, sort_keys=True))
        return
    _print(scored, breach, contract)


def _breach(estimator: Estimator) -> str:
    """Return where an estimator breaks the contract; empty if it keeps it."""
    from shiftcast.testing import check_estimator

    try:
        check_estimator(estimator)
    except AssertionError as failure:
        return str(failure)
    return ""


def _figures(scored: Candidate) -> dict[str, dict[str, Any]]:
    """Return the candidate's figures by kind of shift: plain means over cells as on the board."""
    from shiftcast.board.words import KINDS

    figures: dict[str, dict[str, Any]] = {}
    rows = scored.table[(scored.table["estimator"] == scored.name) & (scored.table["protocol"] == "official")]
    rows = rows[rows["actual"].notna()].astype({"abstains": bool})
    for natural, kind in KINDS.items():
        of_kind = rows[rows["natural"].astype(bool) == natural]
        used = of_kind[~of_kind["abstains"]]
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
            "abstained": len(of_kind) - len(used),
            "shifts": int(used["group"].nunique()),
            "seconds": round(float(of_kind["seconds"].mean()), 6),
            "nominal": round(100 * float(used["nominal"].iloc[0]), 4),
        }
    return figures


def _answer(scored: Candidate, breach: str) -> dict[str, Any]:
    """Return the figures with shares for percentage points, as `shiftcast estimate` has them."""
    shares = scored.pairs.assign(**{name: scored.pairs[name].astype(float) / 100 for name in PAIR_POINTS})
    pairs = shares.round(6).astype(object).where(shares.notna(), None)
    figures = {
        kind: {name: round(value / 100, 6) if name in POINTS else value for name, value in row.items()}
        for kind, row in _figures(scored).items()
    }
    return {
        "schema": SCHEMA,
        "units": SHARES,
        "estimator": scored.name,
        "suite": scored.suite.name,
        "contract": breach or "kept",
        "figures": figures,
        "differences": pairs.to_dict("records"),
        "skipped": dict(scored.skipped),
    }


def _print(scored: Candidate, breach: str, contract: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    from shiftcast.cli.terminal import print_whole

    console = Console(highlight=False, emoji=False)
    track = scored.table.loc[scored.table["estimator"] == scored.name, "track"].iloc[0]
    console.print(f"{escape(scored.name)} ({track}) on {scored.suite.name}", style="bold")
    if breach:
        console.print(
            f"It breaks the contract; the board would not list it: {escape(printable(breach))}", style="red"
        )
    elif contract:
        console.print("It keeps the contract of estimators (shiftcast.testing.check_estimator).")
    for kind, row in _figures(scored).items():
        console.print(f"\n{kind.capitalize()} shifts ({row['shifts']}): {_in_words(row)}", soft_wrap=True)
        print_whole(console, _pair_table(scored, kind, track))
    for reason, rows in scored.skipped.items():
        console.print(f"skipped {rows} rows: {escape(printable(reason))}")
    console.print(LEGEND, style="dim")


def _in_words(row: dict[str, Any]) -> str:
    abstained = f", abstains on {row['abstained']}" if row["abstained"] else ""
    return (
        f"MAE {points(row['mae'])} pp, bias {signed(row['bias'])} pp, "
        f"coverage {row['coverage']:.1f} of {row['nominal']:g} %, {row['rows']} rows{abstained}"
    )


def _pair_table(scored: Candidate, kind: str, track: str) -> Table:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    for heading in ("track", "estimator", "MAE", "yours", "diff.", "95 %", "sets"):
        left = heading in ("track", "estimator")
        table.add_column(heading, no_wrap=True, justify="left" if left else "right")
    pairs = scored.pairs[scored.pairs["kind"] == kind].sort_values(["track", "rival_mae", "rival"])
    for row in pairs.to_dict("records"):
        apart = not math.isnan(row["low"]) and not row["low"] <= 0 <= row["high"]
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

"""What commands print and write when their work is done."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from shiftcast.board.assemble import score_suite
from shiftcast.board.build import build_board
from shiftcast.cards.suite import Suite
from shiftcast.cli.tables import estimator_tables
from shiftcast.cli.terminal import print_whole
from shiftcast.engines.budget import NOT_BEGUN
from shiftcast.engines.contract import Summary
from shiftcast.leaderboard.generate import generate, tidy_csv
from shiftcast.leaderboard.pages import write
from shiftcast.runs.layout import BOARD_PAGE
from shiftcast.util.files import write_atomic
from shiftcast.util.text import count, printable
from shiftcast.workspace import Workspace


def report(workspace: Workspace, suite: Suite, results: Path, summary: Summary) -> None:
    """Score a suite, print its estimator board and write its report to the ignored outputs folder."""
    console = Console(emoji=False)
    scores = score_suite(workspace, suite, results, summary.edition)
    board = build_board(scores)
    console.print(f"\n{suite.title}", style="bold", highlight=False, markup=False, soft_wrap=True)
    for table in estimator_tables(board):
        print_whole(console, table)
    for reason, rows in scores.skipped.groupby("reason"):
        names = sorted(set(rows["estimator"]))
        text = f"{count(len(names), 'estimator')} skipped, {reason}: {', '.join(names)}"
        console.print(text, highlight=False, markup=False)
    folder = workspace.outputs(suite)
    write(generate([scores], results, folder), folder)
    write_atomic(folder / "table.csv", tidy_csv(scores))
    console.print("Report:", style="bold")
    for name, what in (
        ("leaderboard.md", "the answer, estimators and models"),
        (BOARD_PAGE, "the full board, with a page for each shift"),
        ("figures", "predicted against actual, OOD against ID"),
        ("table.csv", "one row per run, target, estimator and protocol"),
    ):
        console.print(
            printable(f"  {folder / name}  ({what})"), highlight=False, markup=False, soft_wrap=True
        )
    _tell_stopped(console, summary)
    if summary.failed:
        total = len(summary.failed) + len(summary.done) + len(summary.kept) + len(summary.stopped)
        console.print(
            f"{len(summary.failed)} of {count(total, 'run')} failed:", style="bold red", highlight=False
        )
        for reason in dict.fromkeys(summary.failed.values()):
            keys = ", ".join(str(key) for key, own in summary.failed.items() if own == reason)
            console.print(f"  {keys}: {reason}", highlight=False, markup=False, soft_wrap=True)
        console.print("The same command tries these again and leaves the others.", highlight=False)
    elif not suite.scratch and not summary.stopped:
        console.print("To renew the committed board: shiftcast leaderboard", highlight=False)


def _tell_stopped(console: Console, summary: Summary) -> None:
    """Say what a time budget has left unfinished, and how to go on."""
    if not summary.stopped:
        return
    finished = count(len(summary.done), "run")
    console.print(f"The time budget is over; {finished} finished, and these are left:", highlight=False)
    begun = {key: where for key, where in summary.stopped.items() if where != NOT_BEGUN}
    for key, where in begun.items():
        console.print(f"  {key}: {where}", highlight=False, markup=False, soft_wrap=True)
    if left := len(summary.stopped) - len(begun):
        console.print(f"  {count(left, 'run')} not begun", highlight=False)
    console.print("The same command continues from there.", highlight=False)

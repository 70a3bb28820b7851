"""`shiftcast validate` and `shiftcast ledger`: is a submission as it must be, and who vouches for it."""

from __future__ import annotations

from pathlib import Path

import typer
from tabulate import tabulate

from shiftcast.errors import CheckFailedError, InvalidInputError
from shiftcast.runs.ledger import LEVELS, Level, read_ledger
from shiftcast.submission import Problem, Report, need_logits, validate
from shiftcast.submission.board_rows import Change
from shiftcast.submission.validate import Looked
from shiftcast.util.text import BLANK, count, printable
from shiftcast.workspace import Workspace, data_folder

MOST_PROBLEMS = 200
MOST_LISTED = 40
"""Lines of a kind that are printed one by one."""


def validate_path(workspace: Workspace, path: Path, against: str | None) -> None:
    """Check what stands below a path, and print the rows that the board would show.

    Raises
    ------
    CheckFailedError
        If something is wrong; every problem is printed before.
    """
    report = validate(workspace, path, data_folder(), against)
    _print_runs(report)
    for change in report.changes:
        if change.asked:
            _echo("\n" + _row(change, against is not None))
    _print_moved([change for change in report.changes if not change.asked])
    _print_problems(report.problems)
    if report.problems:
        raise CheckFailedError(f"{path}: {count(len(report.problems), 'problem')}; nothing was changed")
    _echo(f"\n{path}: valid" + (", and nothing that was there is altered" if against else ""))


def _echo(text: str) -> None:
    typer.echo(printable(text, 1_000_000))


def _print_runs(report: Report) -> None:
    valid = sum(one.valid for one in report.looked)
    _echo(f"{count(len(report.looked), 'run')} in {report.root}, {valid} of them without a problem")
    for level in LEVELS:
        if number := sum(one.level == level and one.valid for one in report.looked):
            _echo(f"  {level}: {number}")
    if hard := [one for one in report.looked if one.hard]:
        _echo(
            f"class indices alone (hard labels): {_names(hard)}; skipped for want of logits: "
            f"{', '.join(need_logits())}"
        )
    sets = sorted({name for one in report.looked for name in one.recomputed})
    if sets:
        _echo(f"accuracies recomputed from outputs and data: {_shortened(sets)}")
    for note in report.notes:
        _echo(note)
    for label in sorted(report.blocked):
        _echo(f"{label}: its rows on the board cannot be made until the problems are solved")
    if report.unranked:
        _echo("listed and never ranked:")
        for name, reason in report.unranked[:MOST_LISTED]:
            _echo(f"  {name}: {reason}")
        if len(report.unranked) > MOST_LISTED:
            _echo(f"  and {len(report.unranked) - MOST_LISTED} more")


def _names(looked: list[Looked]) -> str:
    return _shortened([f"{one.place.label}/{one.place.key}" for one in looked])


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more


def _row(change: Change, compared: bool) -> str:
    """Return a row of the board as a table: a line for each column, old beside new where compared."""
    headings = dict.fromkeys([*change.new, *change.old])
    rows = [[name, change.old.get(name, BLANK), change.new.get(name, BLANK)] for name in headings]
    if not rows:
        return f"{change.name}: no row on the board"
    if not compared:
        now = [[name, change.new.get(name, BLANK)] for name in headings]
        return f"{change.name}\n" + str(
            tabulate(now, ("column", "on the board"), "simple", disable_numparse=True)
        )
    return f"{change.name}\n" + str(tabulate(rows, ("column", "old", "new"), "simple", disable_numparse=True))


def _print_moved(moved: list[Change]) -> None:
    if not moved:
        return
    rows = [
        [change.name, heading, value, change.new.get(heading, BLANK)]
        for change in moved
        for heading, value in change.old.items()
        if change.new.get(heading) != value
    ]
    _echo("\nrows of others that change with it")
    _echo(tabulate(rows[:MOST_LISTED], ("row", "column", "old", "new"), "simple", disable_numparse=True))


def _print_problems(problems: list[Problem]) -> None:
    if problems:
        _echo("")
    for number, problem in enumerate(problems[:MOST_PROBLEMS], 1):
        _echo(f"problem {number}: {problem}")
    if len(problems) > MOST_PROBLEMS:
        _echo(f"and {len(problems) - MOST_PROBLEMS} more problems")


def enter(workspace: Workspace, path: Path, level: Level) -> None:
    """Enter valid runs into the ledger of their results folder.

    Raises
    ------
    CheckFailedError
        If something is wrong with a run, or accuracies are to be vouched for that were not recomputed.
    InvalidInputError
        If there is no run.
    """
    report = validate(workspace, path, data_folder())
    if report.problems:
        _print_problems(report.problems)
        raise CheckFailedError(
            f"{path}: {count(len(report.problems), 'problem')}; the ledger was not changed"
        )
    if not report.looked:
        raise InvalidInputError(f"{path}: holds no run")
    partly = [one for one in report.looked if one.unchecked]
    if level == "recomputed" and partly:
        raise CheckFailedError(
            f"{_names(partly)}: not recomputed: {_shortened(list(partly[0].unchecked))}, as "
            "their data is not here; get it (shiftcast data get), or choose another level. The ledger stays "
            "as it was"
        )
    ledger = read_ledger(report.root).with_runs([one.place.path for one in report.looked], level)
    _echo(f"wrote {ledger.write()}: {count(len(report.looked), 'run')} {level}")

"""`shiftcast validate` and `shiftcast ledger`: check a submission, and enter who vouches for it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftcast.cli.options import MAINTAIN, SUBMIT, example, tell, text_table, workspace_of
from shiftcast.errors import CheckFailedError, InvalidInputError
from shiftcast.util.text import BLANK, count, printable

if TYPE_CHECKING:
    from shiftcast.submission import Problem, Report
    from shiftcast.submission.board_rows import Change
    from shiftcast.submission.validate import Looked

MOST_PROBLEMS = 200
MOST_LISTED = 40
"""Lines of a kind that are printed one by one."""

app = typer.Typer()
Runs = Annotated[Path, typer.Argument(help="Folder of a run, of a model's or a suite's runs, or of results.")]


class Trust(StrEnum):
    """Levels of the ledger."""

    reproduced = "reproduced"
    recomputed = "recomputed"
    self_reported = "self-reported"


@app.command(
    rich_help_panel=SUBMIT,
    epilog=example(
        "validate results/cifar10-cpu/my-net/self-reported/seed-0", "validate results --against origin/main"
    ),
)
def validate(
    context: typer.Context,
    path: Runs,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REV_OR_DIR", help="Compare with the results at this git revision or in this folder."
        ),
    ] = None,
) -> None:
    """Check runs as a reviewer would.

    Their rows on the board are shown, old and new. Exit code 1 if a run is wrong; every problem is printed.
    Nothing is changed.
    """
    from shiftcast.submission import validate as check
    from shiftcast.workspace import data_folder

    report = check(workspace_of(context), path, data_folder(), against, tell)
    _print_runs(report)
    for change in report.changes:
        if change.asked:
            _echo("\n" + _row(change, against is not None))
    _print_moved([change for change in report.changes if not change.asked])
    _print_problems(report.problems)
    if report.problems:
        raise CheckFailedError(f"{path}: {count(len(report.problems), 'problem')}; nothing was changed")
    _echo(f"\n{path}: valid" + (", and no earlier run is altered" if against else ""))


@app.command(
    rich_help_panel=MAINTAIN,
    epilog=example("ledger results/cifar10-cpu/my-net --level recomputed"),
)
def ledger(
    context: typer.Context,
    path: Runs,
    level: Annotated[Trust, typer.Option(help="State who vouches for them.")],
) -> None:
    """Enter valid runs, as they are now, in results/ledger.toml."""
    from shiftcast.runs.ledger import read_ledger
    from shiftcast.submission import validate as check
    from shiftcast.workspace import data_folder

    report = check(workspace_of(context), path, data_folder(), say=tell)
    if report.problems:
        _print_problems(report.problems)
        raise CheckFailedError(
            f"{path}: {count(len(report.problems), 'problem')}; the ledger was not changed"
        )
    if not report.looked:
        raise InvalidInputError(f"{path}: holds no run")
    partly = [run for run in report.looked if run.unchecked]
    if level is Trust.recomputed and partly:
        raise CheckFailedError(
            f"{_names(partly)}: not recomputed: {_shortened(list(partly[0].unchecked))}, as "
            "their data is not here; get it (shiftcast data get), or choose another level. The ledger stays "
            "as it was"
        )
    entered = read_ledger(report.root).with_runs([run.place.path for run in report.looked], level.value)
    _echo(f"wrote {entered.write()}: {count(len(report.looked), 'run')} {level.value}")


def _echo(text: str) -> None:
    from shiftcast.cli.terminal import in_lines

    typer.echo(in_lines(printable(text, 1_000_000)))


def _print_runs(report: Report) -> None:
    from shiftcast.runs.ledger import LEVELS
    from shiftcast.submission import need_logits

    valid = sum(run.valid for run in report.looked)
    _echo(f"{count(len(report.looked), 'run')} in {report.root}, {valid} without problems")
    for level in LEVELS:
        if number := sum(run.level == level and run.valid for run in report.looked):
            _echo(f"  {level}: {number}")
    if hard := [run for run in report.looked if run.hard]:
        _echo(
            f"class indices alone (hard labels): {_names(hard)}; skipped for want of logits: "
            f"{', '.join(need_logits())}"
        )
    sets = sorted({name for run in report.looked for name in run.recomputed})
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


def _names(looked: Sequence[Looked]) -> str:
    return _shortened([f"{run.place.label}/{run.place.key}" for run in looked])


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
        return f"{change.name}\n{text_table(now, ('column', 'on the board'))}"
    return f"{change.name}\n{text_table(rows, ('column', 'old', 'new'))}"


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
    _echo(text_table(rows[:MOST_LISTED], ("row", "column", "old", "new")))


def _print_problems(problems: list[Problem]) -> None:
    if problems:
        _echo("")
    for number, problem in enumerate(problems[:MOST_PROBLEMS], 1):
        _echo(f"problem {number}: {problem}")
    if len(problems) > MOST_PROBLEMS:
        _echo(f"and {len(problems) - MOST_PROBLEMS} more problems")

"""`shiftcast diff`: which rows of the board moved between two states of results, and whether it is noise."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import BENCHMARK, AsJson, example, workspace_of
from shiftcast.errors import InvalidInputError
from shiftcast.util.text import count, points

if TYPE_CHECKING:
    import pandas as pd

    from shiftcast.board.build import Board
    from shiftcast.workspace import Workspace

KEPT = ("architectures", "datasets", "benchmark/recipes", "benchmark/suites", "results")
"""What of a revision the board is made from."""
NEEDED = ("benchmark/suites", "results")
MOST_RUNS = 4
"""Runs that are named in one line."""


@dataclass
class Found:
    """What differs between two states.

    Parameters
    ----------
    rows
        The rows that moved, with their suite.
    runs
        For each suite that has any, its runs that were added and removed.
    same
        The suites in which no row moved.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    same: list[str] = field(default_factory=list)


app = typer.Typer()


@app.command(rich_help_panel=BENCHMARK, epilog=example("diff HEAD~1", "diff v0.1 HEAD --suite cifar10-cpu"))
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="A workspace, a folder of results, or a git revision.")],
    new: Annotated[
        str | None, typer.Argument(help="The state to compare with [default: the workspace as it is].")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Compare only this suite.")] = None,
    as_json: AsJson = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 if a row moved.")] = False,
) -> None:
    """Show which rows of the board moved, and whether it is noise.

    Two states of the results are compared. Runs that were added or removed are listed.
    """
    workspace = workspace_of(context)
    new = new or str(workspace.root)
    with _state(workspace, old) as before, _state(workspace, new) as after:
        found = _difference({"old": before, "new": after}, suite)
    if as_json:
        rows = [{key: None if value != value else value for key, value in row.items()} for row in found.rows]
        whole = {"old": old, "new": new, "runs": found.runs, "rows": rows, "unchanged": found.same}
        typer.echo(json.dumps(whole, indent=1))
    else:
        _print(found)
    if found.rows and exit_code:
        raise typer.Exit(1)


@contextmanager
def _state(workspace: Workspace, what: str) -> Iterator[tuple[Workspace, Path]]:
    """Give the cards and the results of a folder or a revision."""
    from shiftcast.workspace import find_workspace

    folder = Path(what)
    if folder.is_dir():
        if (folder / "results").is_dir() and (folder / "benchmark" / "suites").is_dir():
            own = find_workspace(folder)
            yield own, own.results()
        else:
            yield workspace, folder
        return
    with tempfile.TemporaryDirectory(prefix="shiftcast-") as name:
        own = _unpacked(workspace, what, Path(name))
        yield own, own.results()


def _unpacked(workspace: Workspace, revision: str, place: Path) -> Workspace:
    """Return the workspace as a revision holds it, written to a folder."""
    from shiftcast.util.git import find_commit, unpack
    from shiftcast.workspace import find_workspace

    found = find_commit(workspace.root, revision)
    if found is None:
        raise InvalidInputError(
            f"{revision!r}: expected a folder of results, a workspace, or a git revision of {workspace.root}"
        )
    inside = workspace.root.resolve().relative_to(found[0].resolve())
    present = unpack(*found, [(inside / name).as_posix() for name in KEPT], place)
    if not {(inside / name).as_posix() for name in NEEDED} <= set(present):
        raise InvalidInputError(f"{revision!r}: that revision of {found[0]} holds no results or no suites")
    return find_workspace(place / inside)


def _difference(states: Mapping[str, tuple[Workspace, Path]], suite: str | None) -> Found:
    """Return what differs between the old and the new state, in one suite or in all.

    Suites whose files are alike are not scored. What is being scored is said on the standard error stream.
    """
    from shiftcast.board.assemble import score_suite
    from shiftcast.board.build import build_board
    from shiftcast.cli.bars import Steps, doing
    from shiftcast.leaderboard.cache import content_key
    from shiftcast.runs.layout import label_of, stored_suites

    stored = {
        age: {label_of(one[0].name, one[1]): one for one in stored_suites(*state)}
        for age, state in states.items()
    }
    names = sorted(name for name in stored["old"].keys() | stored["new"].keys() if suite in (None, name))
    if suite is not None and not names:
        raise InvalidInputError(f"--suite {suite}: neither state holds results of it")
    found = Found()
    with doing() as say:
        for number, name in enumerate(names, start=1):
            own = {age: suites[name] for age, suites in stored.items() if name in suites}
            moved = False
            keys = {content_key(*states[age], *one) for age, one in own.items()}
            if len(own) < 2 or len(keys) > 1:
                boards: dict[str, Board] = {}
                for age, (known, edition) in own.items():
                    say(f"Scoring {name} as it is in the {age} state (suite {number} of {len(names)}) …")
                    workspace, results = states[age]
                    told = partial(Steps(say, lambda what: f"Scoring {what}"), f"{name}, {age} state")
                    boards[age] = build_board(score_suite(workspace, known, results, edition, progress=told))
                moved = _add(found, name, boards.get("old"), boards.get("new"))
            found.same += [] if moved else [name]
    return found


def _add(found: Found, name: str, old: Board | None, new: Board | None) -> bool:
    """Add what differs in one suite; return whether a row moved."""
    from shiftcast.board.changes import changed_runs, moved_rows

    added, removed = changed_runs(old, new)
    if added or removed:
        found.runs[name] = {"added": added, "removed": removed}
    table = moved_rows(old, new).assign(suite=name)
    found.rows += [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    return len(table) > 0


def _print(found: Found) -> None:
    import pandas as pd
    from rich.console import Console

    from shiftcast.board.changes import FEW
    from shiftcast.board.columns import CHANGES
    from shiftcast.cli.tables import terminal_table
    from shiftcast.cli.terminal import print_whole

    console = Console(highlight=False, markup=False, soft_wrap=True, emoji=False)
    for suite, changes in found.runs.items():
        for change, names in changes.items():
            if names:
                console.print(f"{suite}: runs {change}: {_shortened(names)}")
    if found.rows:
        rows = pd.DataFrame(found.rows)
        for (name, board), own in rows[rows["verdict"] != FEW].groupby(["suite", "board"], sort=False):
            unit = "%" if "models" in str(board) else "mean absolute error, pp"
            made = terminal_table(f"{name}: {board} ({unit})", CHANGES, own.to_dict("records"))
            print_whole(console, made)
        for name, own in rows[rows["verdict"] == FEW].groupby("suite", sort=False):
            console.print(_folded(str(name), own))
        verdicts = rows["verdict"].value_counts()
        said = ", ".join(f"{number} {name}" for name, number in verdicts.items())
        console.print(f"{count(len(rows), 'row')} moved: {said}.")
    if found.same:
        console.print(f"Nothing moved in {', '.join(found.same)}.")


def _shortened(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    if len(names) <= MOST_RUNS:
        return ", ".join(names)
    return f"{', '.join(names[: MOST_RUNS - 1])} and {len(names) - MOST_RUNS + 1} more"


def _folded(suite: str, rows: pd.DataFrame) -> str:
    """Return one line for the rows of which nothing can be told."""
    from shiftcast.board.changes import FEW, FEWEST_ARCHITECTURES

    most = max(rows.to_dict("records"), key=lambda row: abs(row["change"]))
    return (
        f"{suite}: {count(len(rows), 'row')} of estimators moved by at most {points(abs(most['change']))} pp "
        f"({most['row']}, {most['board']}): {FEW}, with fewer than {FEWEST_ARCHITECTURES} architectures in "
        "both states (--json lists them)."
    )

"""`shiftcast diff`: which rows of the board moved between two states of results, and whether it is noise."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shiftcast.cards import Suite
from shiftcast.errors import InvalidInputError
from shiftcast.leaderboard.cache import content_key
from shiftcast.leaderboard.difference import moved_rows
from shiftcast.leaderboard.text import count, points, signed
from shiftcast.revisions import find_commit, unpack
from shiftcast.scoring import score_suite
from shiftcast.status import stored_suites
from shiftcast.workspace import Workspace, find_workspace

KEPT = ("architectures", "datasets", "benchmark/recipes", "benchmark/suites", "results")
"""What of a revision the board is made from."""
NEEDED = ("benchmark/suites", "results")
State = tuple[Workspace, Path]


def show_difference(workspace: Workspace, old: str, new: str, suite: str | None, as_json: bool) -> bool:
    """Print the rows that moved; return whether any did.

    Parameters
    ----------
    workspace
        The workspace whose repository revisions are of, and whose cards bare results folders go with.
    old, new
        A workspace, a folder of results, or a git revision.
    suite
        Only this suite; all when None.
    as_json
        Print one JSON object instead of tables.

    Raises
    ------
    InvalidInputError
        If either is neither a folder nor a revision, or holds no results.
    """
    with _state(workspace, old) as before, _state(workspace, new) as after:
        found, same = _moved(before, after, suite)
    if as_json:
        table = [{key: None if value != value else value for key, value in row.items()} for row in found]
        print(json.dumps({"old": old, "new": new, "rows": table, "unchanged": same}, indent=1))  # noqa: T201
    else:
        _print(pd.DataFrame(found), same)
    return bool(found)


@contextmanager
def _state(workspace: Workspace, what: str) -> Iterator[State]:
    """Give the cards and the results of a folder or a revision."""
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


def _moved(before: State, after: State, suite: str | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows that moved, with their suite, and the suites of which nothing has changed."""
    states = (before, after)
    stored = [{_name(*one): one for one in stored_suites(*state)} for state in states]
    names = sorted(name for name in stored[0].keys() | stored[1].keys() if suite in (None, name))
    if suite is not None and not names:
        raise InvalidInputError(f"--suite {suite}: neither state holds results of it")
    rows: list[dict[str, Any]] = []
    same = []
    with Console(stderr=True).status("Scoring what differs …"):
        for name in names:
            both = zip(states, stored, strict=True)
            keys = [content_key(*state, *own[name]) for state, own in both if name in own]
            moved: list[dict[str, Any]] = []
            if len(keys) < 2 or keys[0] != keys[1]:
                scores = [
                    score_suite(state[0], own[name][0], state[1], own[name][1]) if name in own else None
                    for state, own in zip(states, stored, strict=True)
                ]
                table = moved_rows(*scores).assign(suite=name)
                moved = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
            rows += moved
            same += [] if moved else [name]
    return rows, same


def _name(suite: Suite, edition: str) -> str:
    return f"{suite.name}{edition and '@'}{edition}"


def _print(rows: pd.DataFrame, same: list[str]) -> None:
    console = Console()
    if len(rows):
        for (suite, board), own in rows.groupby(["suite", "board"], sort=False):
            unit = "%" if str(board).startswith("models") else "mean absolute error, pp"
            table = Table(title=f"{suite}: {board} ({unit})", box=SIMPLE, title_justify="left")
            table.add_column("", no_wrap=True)
            for heading in ("old", "new", "change [95 %]"):
                table.add_column(heading, justify="right", no_wrap=True)
            table.add_column("")
            for row in own.to_dict("records"):
                change = "" if pd.isna(row["change"]) else signed(row["change"])
                if not pd.isna(row["low"]):
                    change += f" [{signed(row['low'])}, {signed(row['high'])}]"
                table.add_row(
                    escape(row["row"]), points(row["old"]), points(row["new"]), change, row["verdict"]
                )
            console.print(table)
        verdicts = rows["verdict"].value_counts()
        said = ", ".join(f"{number} {name}" for name, number in verdicts.items())
        console.print(f"{count(len(rows), 'row')} moved: {said}.", highlight=False)
    if same:
        console.print(f"Nothing moved in {', '.join(same)}.", highlight=False, markup=False)

"""What `shiftcast data` does and shows: progress on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from tabulate import tabulate

from shiftcast.cards.dataset import DatasetCard
from shiftcast.cli.bars import Bars
from shiftcast.data.download.inventory import State, advice, check, inspect, present
from shiftcast.data.download.local_files import require_folder
from shiftcast.data.download.obtain import Job, Options, obtain
from shiftcast.data.download.optional_files import obtain_extras
from shiftcast.data.download.records import Store
from shiftcast.errors import (
    CheckFailedError,
    DataError,
    InvalidInputError,
    ShiftcastError,
    StoppedError,
    in_words,
)
from shiftcast.workspace import Workspace, data_folder, find_workspace

LINE_SECONDS = 10.0
"""Seconds between two lines on one file where there is no terminal."""


def get_datasets(
    root: Path | None,
    names: Sequence[str],
    source: Path | None,
    force: bool,
    trust: Sequence[str],
) -> None:
    """Get datasets one after the other; go on after failures and list them at the end.

    Raises
    ------
    DataError
        If any failed.
    StoppedError
        If a person stopped it.
    """
    workspace, store = find_workspace(root), Store(data_folder())
    cards = _asked(workspace, names)
    if strange := sorted(set(trust) - {card.name for card in cards}):
        raise InvalidInputError(f"--trust {strange[0]}: it is not among the datasets that are to be got")
    if source is not None:
        require_folder(source)
    options = Options(source, force, frozenset(trust))
    failed: dict[str, str] = {}
    with Terminal() as terminal:
        if "all" in names:
            cards = [card for card in cards if _offered(card, terminal)]
        for card in cards:
            try:
                job = Job(workspace, card, store, options, terminal)
                state = obtain(job)
                obtain_extras(job)
                terminal.line(f"{card.name}: {state}")
            except KeyboardInterrupt as error:
                raise StoppedError(
                    f"stopped at {card.name}; what came is kept in {store.folder / '.partial'}, and the same "
                    "command goes on from there"
                ) from error
            except (ShiftcastError, OSError) as error:
                failed[card.name] = _reason(error)
                if len(cards) > 1:  # one alone is told at the end
                    terminal.line(f"{card.name}: failed: {failed[card.name]}")
    _report(failed, len(cards))


def _asked(workspace: Workspace, names: Sequence[str]) -> list[DatasetCard]:
    if "all" in names:
        return list(workspace.datasets.values())
    return [workspace.dataset(name) for name in dict.fromkeys(names)]


def _offered(card: DatasetCard, terminal: Terminal) -> bool:
    """Whether `all` means this dataset too; say so of one that it leaves out for not being public."""
    if not card.public:
        terminal.line(f"{card.name}: skipped, not public")
    return card.public and bool(card.downloads) and card.layout not in ("derived", "digits")


def _reason(error: Exception) -> str:
    return in_words(error) if isinstance(error, OSError) else str(error)


def _report(failed: dict[str, str], asked: int) -> None:
    if len(failed) == asked == 1:
        raise DataError(next(iter(failed.values())))
    if failed:
        raise DataError(f"{len(failed)} of {asked} datasets could not be got: {', '.join(failed)}")


def list_datasets(root: Path | None, as_json: bool) -> None:
    """Print a row for every dataset card: what is here, whose arrays they are, and where."""
    workspace, store = find_workspace(root), Store(data_folder())
    states = [inspect(card, store) for card in workspace.datasets.values()]
    if as_json:
        typer.echo(json.dumps([{**asdict(state), "where": str(state.where)} for state in states], indent=2))
        return
    rows = [_row(state, store) for state in states]
    typer.echo(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True))
    typer.echo(f"\ndata folder: {store.folder}")


def _row(state: State, store: Store) -> dict[str, str]:
    whose = {"publisher": "verified (publisher)", "unknown": f"unknown {state.fingerprint[:12]}"}
    where = state.where.relative_to(store.folder) if state.where.is_relative_to(store.folder) else state.where
    return {
        "dataset": state.name,
        "state": state.status,
        "size": decimal(state.size) if state.size else "",
        "arrays": whose.get(state.arrays, state.arrays),
        "where": "" if state.status == "built in" else str(where),
        "note": state.note.splitlines()[0][:100] if state.note else "",
    }


def check_datasets(root: Path | None, names: Sequence[str]) -> None:
    """Read and hash datasets again: those named, or every one that is here.

    Raises
    ------
    CheckFailedError
        If one is damaged or not what was recorded, or one that was named is missing.
    """
    workspace, store = find_workspace(root), Store(data_folder())
    wrong: list[DatasetCard] = []
    for card in _asked(workspace, names or ["all"]):
        if not names and not present(card, store) and store.record(card.name) is None:
            continue
        state, problems = check(card, store)
        typer.echo(f"{card.name}: {'; '.join(problems) or state}")
        if problems:
            wrong.append(card)
    if wrong:
        names = ", ".join(card.name for card in wrong)
        about = f" Of {wrong[0].name}:" if len(wrong) > 1 else ""
        raise CheckFailedError(f"not as they should be: {names}.{about} {advice(wrong[0], store)}")


class Terminal(Bars):
    """Shows downloads: a bar with speed and remaining time, or a line now and then without a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        """Show on `console`, or on the standard error stream."""
        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            terminal_only=True,
        )
        self._file, self._task = "", self._bars.add_task("", visible=False)
        self._since, self._first, self._said = 0.0, 0, 0.0

    def line(self, text: str) -> None:
        """Print a line, and end the bar of the file before it."""
        self._file = ""
        self._bars.update(self._task, visible=False)
        self.print(text)

    def transferred(self, file: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` bytes of a file are here."""
        now = time.monotonic()
        if file != self._file:
            self._file, self._since, self._first, self._said = file, now, done, now
            self._bars.reset(self._task, description=file, total=total, completed=done, visible=True)
        self._bars.update(self._task, completed=done, total=total)
        if not self._console.is_terminal and now - self._said >= LINE_SECONDS:
            self._said = now
            rate = (done - self._first) / (now - self._since)
            self._console.print(_progress(file, done, total, rate), highlight=False, soft_wrap=True)


def _progress(file: str, done: int, total: int | None, rate: float) -> str:
    """Return a line with how much is here, the speed and the time left."""
    text = f"{file}: {decimal(done)}"
    if total is None:
        return f"{text}, {decimal(int(rate))}/s"
    left = f", {(total - done) / rate:.0f} s left" if rate > 0 else ""
    return f"{text} of {decimal(total)} ({100 * done / total:.0f} %), {decimal(int(rate))}/s{left}"

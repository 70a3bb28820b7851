"""`shiftcast data`: get datasets, list them and check them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftcast.cli.add import app as add
from shiftcast.cli.make import app as make
from shiftcast.cli.options import BENCHMARK, AsJson, echo, example, workspace_of
from shiftcast.errors import (
    CheckFailedError,
    DataError,
    InvalidInputError,
    ShiftcastError,
    StoppedError,
    in_words,
)

if TYPE_CHECKING:
    from shiftcast.cards.dataset import DatasetCard
    from shiftcast.cli.bars import TransferBar
    from shiftcast.data.download.inventory import State
    from shiftcast.data.download.obtain import Job
    from shiftcast.data.download.records import Store
    from shiftcast.workspace import Workspace

app = typer.Typer(name="data", no_args_is_help=True)


@app.callback(rich_help_panel=BENCHMARK)
def data() -> None:
    """Get datasets, list and check them, and add yours."""


@app.command(epilog=example("data get cifar10-test cifar10.1", "data get all --from /mnt/archives"))
def get(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(help="Names of datasets, or 'all'; see: shiftcast list datasets")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Read archives, their folders or the files from here instead of the network.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Re-download datasets that are already present.")
    ] = False,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Accept changed files of a dataset without a published hash (repeatable).",
        ),
    ] = None,
) -> None:
    """Download, verify and unpack datasets.

    A download that was interrupted is resumed by the same command. A failure does not stop the other
    datasets; failures are listed at the end.
    """
    from shiftcast.cli.bars import TransferBar
    from shiftcast.data.download.local_files import require_folder
    from shiftcast.data.download.obtain import Job, Options

    workspace, store = workspace_of(context), _store()
    cards = _cards(workspace, names)
    if strange := sorted(set(trust or ()) - {card.name for card in cards}):
        raise InvalidInputError(f"--trust {strange[0]}: it is not among the datasets to get")
    if source is not None:
        require_folder(source)
    options = Options(source, force, frozenset(trust or ()))
    failed: dict[str, str] = {}
    with TransferBar() as bar:
        if "all" in names:
            cards = [card for card in cards if _offered(card, bar)]
        for card in cards:
            if problem := _get(Job(workspace, card, store, options, bar), bar):
                failed[card.name] = problem
                if len(cards) > 1:  # a single failure is the command's error
                    bar.line(f"{card.name}: failed: {problem}")
    _raise_failures(failed, len(cards))


def _get(job: Job, bar: TransferBar) -> str:
    """Get one dataset; return why it could not be got, or nothing."""
    from shiftcast.data.download.obtain import obtain, obtain_extras

    try:
        state = obtain(job)
        obtain_extras(job)
    except KeyboardInterrupt as error:
        raise StoppedError(
            f"stopped at {job.card.name}; what has arrived is kept in "
            f"{job.store.folder / '.partial'}, and the same command continues from there"
        ) from error
    except (ShiftcastError, OSError) as error:
        return in_words(error) if isinstance(error, OSError) else str(error)
    bar.line(f"{job.card.name}: {state}")
    return ""


def _store() -> Store:
    from shiftcast.data.download.records import Store
    from shiftcast.workspace import data_folder

    return Store(data_folder())


def _cards(workspace: Workspace, names: Sequence[str]) -> list[DatasetCard]:
    if "all" in names:
        return list(workspace.datasets.values())
    return [workspace.dataset(name) for name in dict.fromkeys(names)]


def _offered(card: DatasetCard, bar: TransferBar) -> bool:
    """Whether `all` includes a dataset; one that is left out for not being public is named."""
    if not card.public:
        bar.line(f"{card.name}: skipped, not public")
    return card.public and bool(card.downloads) and card.layout not in ("derived", "digits")


def _raise_failures(failed: dict[str, str], asked: int) -> None:
    if len(failed) == asked == 1:
        raise DataError(next(iter(failed.values())))
    if failed:
        raise DataError(f"{len(failed)} of {asked} datasets could not be got: {', '.join(failed)}")


@app.command(name="list", epilog=example("data list", "data list --json"))
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """Show which datasets are present, verified, and where they are."""
    from shiftcast.cli.terminal import fitting_table
    from shiftcast.data.download.inventory import inspect

    workspace, store = workspace_of(context), _store()
    states = [inspect(card, store) for card in workspace.datasets.values()]
    if as_json:
        typer.echo(json.dumps([{**asdict(state), "where": str(state.where)} for state in states], indent=2))
        return
    rows = [_row(state, store) for state in states]
    echo(fitting_table(rows))
    echo(f"\ndata folder: {store.folder}")


def _row(state: State, store: Store) -> dict[str, str]:
    from rich.filesize import decimal

    whose = {"publisher": "verified (publisher)", "unknown": f"unknown {state.fingerprint[:12]}"}
    where = state.where.relative_to(store.folder) if state.where.is_relative_to(store.folder) else state.where
    return {
        "dataset": state.name,
        "arrays": whose.get(state.arrays, state.arrays),
        "state": state.status,
        "size": decimal(state.size) if state.size else "",
        "where": "" if state.status == "built in" else str(where),
        "note": state.note.splitlines()[0][:100] if state.note else "",
    }


@app.command(epilog=example("data check", "data check cifar10-test"))
def check(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of datasets [default: all that are present].")
    ] = None,
) -> None:
    """Read and hash datasets again; exit 1 if one is damaged or changed."""
    from shiftcast.data.download import inventory

    workspace, store = workspace_of(context), _store()
    wrong: list[DatasetCard] = []
    for card in _cards(workspace, names or ["all"]):
        if not names and not inventory.present(card, store) and store.record(card.name) is None:
            continue
        state, problems = inventory.check(card, store)
        echo(f"{card.name}: {'; '.join(problems) or state}")
        if problems:
            wrong.append(card)
    if wrong:
        named = ", ".join(card.name for card in wrong)
        about = f" Of {wrong[0].name}:" if len(wrong) > 1 else ""
        raise CheckFailedError(f"damaged or changed: {named}.{about} {inventory.advice(wrong[0], store)}")


app.add_typer(make)
app.add_typer(add)

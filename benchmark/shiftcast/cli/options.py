"""What commands share: the panels of the help, types of options, and the workspace."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.errors import InvalidInputError
from shiftcast.util.text import printable

if TYPE_CHECKING:
    from shiftcast.workspace import Workspace

YOUR_MODEL, BENCHMARK, SUBMIT, MAINTAIN = PANELS = ("Your model", "Benchmark", "Submit", "Maintain")
"""Headings of `shiftcast --help`, in their order."""


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


SuiteName = Annotated[str, typer.Argument(help="Name of the suite; see: shiftcast list suites")]
OnDevice = Annotated[Device, typer.Option(help="Run networks on this device.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Use this many CPU threads [default: PyTorch's].")]
Only = Annotated[list[str] | None, typer.Option(help="Restrict the suite to this architecture (repeatable).")]
Results = Annotated[
    Path | None, typer.Option(file_okay=False, help="Use this results folder [default: the workspace's].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def example(*commands: str) -> str:
    """Return the epilog that shows commands."""
    lines = "\n".join(f"  shiftcast {command}" for command in commands)
    # Click rewraps a paragraph unless it begins with a backspace.
    return f"\b\nExample{'s' if len(commands) > 1 else ''}:\n{lines}"


def workspace_of(context: typer.Context) -> Workspace:
    """Return the workspace that `--workspace` names, or the one around the current folder.

    Raises
    ------
    WorkspaceError
        If there is none.
    """
    from shiftcast.workspace import find_workspace

    return find_workspace(context.obj)


def echo(text: str, err: bool = False) -> None:
    """Print text, whatever names it quotes: codes in them are shown and not obeyed."""
    typer.echo(printable(text, len(text)), err=err)


def tell(text: str) -> None:
    """Print what is being done on the standard error stream: a bar's thread would not outlive a fork."""
    echo(text, err=True)


def text_table(rows: Sequence[Any], headers: Sequence[str] | str = "keys", align: Sequence[str] = ()) -> str:
    """Return rows as a plain table; values are shown as they are."""
    from tabulate import tabulate

    table = tabulate(rows, headers, "simple", colalign=align or None, disable_numparse=True)
    return printable(str(table), len(table))


def keep_apart(read: Iterable[Path | None], written: Iterable[Path | None]) -> None:
    """Refuse to write over a file that is read, or over another that is written.

    Raises
    ------
    InvalidInputError
        If two paths lead to one file.
    """
    known = {path.resolve() for path in read if path is not None}
    for path in written:
        if path is None:
            continue
        if path.resolve() in known:
            raise InvalidInputError(f"{path}: would be written over what another option names; name another")
        known.add(path.resolve())


def require_writable(folder: Path) -> None:
    """Make a folder, and raise an `OSError` before minutes of computing if it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass

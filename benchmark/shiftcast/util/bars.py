"""Progress bars on the standard error stream, for commands and functions that take a while."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from shiftcast.util.text import printable


class Bars:
    """What commands that take a while have in common: bars while they run, and plain lines."""

    def __init__(
        self, console: Console | None, *columns: ProgressColumn, terminal_only: bool = False
    ) -> None:
        """Show on `console`, or on the standard error stream; with `terminal_only`, no bars elsewhere."""
        self._console = console or Console(stderr=True, emoji=False)
        self._bars = Progress(
            *columns,
            console=self._console,
            transient=True,
            disable=terminal_only and not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._bars.stop()

    def print(self, text: str) -> None:
        """Print a line as it is."""
        self._console.print(printable(text, len(text)), highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line worth knowing."""
        self.print(f"note: {text}")


class ImageBar(Bars):
    """A bar over images; nothing where there is no terminal."""

    def __init__(self, name: str) -> None:
        """Show on the standard error stream."""
        super().__init__(
            None,
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            terminal_only=True,
        )
        self._task = self._bars.add_task(name, total=None)

    def show(self, done: int, total: int | None) -> None:
        """Show how many images are done."""
        self._bars.update(self._task, completed=done, total=total)

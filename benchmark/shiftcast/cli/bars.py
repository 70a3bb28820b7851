"""Progress bars on the standard error stream, and lines between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from shiftcast.util.bars import Bars
from shiftcast.util.text import printable

LINE_SECONDS = 10.0
"""Seconds between two lines about one file where there is no terminal."""


STEP_SECONDS = 30.0
"""Seconds between two lines about runs that are scored, where there is no terminal."""


@contextmanager
def doing(aside: bool = False) -> Iterator[Callable[[str], None]]:
    """Give what says on the standard error stream what is being done: beside a spinner, or in plain lines.

    What is said `aside` is for terminals alone.
    """
    console = Console(stderr=True, emoji=False)
    with console.status("") as status:

        def say(text: str) -> None:
            text = printable(text, len(text))
            if console.is_terminal:
                status.update(escape(text))
            elif not aside:
                console.print(text, highlight=False, markup=False, soft_wrap=True)

        yield say


class Steps:
    """Says how many runs are scored: each time if it is shown live on a terminal, else every half minute."""

    def __init__(self, say: Callable[[str], None], words: Callable[[str], str], live: bool = True) -> None:
        """Say with `say`; `words` gives what is done, from what it is done to."""
        self._say, self._words = say, words
        self._live, self._said = live and Console(stderr=True).is_terminal, time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how many of the runs are done."""
        now = time.monotonic()
        if self._live or now - self._said >= STEP_SECONDS:
            self._said = now
            self._say(f"{self._words(what)}: {done} of {total} runs")


class TransferBar(Bars):
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
            self.print(_progress(file, done, total, rate))


def _progress(file: str, done: int, total: int | None, rate: float) -> str:
    """Return a line with how much is here, the speed and the time left."""
    text = f"{file}: {decimal(done)}"
    if total is None:
        return f"{text}, {decimal(int(rate))}/s"
    left = f", {(total - done) / rate:.0f} s left" if rate > 0 else ""
    return f"{text} of {decimal(total)} ({100 * done / total:.0f} %), {decimal(int(rate))}/s{left}"

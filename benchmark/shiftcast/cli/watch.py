"""Progress of a suite: a bar over all runs and one for each training, or lines where there is no terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn

from shiftcast.cards.suite import RunKey
from shiftcast.runs.record import RunRecord
from shiftcast.util.bars import Bars

if TYPE_CHECKING:
    from shiftcast.training.pace import Progress as Training


WIDTH = 80
"""Columns that lines of progress are held to."""
LINE_SECONDS = 60.0
"""How often a training is told of where there is no terminal."""
LONGEST_DETAIL = 56
"""Columns that are kept for what is said of a training."""


class Watcher(Bars):
    """Shows what the engine reports; where there is no terminal, a line a minute for each training."""

    def __init__(self, console: Console | None = None) -> None:
        """Show on `console`, or on the standard error stream."""
        console = console or Console(stderr=True, emoji=False)
        self._room = max(console.width, WIDTH) - LONGEST_DETAIL if console.is_terminal else WIDTH
        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(bar_width=max(4, min(24, console.width - WIDTH + 4))),
            TextColumn("{task.fields[detail]}"),
        )
        self._total = self._complete = 0
        self._runs = self._bars.add_task("runs", total=None, detail="")
        self._steps: dict[RunKey, TaskID] = {}
        self._told: dict[RunKey, float] = {}

    def plan(self, total: int, complete: int) -> None:
        """Show how many runs there are and how many are complete already."""
        self._total, self._complete = total, complete
        self._show_runs()
        if complete:
            self.note(f"{complete} of {total} runs are complete already")

    def started(self, key: RunKey, epochs: int) -> None:
        """Show the run that begins."""
        self._end(key)
        name = shortened(key, self._room)
        self._steps[key] = self._bars.add_task(name, total=None, detail=f"{epochs} epochs")
        self._told[key] = time.monotonic()

    def progress(self, key: RunKey, progress: Training) -> None:
        """Show epoch, loss, speed and remaining time of a training."""
        if key not in self._steps:
            return
        trained = progress.step == progress.steps
        detail = "trained; is being evaluated" if trained else _detail(progress)
        self._bars.update(self._steps[key], total=progress.steps, completed=progress.step, detail=detail)
        if not self._console.is_terminal and time.monotonic() - self._told[key] >= LINE_SECONDS:
            self.print(f"{shortened(key, WIDTH - len(detail) - 2)}  {detail}")
            self._told[key] = time.monotonic()

    def finished(self, key: RunKey, record: RunRecord) -> None:
        """Print a line for a run that is on disk."""
        accuracy = record.targets[record.source].accuracy
        right = "" if accuracy is None else f"{100 * accuracy:6.2f} % in distribution"
        measured = record.measured
        cost = f"{measured.train_seconds:6.1f} s  {measured.images_per_second:,.0f} images/s"
        self.print(f"{key!s:<26} {right}  {cost if measured.train_seconds else 'was trained before'}")
        self.left(key, complete=True)

    def left(self, key: RunKey, complete: bool) -> None:
        """Take a run's bar away."""
        self._end(key)
        if complete:
            self._complete += 1
            self._show_runs()

    def _show_runs(self) -> None:
        detail = f"{self._complete}/{self._total}"
        self._bars.update(self._runs, total=self._total, completed=self._complete, detail=detail)

    def _end(self, key: RunKey) -> None:
        if (task := self._steps.pop(key, None)) is not None:
            self._bars.remove_task(task)
        self._told.pop(key, None)


def _detail(progress: Training) -> str:
    return (
        f"epoch {progress.epoch}/{progress.epochs}  loss {progress.loss:.2f}  "
        f"{progress.images_per_second:,.0f} images/s  {time_left(progress.eta)}"
    )


def time_left(seconds: float) -> str:
    """Return a remaining time in words, in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h left"


def shortened(key: RunKey, room: int) -> str:
    """Return a run's name in so many columns: if need be without its recipe, then cut."""
    if len(str(key)) <= room:
        return str(key)
    end = f"/seed-{key.seed}"
    left = max(room - len(end), 2)
    name = key.architecture if len(key.architecture) <= left else f"{key.architecture[: left - 1]}…"
    return name + end

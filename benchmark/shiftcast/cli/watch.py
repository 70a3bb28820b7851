"""Progress of a suite in the terminal: one bar over all runs, one for each training that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn

from shiftcast.cards import RunKey
from shiftcast.cli.bars import Bars
from shiftcast.runs import RunRecord

if TYPE_CHECKING:
    from shiftcast.training.loop import Progress as Training


class Watcher(Bars):
    """Shows what the engine reports; a plain line per run where there is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        """Show on `console`, or on the standard error stream."""
        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
        )
        self._runs = self._bars.add_task("runs", total=None, detail="")
        self._steps: dict[RunKey, TaskID] = {}

    def plan(self, total: int, complete: int) -> None:
        """Show how many runs there are and how many are complete already."""
        self._bars.update(self._runs, total=total, completed=complete)
        if complete:
            self.note(f"{complete} of {total} runs are complete already")

    def started(self, key: RunKey, epochs: int) -> None:
        """Show the run that begins."""
        self._end(key)
        self._steps[key] = self._bars.add_task(str(key), total=None, detail=f"{epochs} epochs")

    def progress(self, key: RunKey, progress: Training) -> None:
        """Show loss, speed and remaining time of a training."""
        detail = (
            f"epoch {progress.epoch}/{progress.epochs}  loss {progress.loss:.3f}  "
            f"{progress.images_per_second:,.0f} images/s  {progress.eta:.0f} s left"
        )
        if key in self._steps:
            self._bars.update(self._steps[key], total=progress.steps, completed=progress.step, detail=detail)

    def finished(self, key: RunKey, record: RunRecord) -> None:
        """Print a line for a run that is on disk."""
        accuracy = record.targets[record.source].accuracy
        right = "" if accuracy is None else f"{100 * accuracy:6.2f} % in distribution"
        measured = record.measured
        cost = f"{measured.train_seconds:6.1f} s  {measured.images_per_second:,.0f} images/s"
        self.print(f"{key!s:<44} {right}  {cost if measured.train_seconds else 'was trained before'}")
        self.left(key, complete=True)

    def left(self, key: RunKey, complete: bool) -> None:
        """Take a run's bar away."""
        self._end(key)
        if complete:
            self._bars.advance(self._runs)

    def _end(self, key: RunKey) -> None:
        if (task := self._steps.pop(key, None)) is not None:
            self._bars.remove_task(task)

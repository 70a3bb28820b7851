"""One run of a suite: whether there is anything to do for it, and doing it under its lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shiftcast.data.loading import SuiteData
from shiftcast.errors import CardError, HeldError, RunError, TrainingError
from shiftcast.locks import locked
from shiftcast.runs import RunFolder, RunRecord
from shiftcast.status import staleness
from shiftcast.workspace import Workspace

if TYPE_CHECKING:
    from shiftcast.training.loop import Progress
    from shiftcast.training.work import Job


@dataclass(frozen=True)
class Again:
    """What is done again, besides what is missing.

    Parameters
    ----------
    stale
        Runs on disk that are not what the suite asks for any more, or that lack sets.
    uncached
        Complete runs whose trained network is not in the cache.
    """

    stale: bool = False
    uncached: bool = False


FAILURES = (TrainingError, CardError, HeldError)
"""What ends one run and leaves the others of the suite to go on."""


def finish(
    workspace: Workspace,
    folder: Path,
    again: Again,
    job: Job,
    on_progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> RunRecord | None:
    """Do one run under its lock and return its record; None where another process has done it meanwhile.

    Parameters
    ----------
    workspace, folder
        Where the cards are, and the suite's results.
    again
        What is done again.
    job
        The run.
    on_progress
        Called as the training goes on.
    say
        Is told whom the lock is waited for; None not to wait.

    Raises
    ------
    HeldError
        If another process is at the run and there is no `say`.
    CardError
        If the card does not build.
    TrainingError
        If the training cannot go on.
    """
    from shiftcast.training import work

    with locked(job.lock, say):
        if not is_needed(workspace, folder, again, job):
            return None
        return work.perform(job, RunFolder(folder / job.key.path), on_progress)


def is_needed(
    workspace: Workspace,
    folder: Path,
    again: Again,
    job: Job,
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Whether there is anything to do for a run; says so where the answer may surprise."""
    from shiftcast.training.work import has_final_checkpoint

    place = RunFolder(folder / job.key.path)
    if not place.record_path.exists():
        return True
    try:
        record, _ = place.read()
    except RunError as error:
        say(f"{job.key} is damaged and is made again: {error}")
        return True
    if reason := staleness(record, workspace, job.suite, job.key, job.role):
        if not again.stale:
            say(f"{job.key} is stale ({reason}) and is kept, unranked; train it again with --retrain")
        return again.stale
    if lacking := lacking_sets(record, job.data):
        possible = again.stale or has_final_checkpoint(job)
        if not possible:
            say(
                f"{job.key} lacks {', '.join(lacking)} and its checkpoint is not in the cache; "
                "train it again with --retrain"
            )
        return possible
    return again.uncached and not (job.manifest.exists() and has_final_checkpoint(job))


def lacking_sets(record: RunRecord, data: SuiteData) -> list[str]:
    """Return the sets that a run has not been evaluated on, only on other arrays, or without its features."""
    return [
        name
        for name in data.sets
        if name not in record.targets
        or record.datasets[name].fingerprint != data.used[name].fingerprint
        or name not in record.feature_scores
    ]

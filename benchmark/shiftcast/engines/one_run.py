"""One run of a suite: whether there is anything to do for it, and doing it under its lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shiftcast.data.loading import SuiteData
from shiftcast.engines.budget import MayBegin
from shiftcast.errors import CardError, HeldError, NewerSchemaError, OutOfTimeError, RunError, TrainingError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.reading import staleness
from shiftcast.runs.record import LabelViewAccuracy, RunRecord
from shiftcast.util.locks import locked
from shiftcast.workspace import Workspace

if TYPE_CHECKING:
    from shiftcast.training.job import Job
    from shiftcast.training.pace import Progress


@dataclass(frozen=True)
class Again:
    """What is done again, besides what is missing.

    Parameters
    ----------
    stale
        Runs on disk that are not what the suite asks for any more, or that lack sets.
    uncached
        Networks of complete runs that are not in the cache: trained for the cache, the run stays as it is.
    """

    stale: bool = False
    uncached: bool = False


Need = Literal["run", "network", "nothing"]
"""A whole run, or only its trained network in the cache."""
FAILURES = (TrainingError, CardError, HeldError, OutOfTimeError)
"""What ends one run and leaves the others of the suite to go on."""


def finish(
    workspace: Workspace,
    folder: Path,
    again: Again,
    job: Job,
    on_progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
    may_begin: MayBegin | None = None,
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
    may_begin
        Says whether there is time for another epoch of so many seconds; always when None.

    Raises
    ------
    HeldError
        If another process is at the run and there is no `say`.
    CardError
        If the card does not build.
    TrainingError
        If the training cannot go on.
    OutOfTimeError
        If there is no time for it to go on; it does from its checkpoint, the next time.
    """
    with claimed(workspace, folder, again, job, say) as need:
        if need == "nothing":
            return None
        return carry_out(need, job, RunFolder(folder / job.key.path), on_progress, may_begin)


@contextmanager
def claimed(
    workspace: Workspace, folder: Path, again: Again, job: Job, say: Callable[[str], None] | None = None
) -> Iterator[Need]:
    """Hold a run's lock and give what there is to do for it; arguments are those of `finish`.

    Raises
    ------
    HeldError
        If another process is at the run and there is no `say`.
    """
    with locked(job.lock, say):
        # Asked under the lock: whoever held it may have done the run.
        yield what_is_needed(workspace, folder, again, job)


def carry_out(
    need: Literal["run", "network"],
    job: Job,
    run_folder: RunFolder,
    on_progress: Callable[[Progress], None] | None = None,
    may_begin: MayBegin | None = None,
) -> RunRecord:
    """Do what there is to do for a run and return its record; raises as `finish`."""
    from shiftcast.training.run import perform, train_network

    if need == "network":
        train_network(job, on_progress, may_begin)
        return run_folder.read_record()
    record = perform(job, run_folder, on_progress, may_begin)
    return record if not add_label_views(run_folder, job.data) else run_folder.read_record()


def what_is_needed(
    workspace: Workspace,
    folder: Path,
    again: Again,
    job: Job,
    say: Callable[[str], None] = lambda _: None,
) -> Need:
    """Return what there is to do for a run; say so where the answer may surprise."""
    from shiftcast.training.run import final_checkpoint

    run_folder = RunFolder(folder / job.key.path)
    if not run_folder.record_path.exists():
        return "run"
    try:
        record, _ = run_folder.read()
    except NewerSchemaError:
        raise  # nothing is wrong with it
    except RunError as error:
        reason = str(error).splitlines()[0].removesuffix(f"; {RunRecord.remedy}")
        say(f"{job.key} is damaged and is made again: {reason}")
        return "run"
    if reason := staleness(record, workspace, job.suite, job.key, job.role):
        if not again.stale:
            say(f"{job.key} is stale ({reason}) and is kept, unranked; train it again with --retrain")
        return "run" if again.stale else "nothing"
    # A set that was added later is evaluated from the checkpoint, without a training.
    if lacking := lacking_sets(record, job.data):
        if again.stale or final_checkpoint(job):
            return "run"
        because = "its checkpoint is not in the cache" if job.is_network else "no checkpoint is kept of it"
        say(f"{job.key} lacks {', '.join(lacking)} and {because}; train it again with --retrain")
    if again.uncached and job.is_network and not (final_checkpoint(job) and job.manifest.exists()):
        return "network"
    return "nothing"


def lacking_sets(record: RunRecord, data: SuiteData) -> list[str]:
    """Return the sets that a run has not been evaluated on, only on other arrays, or without its features."""
    return [
        name
        for name in data.sets
        if name not in record.targets
        or record.datasets[name].fingerprint != data.used[name].fingerprint
        or name not in record.feature_scores
    ]


def add_label_views(run_folder: RunFolder, data: SuiteData) -> bool:
    """Write a complete run's accuracy under the label views that are at hand; return whether it changed.

    Views whose files are not at hand stay as they were.
    """
    try:
        record, sets = run_folder.read()
    except RunError:
        return False
    if record.source not in sets:
        return False
    predicted = sets[record.source].logits.argmax(axis=1)
    fresh = {
        name: LabelViewAccuracy(
            accuracy=view.accuracy(predicted), images=int(view.kept.sum()), differs=view.differs
        )
        for name, view in data.label_views.items()
    }
    if (changed := record.model_copy(update={"label_views": {**record.label_views, **fresh}})) == record:
        return False
    run_folder.write_record(changed)
    return True

"""The local engine: every run of a suite, one after the other in this process, or several at once in others.

Reference ensemble first, then one seed of every architecture, then their second seeds, and so on: an
interruption leaves the widest board. Runs that are on disk already are left alone, and so is what another
process is at: two of the same command share the work.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shiftcast.cards.suite import Suite
from shiftcast.data.loading import load_suite
from shiftcast.engines.budget import NOT_BEGUN, Budget, MayBegin
from shiftcast.engines.contract import (
    Attempts,
    Options,
    Outcome,
    Reporter,
    Setting,
    Summary,
    choose_runs,
)
from shiftcast.engines.one_run import FAILURES, Again, add_label_views, finish, what_is_needed
from shiftcast.errors import HeldError, OutOfTimeError, needs_extra
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import results_folder
from shiftcast.runs.record import RunRecord
from shiftcast.util.locks import locked
from shiftcast.workspace import Workspace, data_folder

if TYPE_CHECKING:
    from shiftcast.training.job import Job


def run_suite(
    workspace: Workspace, suite: Suite, results: Path, options: Options, reporter: Reporter
) -> Summary:
    """Finish every run of a suite that is not complete yet.

    A run that fails (its card does not build, its loss stops being finite, memory does not suffice) is
    reported and the suite goes on.

    Raises
    ------
    MissingExtraError
        If torch or timm is not installed.
    MissingDataError
        If the source or a required target is not on this machine.
    InvalidInputError
        If the time budget is no number of minutes above 0.
    """
    may_begin = Budget.of(options.time_budget).allows
    with needs_extra("train"):
        from shiftcast.training.job import choose_device, set_threads

    machine = choose_device(options.device), set_threads(options.threads)
    if options.jobs > 1 and options.threads is None and machine[0] == "cpu":
        reporter.note(f"each of the --jobs takes {machine[1]} threads; with --threads 1 they do not compete")

    def attempts(todo: Sequence[Job], setting: Setting, patient: bool) -> Generator[Outcome]:
        attempt = partial(finish, *setting, say=reporter.note if patient else None, may_begin=may_begin)
        # Two commands that each held a run and waited for one of the other would wait for ever.
        if options.jobs == 1 or len(todo) < 2 or patient:
            return _one_by_one(todo, attempt, reporter, may_begin)
        from shiftcast.engines.processes import side_by_side

        return side_by_side(todo, attempt, options.jobs, reporter, may_begin)

    return complete(workspace, suite, results, options, reporter, machine, attempts)


def complete(
    workspace: Workspace,
    suite: Suite,
    results: Path,
    options: Options,
    reporter: Reporter,
    machine: tuple[str, int],
    attempts: Attempts,
) -> Summary:
    """Finish every run of a suite that is not complete yet, on any engine.

    Parameters
    ----------
    workspace, suite, results, options, reporter
        As for `run_suite`, whose errors are raised.
    machine
        The device, "cpu" or "cuda", and PyTorch's thread count of every run.
    attempts
        Does the runs.
    """
    from shiftcast.training.job import plan_job

    jobs_of = choose_runs(suite, options.only, options.seeds)
    device, threads = machine
    data = load_suite(workspace, suite, data_folder())
    for name, reason in data.absent.items():
        reporter.note(f"target {name} is left out: {reason}")
    folder = results_folder(results, suite, data.edition)
    if data.edition:
        reporter.note(f"these arrays are another edition ({data.edition}); results go to {folder.name}")
    jobs = [plan_job(workspace, suite, key, role, data, device, threads) for role, key in jobs_of]
    summary = Summary(data.edition)
    again = Again(options.retrain, options.checkpoints)
    todo = [job for job in jobs if what_is_needed(workspace, folder, again, job, reporter.note) != "nothing"]
    summary.kept = [job.key for job in jobs if job not in todo]
    reporter.plan(len(jobs), len(summary.kept))
    if todo:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # a folder that cannot be written is found before the first training, not after
    # A mistake in a card is told in seconds, not after the trainings before it.
    todo = _trainable(todo, summary, reporter)
    setting = (workspace, folder, again)
    # Closed whatever happens: processes and locks must end with this one.
    with closing(attempts(todo, setting, patient=False)) as outcomes:
        held = _collect(outcomes, summary, reporter)
    if options.time_budget is not None:  # nobody knows how long another process would be waited for
        summary.stopped |= {job.key: "another process is working on it" for job in held}
        held = []
    # By now, whoever was at these has gone on; what is still held is waited for.
    with closing(attempts(held, setting, patient=True)) as outcomes:
        _collect(outcomes, summary, reporter)
    for job in jobs:
        if data.label_views and job.key in summary.kept:
            # Whoever holds it is at the run, and adds the views itself.
            with suppress(HeldError), locked(job.lock, None):
                add_label_views(RunFolder(folder / job.key.path), data)
    return summary


def _trainable(todo: Sequence[Job], summary: Summary, reporter: Reporter) -> list[Job]:
    """Return the runs whose card can be trained by their recipe; the others have failed."""
    from shiftcast.training.job import broken_cards

    broken = broken_cards(todo)
    for complaint, name in {str(error): name for (name, _), error in broken.items()}.items():
        reporter.note(f"{name} cannot be trained: {complaint}")
    trainable = []
    for job in todo:
        error = broken.get((job.key.architecture, job.key.recipe))
        if error is None:
            trainable.append(job)
            continue
        summary.failed[job.key] = str(error)
        reporter.left(job.key, complete=False)
    return trainable


def _one_by_one(
    todo: Sequence[Job], attempt: Callable[..., RunRecord | None], reporter: Reporter, may_begin: MayBegin
) -> Generator[Outcome]:
    """Do each run in this process."""
    for job in todo:
        if not may_begin(0.0):
            yield job, OutOfTimeError(NOT_BEGUN)
            continue
        reporter.started(job.key, job.recipe.epochs_run)
        try:
            yield job, attempt(job, on_progress=partial(reporter.progress, job.key))
        except FAILURES as error:
            yield job, error


def _collect(outcomes: Iterator[Outcome], summary: Summary, reporter: Reporter) -> list[Job]:
    """Note the result of each run; return those that another process is at."""
    held = []
    for job, outcome in outcomes:
        if isinstance(outcome, RunRecord):
            summary.done.append(job.key)
            reporter.finished(job.key, outcome)
            continue
        reporter.left(job.key, complete=outcome is None)
        if outcome is None:
            summary.kept.append(job.key)
            reporter.note(f"{job.key} was finished by another process")
        elif isinstance(outcome, HeldError):
            held.append(job)
            reporter.note(f"{job.key} is {outcome}; the others come first")
        elif isinstance(outcome, OutOfTimeError):
            summary.stopped[job.key] = str(outcome)
        else:
            summary.failed[job.key] = str(outcome)
            reporter.note(f"{job.key} failed: {outcome}")
    return held

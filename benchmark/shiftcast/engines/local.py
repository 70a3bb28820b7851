"""The local engine: every run of a suite, one after the other in this process, or several at once in others.

Reference ensemble first, then one seed of every architecture, then their second seeds, and so on: an
interruption leaves the widest board. Runs that are on disk already are left alone, and so is what another
process is at: two of the same command share the work.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from shiftcast.cards import RunKey, Suite
from shiftcast.data.loading import load_suite
from shiftcast.engines.budget import NOT_BEGUN, Budget, MayBegin
from shiftcast.engines.single import FAILURES, Again, add_label_views, finish, what_is_needed
from shiftcast.errors import (
    HeldError,
    InvalidInputError,
    MissingExtraError,
    OutOfTimeError,
    ShiftcastError,
)
from shiftcast.locks import locked
from shiftcast.runs import RunFolder, RunRecord
from shiftcast.status import results_folder
from shiftcast.workspace import Workspace, data_folder, lookup

if TYPE_CHECKING:
    from shiftcast.training.loop import Progress
    from shiftcast.training.work import Job

Setting = tuple[Workspace, Path, Again]
"""Where the cards are, the folder of the suite's results, and what is done again."""
Outcome = tuple["Job", RunRecord | ShiftcastError | None]
"""A run and what came of it: its record, why it failed, or None where another process had finished it."""


@dataclass(frozen=True)
class Options:
    """What a person may choose about running a suite.

    Parameters
    ----------
    device
        "cpu", "cuda" or "auto".
    threads
        PyTorch's thread count; its own default when None. Results on CPU are exact at a stated count.
    only, seeds
        Names of architectures, and seeds, to restrict the work to; all when empty.
    retrain
        Train again what is on disk but stale. What is damaged is made again anyway.
    checkpoints
        Train networks of complete runs that are not in the cache, and leave the runs as they are.
    jobs
        Runs at once, each in a process of its own that holds all images. Several small networks can
        share a GPU that one of them would leave idle; on a CPU each should have its own `threads`.
    time_budget
        Minutes after which nothing more is begun: no run, and no epoch that is expected to end later.
        What is unfinished goes on from its checkpoint the next time. No limit when None.
    """

    device: str = "auto"
    threads: int | None = None
    only: Sequence[str] = ()
    seeds: Sequence[int] = ()
    retrain: bool = False
    checkpoints: bool = False
    jobs: int = 1
    time_budget: float | None = None


class Reporter(Protocol):
    """What the engine tells whoever watches."""

    def plan(self, total: int, complete: int) -> None:
        """Say how many runs there are and how many are complete already."""

    def started(self, key: RunKey, epochs: int) -> None:
        """Say that a run begins."""

    def progress(self, key: RunKey, progress: Progress) -> None:
        """Pass on the progress of a run's training."""

    def finished(self, key: RunKey, record: RunRecord) -> None:
        """Say that a run is on disk."""

    def left(self, key: RunKey, complete: bool) -> None:
        """Say that a run ends without a record of ours; `complete` if another process has finished it."""

    def note(self, text: str) -> None:
        """Pass on something worth knowing."""


@dataclass
class Summary:
    """What running a suite came to."""

    edition: str
    done: list[RunKey] = field(default_factory=list)
    kept: list[RunKey] = field(default_factory=list)
    failed: dict[RunKey, str] = field(default_factory=dict)
    stopped: dict[RunKey, str] = field(default_factory=dict)
    """Runs that the time budget left unfinished, and where they stand."""


class Attempts(Protocol):
    """How an engine does runs."""

    def __call__(self, todo: Sequence[Job], setting: Setting, patient: bool) -> Generator[Outcome]:
        """Do runs, begun in this order, and yield each with what came of it.

        What another process is at is yielded with `HeldError`, or waited for where `patient`.
        """


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
    work = training_code()
    machine = work.choose_device(options.device), work.set_threads(options.threads)
    if options.jobs > 1 and options.threads is None and machine[0] == "cpu":
        reporter.note(f"each of the --jobs takes {machine[1]} threads; with --threads 1 they do not compete")

    def attempts(todo: Sequence[Job], setting: Setting, patient: bool) -> Generator[Outcome]:
        attempt = partial(finish, *setting, say=reporter.note if patient else None, may_begin=may_begin)
        if options.jobs == 1 or len(todo) < 2 or patient:
            return _one_by_one(todo, attempt, reporter, may_begin)
        from shiftcast.engines.packed import side_by_side

        return side_by_side(todo, attempt, options.jobs, reporter, may_begin)

    return complete(workspace, suite, results, options, reporter, machine, attempts)


def training_code() -> ModuleType:
    """Return the module that trains.

    Raises
    ------
    MissingExtraError
        If torch or timm is not installed.
    """
    try:
        from shiftcast.training import work
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error
    return work


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
    from shiftcast.training import work

    jobs_of = choose_runs(suite, options.only, options.seeds)
    device, threads = machine
    data = load_suite(workspace, suite, data_folder())
    for name, reason in data.absent.items():
        reporter.note(f"target {name} is left out: {reason}")
    if data.edition:
        reporter.note(
            f"these arrays are another edition ({data.edition}); results go to {suite.name}@{data.edition}"
        )
    folder = results_folder(results, suite, data.edition)
    jobs = [work.plan_job(workspace, suite, key, role, data, device, threads) for role, key in jobs_of]
    summary = Summary(data.edition)
    again = Again(options.retrain, options.checkpoints)
    todo = [job for job in jobs if what_is_needed(workspace, folder, again, job, reporter.note) != "nothing"]
    summary.kept = [job.key for job in jobs if job not in todo]
    reporter.plan(len(jobs), len(summary.kept))
    if todo:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # a folder that cannot be written is found before the first training, not after
    todo = _trainable(todo, summary, reporter)
    setting = (workspace, folder, again)
    with closing(attempts(todo, setting, patient=False)) as outcomes:
        held = _collect(outcomes, summary, reporter)
    if options.time_budget is not None:  # nobody knows how long another process would be waited for
        summary.stopped |= {job.key: "another process is at it" for job in held}
        held = []
    # By now, whoever was at these has gone on; what is still held is waited for.
    with closing(attempts(held, setting, patient=True)) as outcomes:
        _collect(outcomes, summary, reporter)
    for job in jobs:
        if data.label_views and job.key in summary.kept:
            with suppress(HeldError), locked(job.lock, None):
                add_label_views(RunFolder(folder / job.key.path), data)
    return summary


def _trainable(todo: Sequence[Job], summary: Summary, reporter: Reporter) -> list[Job]:
    """Return the runs whose card can be trained by their recipe; the others have failed."""
    from shiftcast.training.work import broken_cards

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
    """Note what came of each run; return those that another process is at."""
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


def choose_runs(suite: Suite, only: Sequence[str], seeds: Sequence[int] = ()) -> list[tuple[str, RunKey]]:
    """Return (role, run) in the order of work, restricted to the architectures in `only` and to `seeds`.

    The reference ensemble's members come first, then its reserves, then the scored runs in rounds: the
    first seed of every architecture under every recipe, in the suite's order, then the second ones, and
    so on.

    Raises
    ------
    UnknownNameError
        If `only` names an architecture that the suite does not use.
    InvalidInputError
        If `seeds` has one that none of these runs has.
    """
    runs = [("reference", key) for key in suite.reference_runs()]
    runs += [("scored", key) for key in _in_rounds(suite.scored_runs())]
    used = {key.architecture: key for _, key in runs}
    for name in only:
        lookup(f"architecture of suite {suite.name},", name, used)
    runs = [(role, key) for role, key in runs if not only or key.architecture in only]
    numbers = sorted({key.seed for _, key in runs})
    if strange := sorted(set(seeds) - set(numbers)):
        of = f" of {', '.join(only)}" if only else ""
        raise InvalidInputError(
            f"--seed {strange[0]}: suite {suite.name} has no such run{of}; its seeds are "
            f"{', '.join(map(str, numbers))}"
        )
    return [(role, key) for role, key in runs if not seeds or key.seed in seeds]


def _in_rounds(keys: Sequence[RunKey]) -> list[RunKey]:
    """Return runs with the first of every architecture and recipe before any second one."""
    seen: Counter[tuple[str, str]] = Counter()
    rounds = []
    for key in keys:
        rounds.append(seen[key.architecture, key.recipe])
        seen[key.architecture, key.recipe] += 1
    return [key for _, key in sorted(zip(rounds, keys, strict=True), key=itemgetter(0))]

"""The local engine: every run of a suite, one after the other, in this process.

Reference ensemble first, then architecture by architecture, so that an interruption leaves
complete architectures. Runs that are on disk already are left alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shiftcast.cards import RunKey, Suite
from shiftcast.data.loading import SuiteData, load_suite
from shiftcast.errors import MissingExtraError, RunError, TrainingError
from shiftcast.runs import LabelViewAccuracy, RunFolder, RunRecord
from shiftcast.status import results_folder, staleness
from shiftcast.workspace import Workspace, data_folder, lookup

if TYPE_CHECKING:
    from shiftcast.training.loop import Progress
    from shiftcast.training.work import Job


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
        Train again what is on disk but stale or damaged.
    """

    device: str = "auto"
    threads: int | None = None
    only: Sequence[str] = ()
    seeds: Sequence[int] = ()
    retrain: bool = False


class Reporter(Protocol):
    """What the engine tells whoever watches."""

    def plan(self, total: int, complete: int) -> None:
        """Say how many runs there are and how many are complete already."""

    def started(self, key: RunKey, epochs: int) -> None:
        """Say that a run begins."""

    def progress(self, progress: Progress) -> None:
        """Pass on a training's progress."""

    def finished(self, key: RunKey, record: RunRecord) -> None:
        """Say that a run is on disk."""

    def note(self, text: str) -> None:
        """Pass on something worth knowing."""


@dataclass
class Summary:
    """What running a suite came to."""

    edition: str
    done: list[RunKey] = field(default_factory=list)
    kept: list[RunKey] = field(default_factory=list)
    failed: dict[RunKey, str] = field(default_factory=dict)


def run_suite(
    workspace: Workspace, suite: Suite, results: Path, options: Options, reporter: Reporter
) -> Summary:
    """Finish every run of a suite that is not complete yet.

    A training that fails is reported and the suite goes on.

    Raises
    ------
    MissingExtraError
        If torch or timm is not installed.
    MissingDataError
        If the source or a required target is not on this machine.
    """
    try:
        from shiftcast.training import work
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error
    jobs_of = choose_runs(suite, options.only, options.seeds)
    device, threads = work.choose_device(options.device), work.set_threads(options.threads)
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
    todo = [
        job for job in jobs if _needed(job, folder, workspace, options, reporter, work.has_final_checkpoint)
    ]
    summary.kept = [job.key for job in jobs if job not in todo]
    reporter.plan(len(jobs), len(summary.kept))
    if todo:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # a folder that cannot be written is found before the first training, not after
    for job in todo:
        reporter.started(job.key, job.recipe.epochs)
        try:
            record = work.perform(job, RunFolder(folder / job.key.path), reporter.progress)
        except TrainingError as error:
            summary.failed[job.key] = str(error)
            reporter.note(f"{job.key} failed: {error}")
            continue
        summary.done.append(job.key)
        reporter.finished(job.key, record)
    for job in jobs:
        add_label_views(RunFolder(folder / job.key.path), data)
    return summary


def add_label_views(place: RunFolder, data: SuiteData) -> bool:
    """Write a complete run's accuracy under the label views that are at hand; return whether it changed.

    Views whose files are not at hand stay as they were.
    """
    try:
        record, sets = place.read()
    except RunError:
        return False
    if record.source not in sets:
        return False
    predicted = sets[record.source].logits.argmax(axis=1)
    found = {
        name: LabelViewAccuracy(
            accuracy=view.accuracy(predicted), images=int(view.kept.sum()), differs=view.differs
        )
        for name, view in data.label_views.items()
    }
    if (changed := record.model_copy(update={"label_views": {**record.label_views, **found}})) == record:
        return False
    place.write_record(changed)
    return True


def choose_runs(suite: Suite, only: Sequence[str], seeds: Sequence[int] = ()) -> list[tuple[str, RunKey]]:
    """Return (role, run) in the order of work, restricted to the architectures in `only` and to `seeds`.

    Raises
    ------
    UnknownNameError
        If `only` names an architecture that the suite does not use, or `seeds` a seed.
    """
    runs = [("reference", key) for key in suite.reference_runs()]
    runs += [("scored", key) for key in suite.scored_runs()]
    used = {key.architecture: key for _, key in runs}
    for name in only:
        lookup(f"architecture in suite {suite.name}", name, used)
    runs = [(role, key) for role, key in runs if not only or key.architecture in only]
    numbers = {str(key.seed): key for _, key in runs}
    for seed in seeds:
        lookup(f"seed in suite {suite.name}", str(seed), numbers)
    return [(role, key) for role, key in runs if not seeds or key.seed in seeds]


def _needed(
    job: Job,
    folder: Path,
    workspace: Workspace,
    options: Options,
    reporter: Reporter,
    trained: Callable[[Job], bool],
) -> bool:
    """Whether there is anything to do for a run; says so where the answer may surprise."""
    place = RunFolder(folder / job.key.path)
    if not place.record_path.exists():
        return True
    try:
        record, _ = place.read()
    except RunError as error:
        reporter.note(f"{job.key} is damaged and is made again: {error}")
        return True
    if reason := staleness(record, workspace, job.suite, job.key, job.role):
        if not options.retrain:
            reporter.note(
                f"{job.key} is stale ({reason}) and is kept, unranked; train it again with --retrain"
            )
        return options.retrain
    if lacking := lacking_sets(record, job.data):
        again = options.retrain or trained(job)
        if not again:
            reporter.note(
                f"{job.key} lacks {', '.join(lacking)} and its checkpoint is not in the cache; "
                "train it again with --retrain"
            )
        return again
    return False


def lacking_sets(record: RunRecord, data: SuiteData) -> list[str]:
    """Return the sets that a run has not been evaluated on, only on other arrays, or without its features."""
    return [
        name
        for name in data.sets
        if name not in record.targets
        or record.datasets[name].fingerprint != data.used[name].fingerprint
        or name not in record.feature_scores
    ]

"""Whether a submission may be merged: all that is wrong with it, and what the board would show.

Reads files and cards; imports, unpickles and runs nothing of a submission.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.estimators import official_estimators
from shiftcast.runs.agreement import learn
from shiftcast.runs.duplicates import Duplicates
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import LEDGER, split_label
from shiftcast.runs.ledger import Ledger, Level, read_ledger
from shiftcast.runs.problems import Problem
from shiftcast.runs.reading import inspect, problems_of, read_pool, read_reported, run_of
from shiftcast.runs.soundness import Expected, Inspection, expected_of
from shiftcast.runs.suite_runs import ReportedRun
from shiftcast.submission.baseline import altered, base_tree
from shiftcast.submission.board_rows import Change, changes
from shiftcast.submission.known_sets import Truth, read_data
from shiftcast.submission.tree import Tree, locate, walk
from shiftcast.util.text import count
from shiftcast.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Looked:
    """A run that was looked at.

    Parameters
    ----------
    place
        Its folder.
    level
        Who vouches for it, as the ledger says.
    valid
        Whether nothing is wrong with it.
    hard
        Whether it holds class indices alone.
    recomputed
        Sets whose accuracy was recomputed from the outputs and the dataset.
    unchecked
        Labelled sets whose accuracy was not, as the data is not here.
    """

    place: RunFolder
    level: Level
    valid: bool
    hard: bool
    recomputed: tuple[str, ...]
    unchecked: tuple[str, ...]


@dataclass
class Report:
    """What validating came to.

    Parameters
    ----------
    root
        The results folder.
    problems
        Everything that is wrong.
    ledger
        Who vouches for which run.
    looked
        The runs that were looked at.
    unranked
        Runs that are listed and never ranked, with the reason.
    blocked
        Suites whose rows cannot be made until the problems are solved.
    notes
        What was not compared, and why.
    changes
        Rows of the board, old and new, of the runs that are new or were named.
    """

    root: Path
    problems: list[Problem] = field(default_factory=list)
    ledger: Ledger = field(default_factory=lambda: Ledger(Path()))
    looked: list[Looked] = field(default_factory=list)
    unranked: list[tuple[str, str]] = field(default_factory=list)
    blocked: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def validate(
    workspace: Workspace,
    path: Path,
    data: Path,
    against: str | None = None,
    say: Callable[[str], object] = str,
) -> Report:
    """Check a run's folder, a suite's or a whole results folder.

    Parameters
    ----------
    workspace
        Cards that say what runs must be.
    path
        The folder.
    data
        The data folder: accuracies are recomputed where a dataset is here.
    against
        A folder, or a git revision, with the results as they were: nothing of them may have changed.
    say
        Is told what is being checked, and then scored: a suite may take minutes.

    Raises
    ------
    InvalidInputError
        If `path` holds no run, or `against` is neither a folder nor a revision.
    """
    root, part = locate(path)
    tree = walk(root, part)
    report = Report(root, list(tree.problems))
    with base_tree(root, against) as old:
        before = walk(old, None) if old is not None and old.is_dir() else None
        if old is not None:
            report.problems += altered(old, root)
        known = {(run.label, run.key) for run in before.runs} if before else set()
        fresh = [run for run in tree.runs if (run.label, run.key) not in known]
        beside = _beside(root, part, tree)
        report.ledger = _ledger(report)
        for label in dict.fromkeys(run.label for run in tree.runs):
            if (suite := workspace.suites.get(split_label(label)[0])) is None:
                report.problems.append(_no_suite(workspace, root / label))
                continue
            expected = expected_of(workspace, suite, split_label(label)[1])
            asked = _ordered([run for run in tree.runs if run.label == label], expected, known)
            say(f"Checking {count(len(asked), 'run')} of {label} …")
            _suite(report, expected, label, asked, _ordered(beside, expected, known), data)
        shown = fresh if before is not None else tree.runs if part is not None else []
        if shown:
            say("Making their rows on the board …")
        _show(workspace, report, shown, old)
    return report


def _no_suite(workspace: Workspace, folder: Path) -> Problem:
    remedy = "name the folder after its suite, or add benchmark/suites/NAME.toml"
    name = split_label(folder.name)[0]
    return Problem(str(folder), f"a suite: {', '.join(workspace.suites)}", repr(name), remedy)


def _beside(root: Path, part: Path | None, tree: Tree) -> Sequence[RunFolder]:
    """Return the runs of a suite beside those that are looked at, which say what the sets are."""
    if part is None or part.parent == root:
        return []
    looked = {run.path for run in tree.runs}
    suite = root / part.relative_to(root).parts[0]
    return [run for run in walk(root, suite).runs if run.path not in looked]


def _ordered(
    runs: Sequence[RunFolder], expected: Expected, known: Collection[tuple[str, RunKey]]
) -> list[RunFolder]:
    """Return runs as scoring reads them, in the suite's order, but what was there before first."""
    order = {key: place for place, key in enumerate(expected.roles)}
    return sorted(runs, key=lambda run: ((run.label, run.key) not in known, order.get(run.key, len(order))))


def _suite(
    report: Report,
    expected: Expected,
    label: str,
    asked: Sequence[RunFolder],
    beside: Sequence[RunFolder],
    data: Path,
) -> None:
    """Hold the runs of one suite against the cards, the data and each other, those `beside` first."""
    workspace, suite = expected.workspace, expected.suite
    read = [inspect(folder, expected) for folder in asked]
    held = {name for one in read for name in one.sets or {}}
    names = [name for name in expected.sizes if name in held]
    truth = read_data(workspace, suite, split_label(label)[1], names, data)
    duplicates = Duplicates(suite.source.test)
    for folder in beside:
        other = inspect(folder, expected)
        if (run := run_of(other)) is not None and not other.stale:
            learn(truth.runs, run)
            duplicates.add(run)
    for one in read:
        if (run := run_of(one)) is not None and not one.stale:
            learn(truth.runs, run)
    for one in read:
        problems = [*problems_of(one, truth.data, truth.runs), *_duplicate(one, duplicates)]
        report.problems += problems
        report.looked.append(_looked(one, not problems, truth, report.ledger))
        if report.ledger.changed(one.folder.path):
            note = "has changed since the ledger vouched for it: self-reported now"
            report.notes.append(f"{one.folder.key}: {note}")
    for reason in dict.fromkeys(truth.absent.values()):
        report.notes.append(f"{label}: not compared with the data: {reason}")
    if any(not one.valid for one in report.looked if one.place.label == label):
        report.blocked.add(label)
    else:
        report.unranked += _unranked(workspace, suite, report, label)


def _looked(one: Inspection, valid: bool, truth: Truth, ledger: Ledger) -> Looked:
    sets = one.sets or {}
    labelled = [name for name, stored in sets.items() if stored.true_rank is not None]
    recomputed = tuple(name for name in labelled if valid and not one.stale and name in truth.data)
    unchecked = tuple(name for name in labelled if name not in recomputed)
    hard = any(stored.hard for stored in sets.values())
    return Looked(one.folder, ledger.level(one.folder.path), valid, hard, recomputed, unchecked)


def _ledger(report: Report) -> Ledger:
    """Return the ledger; one that cannot be read is a problem, and vouches for nothing."""
    try:
        return read_ledger(report.root)
    except RunError as error:
        where, remedy = str(report.root / LEDGER), "restore the maintainers' file"
        report.problems.append(Problem(where, "a ledger", str(error).removeprefix(f"{where}: "), remedy))
        return Ledger(report.root)


def _duplicate(one: Inspection, duplicates: Duplicates) -> list[Problem]:
    """Refuse a contributed run that repeats another's outputs; our own may, as of k nearest neighbours."""
    run = run_of(one)
    if run is None or one.stale:
        return []
    original = duplicates.original(run) if isinstance(run, ReportedRun) else None
    duplicates.add(run)
    if original is None:
        return []
    where, remedy = str(one.folder.predictions_path), "keep one of the two runs"
    return [Problem(where, "outputs of a model of its own", f"a duplicate: those of {original}", remedy)]


def _unranked(workspace: Workspace, suite: Suite, report: Report, label: str) -> list[tuple[str, str]]:
    """Return the runs that the board lists and does not rank, with the reasons."""
    try:
        pool, rows = read_pool(workspace, suite, report.root / label)
        reported = read_reported(pool, report.root / label)
    except (RunError, InvalidInputError) as error:
        report.blocked.add(label)
        remedy = "restore or solve what is named; the board cannot be made with it"
        report.problems.append(Problem(str(report.root / label), "runs that agree", str(error), remedy))
        return []
    listed = [
        (f"{label}/{row['architecture']}/{row['recipe']}/seed-{row['seed']}", str(row["status"]))
        for row in rows
        if row["status"] != "ok"
    ]
    why = "self-reported: listed in a separate section"
    return listed + [(f"{label}/{run.key}", run.stale or why) for run in reported]


def _show(workspace: Workspace, report: Report, folders: Sequence[RunFolder], old: Path | None) -> None:
    """Add the rows that the board would show; runs with problems have none."""
    valid = {looked.place.path for looked in report.looked if looked.valid}
    keys: dict[str, list[RunKey]] = {}
    for folder in folders:
        if folder.path in valid and folder.label not in report.blocked:
            keys.setdefault(folder.label, []).append(folder.key)
    for label, own in keys.items():
        report.changes += changes(workspace, label, own, report.root, old)


def need_logits() -> list[str]:
    """Return the estimators that cannot answer for a run that holds class indices alone."""
    return [name for name, one in official_estimators().items() if "logits" in one.requires]

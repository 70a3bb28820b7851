"""Whether what somebody submits may be merged: all that is wrong with it, and what the board would show.

Reads files and cards; imports, unpickles and runs nothing of a submission.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.estimators import official_estimators
from shiftcast.runs.duplicates import Twins
from shiftcast.runs.layout import Place
from shiftcast.runs.ledger import Ledger, Level, read_ledger
from shiftcast.runs.outputs import StoredSet, true_ranks
from shiftcast.runs.reading import read_pool, read_reported
from shiftcast.runs.suite_runs import ReportedRun
from shiftcast.submission.baseline import altered, base_tree
from shiftcast.submission.board_rows import Change, changes
from shiftcast.submission.inspect_run import Expected, Inspection, expected_of
from shiftcast.submission.known_sets import Known, Truth, read_data
from shiftcast.submission.problems import Problem
from shiftcast.submission.tree import Tree, locate, walk
from shiftcast.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Looked:
    """A run that was looked at.

    Parameters
    ----------
    place
        Where it stands.
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

    place: Place
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


def validate(workspace: Workspace, path: Path, data: Path, against: str | None = None) -> Report:
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
        known = {(place.label, place.key) for place in before.places} if before else set()
        fresh = [place for place in tree.places if (place.label, place.key) not in known]
        others = _others(root, part, tree)
        report.ledger = _ledger(report)
        for label in dict.fromkeys(place.label for place in tree.places):
            if (suite := workspace.suites.get(label.partition("@")[0])) is None:
                report.problems.append(_no_suite(workspace, root / label))
                continue
            inspected = _inspect(expected_of(workspace, suite), label, tree.places, others, known)
            _suite(workspace, report, suite, label, inspected, data)
        shown = fresh if before is not None else tree.places if part is not None else []
        _show(workspace, report, shown, old)
    return report


def _no_suite(workspace: Workspace, folder: Path) -> Problem:
    remedy = "name the folder after its suite, or add benchmark/suites/NAME.toml"
    name = folder.name.partition("@")[0]
    return Problem(str(folder), f"a suite: {', '.join(workspace.suites)}", repr(name), remedy)


def _others(root: Path, part: Path | None, tree: Tree) -> Sequence[Place]:
    """Return the runs beside those that are looked at, which say what the sets are."""
    if part is None or part.parent == root:
        return []
    looked = {place.path for place in tree.places}
    suite = root / part.relative_to(root).parts[0]
    return [place for place in walk(root, suite).places if place.path not in looked]


def _suite(
    workspace: Workspace, report: Report, suite: Suite, label: str, inspected: Inspected, data: Path
) -> None:
    """Hold the runs of one suite against the data and each other."""
    edition = label.partition("@")[2]
    for one in inspected.asked:
        report.problems += one.problems
    truth = read_data(workspace, suite, edition, inspected.sets, data)
    twins = Twins(suite.source.test)
    for one in inspected.beside:
        if one.run is not None:
            truth.learn(one.run)
            twins.add(one.run)
    for one in inspected.asked:
        if one.run is not None:
            truth.learn(one.run)
    for one in inspected.asked:
        found = [*_compare(one, truth, suite), *_twin(one, twins)]
        report.problems += found
        report.looked.append(_looked(one, bool(found), truth, report.ledger))
        if report.ledger.changed(one.place.path):
            said = "has changed since the ledger vouched for it: self-reported now"
            report.notes.append(f"{one.place.key}: {said}")
    for reason in dict.fromkeys(truth.absent.values()):
        report.notes.append(f"{label}: not compared with the data: {reason}")
    if any(not one.valid for one in report.looked if one.place.label == label):
        report.blocked.add(label)
    else:
        report.unranked += _unranked(workspace, suite, report, label)


@dataclass(frozen=True, eq=False)
class Inspected:
    """The runs of one suite.

    Parameters
    ----------
    asked
        Those that are looked at, the ones that were there before first.
    beside
        The others.
    sets
        Ids of the sets that any of the first holds, in the suite's order.
    """

    asked: Sequence[Inspection]
    beside: Sequence[Inspection]
    sets: Sequence[str]


def _inspect(
    expected: Expected,
    label: str,
    places: Sequence[Place],
    others: Sequence[Place],
    known: Collection[tuple[str, RunKey]],
) -> Inspected:
    """Read every run of one suite."""
    asked = [Inspection(place, expected) for place in places if place.label == label]
    beside = [Inspection(place, expected) for place in others if place.label == label]
    asked.sort(key=lambda one: (label, one.place.key) not in known)  # what was there first
    held = {name for one in asked for name in one.sets or {}}
    return Inspected(asked, beside, [name for name in expected.sizes if name in held])


def _looked(one: Inspection, spoilt: bool, truth: Truth, ledger: Ledger) -> Looked:
    sets = one.sets or {}
    valid = one.run is not None and not spoilt
    labelled = [name for name, stored in sets.items() if stored.true_rank is not None]
    recomputed = tuple(name for name in labelled if valid and name in truth.data)
    unchecked = tuple(name for name in labelled if name not in recomputed)
    hard = any(stored.hard for stored in sets.values())
    return Looked(one.place, ledger.level(one.place.path), valid, hard, recomputed, unchecked)


def _ledger(report: Report) -> Ledger:
    """Return the ledger; one that cannot be read is a problem, and vouches for nothing."""
    try:
        return read_ledger(report.root)
    except RunError as error:
        where, remedy = str(report.root / "ledger.toml"), "restore the maintainers' file"
        report.problems.append(Problem(where, "a ledger", str(error).removeprefix(f"{where}: "), remedy))
        return Ledger(report.root)


def _compare(one: Inspection, truth: Truth, suite: Suite) -> list[Problem]:
    """Hold a run's sets against the datasets that are here and against the other runs."""
    if one.run is None or one.record is None:
        return []
    problems = []
    for name, stored in one.run.sets.items():
        used = one.record.datasets.get(name)
        for known in (truth.data.get(name), truth.runs.get(name)):
            if known is None or known.said_by == str(one.place.key):
                continue
            for what, expected, found in _differences(stored, used.fingerprint if used else "", known):
                where = f"{one.folder.path}, {name}, {what}"
                remedy = f"use the images of suite {suite.name!r} in their order; {one.remedy}"
                problems.append(Problem(where, f"{expected}, as {known.said_by} says", found, remedy))
    return problems


def _differences(stored: StoredSet, fingerprint: str, known: Known) -> list[tuple[str, str, str]]:
    """Return in what a set is not the one that is known: what, expected, found."""
    found = []
    if known.labels is not None and stored.n != len(known.labels):
        return [("images", f"{len(known.labels):,}", f"{stored.n:,}")]
    if known.fingerprint and fingerprint != known.fingerprint:
        found.append(("fingerprint", f"{known.fingerprint[:12]}…", f"{fingerprint[:12] or 'none'}…"))
    if known.labels is not None and stored.true_rank is not None:
        ranks = true_ranks(stored.logits, known.labels)
        if wrong := int((ranks != stored.true_rank).sum()):
            right = f"accuracy {(ranks == 0).mean():.6f}"
            said = f"{stored.accuracy:.6f}, with other true classes of {wrong:,} images"
            found.append(("accuracy", right, said))
    same = (
        known.clusters is None or stored.clusters is None or np.array_equal(stored.clusters, known.clusters)
    )
    if not same or ((known.clusters is None) != (stored.clusters is None) and known.fingerprint):
        found.append(("cluster", "the objects that the images show", "others"))
    return found


def _twin(one: Inspection, twins: Twins) -> list[Problem]:
    """Refuse a contributed run that repeats another's outputs; our own may, as of k nearest neighbours."""
    run = one.run
    if run is None:
        return []
    twin = twins.of(run) if one.reported else None
    twins.add(run)
    if twin is None:
        return []
    where, remedy = str(one.folder.predictions_path), "keep one of the two runs"
    return [Problem(where, "outputs of a model of its own", f"a duplicate: those of {twin}", remedy)]


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
    failed = [
        (f"{label}/{row['architecture']}/{row['recipe']}/seed-{row['seed']}", str(row["status"]))
        for row in rows
        if row["status"] != "ok"
    ]
    return failed + [(f"{label}/{run.key}", _why(run)) for run in reported]


def _why(run: ReportedRun) -> str:
    return run.stale or "self-reported: listed in a section of its own"


def _show(workspace: Workspace, report: Report, places: Sequence[Place], old: Path | None) -> None:
    """Add the rows that the board would show; runs with problems have none."""
    valid = {looked.place.path for looked in report.looked if looked.valid}
    by_label: dict[str, list[Place]] = {}
    for place in places:
        if place.path in valid:
            by_label.setdefault(place.label, []).append(place)
    for label, own in by_label.items():
        if label not in report.blocked:
            report.changes += changes(workspace, label, [place.key for place in own], report.root, old)


def need_logits() -> list[str]:
    """Return the estimators that cannot answer for a run that holds class indices alone."""
    return [name for name, one in official_estimators().items() if "logits" in one.requires]

"""Whether stored runs are sound, and reading those of a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from shiftcast.cards.architecture import card_hash
from shiftcast.cards.base import SELF_REPORTED
from shiftcast.cards.recipe import recipe_hash
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.runs.agreement import Known, contradictions, learn
from shiftcast.runs.duplicates import Duplicates
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import SHAPE, run_folders, split_label
from shiftcast.runs.ledger import LEVELS, read_ledger
from shiftcast.runs.outputs import true_ranks
from shiftcast.runs.problems import Problem, refusal
from shiftcast.runs.record import Record, ReportedRecord, RunRecord
from shiftcast.runs.soundness import Expected, Inspection, expected_of
from shiftcast.runs.suite_runs import Pool, ReportedRun, StoredRun
from shiftcast.workspace import Workspace


def inspect(folder: RunFolder, expected: Expected) -> Inspection:
    """Read a run as the cards expect it where it stands; its outputs stay in their file."""
    key, workspace = folder.key, expected.workspace
    model: type[Record] = ReportedRecord if key.recipe == SELF_REPORTED else RunRecord
    inspected = Inspection(folder, model, expected, filed=True)
    if isinstance(inspected.record, RunRecord) and not inspected.problems and key in expected.roles:
        role = expected.roles[key]
        inspected.stale = staleness(inspected.record, workspace, expected.suite, key, role)
    return inspected


def problems_of(inspected: Inspection, *known: Mapping[str, Known]) -> list[Problem]:
    """Return everything that is wrong with a run: by itself, and against what is known of its sets.

    This is the one answer to whether a run is sound: scoring, `submit`, `validate` and `ledger` ask for it.
    """
    run = run_of(inspected)
    if run is None:
        return inspected.problems
    if inspected.stale:
        return []
    return [problem for sets in known for problem in contradictions(inspected.folder, run, sets)]


def run_of(inspected: Inspection) -> StoredRun | None:
    """Return the run, where nothing is wrong with it by itself."""
    record, sets, expected = inspected.record, inspected.sets, inspected.expected
    if inspected.problems or record is None or sets is None or expected is None:
        return None
    if isinstance(record, ReportedRecord):
        return ReportedRun(record, sets, inspected.stale)
    card = expected.workspace.architectures.get(record.key.architecture)
    return StoredRun(record.key, card.family if card else record.family, record, sets)


def staleness(record: RunRecord, workspace: Workspace, suite: Suite, key: RunKey, role: str) -> str:
    """Return why a run no longer is what the suite asks for, or an empty string.

    A stale run is listed, never ranked, and trained again only on request.
    """
    recipe = workspace.resolved_recipe(key.architecture, key.recipe)
    checks = {
        "it belongs to another run": (record.suite, record.key) == (suite.name, key),
        "its suite has another version now": record.suite_version == suite.version,
        "its role has changed": record.role == role,
        "its architecture card has changed": record.card_hash
        == card_hash(workspace.architecture(key.architecture)),
        "its recipe has changed": record.recipe_hash == recipe_hash(recipe),
    }
    return next((reason for reason, holds in checks.items() if not holds), "")


def read_pool(
    workspace: Workspace, suite: Suite, folder: Path, without: RunKey | None = None
) -> tuple[Pool, list[dict[str, Any]]]:
    """Read a suite's runs; return the complete ones and a row with the status of each.

    A suite whose runs are contributed and that lists none has all that there are. Missing, stale and partial
    runs are listed. Damage is refused: a board over the rest would hide it. `without` is a run that is left
    out, because it is to be replaced.

    Raises
    ------
    RunError
        If a run is damaged, of another schema, or contradicts the others.
    """
    pool = Pool(workspace, suite)
    pool.folder = folder
    reader = _Reader(pool, folder)
    reference = suite.reference_runs()
    there = stored_keys(folder, reported=suite.contributed)
    scored = suite.scored_runs() or [key for key in there if key not in set(reference)]
    listed = [*(("scored", key) for key in scored), *(("reference", key) for key in reference)]
    read = [(role, key, *reader.read(key, role)) for role, key in listed if key != without]
    copies = _copies([run for _, _, run, status in read if status == "ok"], suite, folder)
    rows = []
    for role, key, run, status in read:
        if run is not None and key in copies:
            status = f"duplicate: its outputs are those of {copies[key]}"
        elif run is not None and status == "ok" and role == "scored":
            pool.scored.append(run)
        elif run is not None and status == "ok":
            pool.reference[key.architecture] = run
        rows.append(_row(reader.expected, key, role, run, status))
    unlisted = [key for key in there if key not in {*scored, *reference}]
    rows += [_row(reader.expected, key, "scored", None, "not listed in the suite") for key in unlisted]
    return pool, rows


def read_reported(pool: Pool, folder: Path) -> list[ReportedRun]:
    """Read a suite's self-reported runs, in order of name and seed; they take no part in the pool.

    Ranks that a run lacks, because the labels were withheld when it was imported, follow from the labels
    that the other runs imply by now.

    Raises
    ------
    RunError
        If a run is damaged, or contradicts the others.
    """
    if pool.suite.contributed:
        return []  # they are the pool
    reader, reported = _Reader(pool, folder), []
    duplicates = Duplicates(pool.suite.source.test)
    for run in pool.runs:
        duplicates.add(run)
    for key in stored_keys(folder, reported=True):
        inspected, theirs = reader.sound(key)
        if not isinstance(theirs, ReportedRun):
            raise refusal(inspected.problems)
        if not theirs.stale and (original := duplicates.original(theirs)):
            theirs.stale = f"its outputs are those of {original}"
        elif not theirs.stale:
            duplicates.add(theirs)
        reported.append(theirs)
    return reported


def stored_keys(folder: Path, reported: bool) -> list[RunKey]:
    """Return the runs in a suite's folder, self-reported or the others, in order of name and seed.

    Raises
    ------
    RunError
        If a folder is not named as one of a run must be.
    """
    keys = []
    for path in run_folders(folder, reported):
        try:
            keys.append(RunFolder(path).key)
        except ValueError as error:
            raise refusal([misplaced(path)]) from error
    return sorted(keys, key=lambda key: (key.architecture, key.recipe, key.seed))


def misplaced(path: Path) -> Problem:
    """Return what is wrong with a folder whose path cannot be that of a run."""
    expected = f"{SHAPE}, names of at most 64 small letters, digits, '.', '_' and '-'"
    return Problem(str(path), expected, "another path", "rename the folders; shiftcast submit makes them")


class _Reader:
    """Reads runs of one suite in turn, each held against those before."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.suite, self.folder, self.known = pool.suite, folder, pool.known
        self.expected = expected_of(pool.workspace, pool.suite, split_label(folder.name)[1])

    def sound(self, key: RunKey) -> tuple[Inspection, StoredRun | None]:
        """Return a run, None if it is incomplete, and what reading it came to; `RunError` if it is broken."""
        inspected = inspect(RunFolder(self.folder / key.path), self.expected)
        problems, run = problems_of(inspected, self.known), run_of(inspected)
        if problems and not inspected.incomplete:
            raise refusal(problems)
        if run is not None and not inspected.stale:
            learn(self.known, run)
            for name, stored in run.sets.items() if isinstance(run, ReportedRun) else ():
                if stored.true_rank is None and (labels := self.known[name].labels) is not None:
                    run.sets = {
                        **run.sets,
                        name: replace(stored, true_rank=true_ranks(stored.logits, labels)),
                    }
        return inspected, run

    def read(self, key: RunKey, role: str) -> tuple[StoredRun | None, str]:
        """Return a run that the suite lists, if it is there, and its status."""
        folder = RunFolder(self.folder / key.path)
        if not folder.record_path.exists() and not folder.predictions_path.exists():
            return None, "missing"
        inspected, run = self.sound(key)
        if run is None:
            return None, inspected.incomplete
        if inspected.stale:
            return run, f"stale: {inspected.stale}"
        if role == "reference" and run.hard:
            return run, "holds class indices alone; a member of the reference ensemble needs logits"
        needed = [target.id for target in self.suite.unfolded_targets() if target.level == "required"]
        lacking = [name for name in needed if name not in run.sets]
        return run, f"lacks target {', '.join(lacking)}" if lacking else "ok"


def _copies(runs: Sequence[StoredRun | None], suite: Suite, folder: Path) -> dict[RunKey, RunKey]:
    """Return contributed runs that repeat another one's outputs, and whose.

    Those that are vouched for come first. Runs that are trained may repeat outputs, as those of k nearest
    neighbours do.
    """
    if not suite.contributed:
        return {}
    known, copies, ledger = Duplicates(suite.source.test), {}, read_ledger(folder.parent)
    present = [run for run in runs if run is not None]
    for run in sorted(present, key=lambda run: LEVELS.index(ledger.level(folder / run.key.path))):
        if original := known.original(run):
            copies[run.key] = original
        else:
            known.add(run)
    return copies


def _row(expected: Expected, key: RunKey, role: str, run: StoredRun | None, status: str) -> dict[str, Any]:
    """Return the row of one run."""
    workspace, suite = expected.workspace, expected.suite
    card = None if suite.contributed else workspace.architectures.get(key.architecture)
    record = None if run is None else run.record
    trained = record if isinstance(record, RunRecord) else None
    return {
        **key.model_dump(),
        "role": role,
        "family": card.family if card else "" if run is None else run.family,
        "parameters": pd.NA if record is None else record.parameters or pd.NA,
        "plain": suite.contributed or (key in expected.roles and workspace.recipe(key.recipe).plain),
        "device": "" if trained is None else trained.device,
        "epochs": pd.NA if trained is None else len(trained.epochs) or pd.NA,
        "signals": trained is not None and trained.signals_sha256 is not None,
        "status": status,
    }

"""Whether stored runs are sound, and reading those of a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.cards.architecture import card_hash
from shiftcast.cards.base import SELF_REPORTED
from shiftcast.cards.recipe import recipe_hash
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import RunError
from shiftcast.runs.duplicates import Twins
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.ledger import LEVELS, Ledger, read_ledger
from shiftcast.runs.outputs import StoredSet, true_ranks
from shiftcast.runs.record import ReportedRecord, RunRecord
from shiftcast.runs.suite_runs import Pool, ReportedRun, StoredRun
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace


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

    Missing, stale and partial runs are listed. Damage is refused: a board over the rest would hide it.
    `without` is a contributed run that is left out, because it is to be replaced.

    Raises
    ------
    RunError
        If a file is truncated, foreign or of another schema, or a run contradicts the others.
    """
    if suite.contributed:
        return _read_contributed(workspace, suite, folder, without)
    pool, rows = Pool(workspace, suite), []
    roles = [("scored", key) for key in suite.scored_runs()]
    roles += [("reference", key) for key in suite.reference_runs()]
    first: StoredRun | None = None
    labels: dict[str, Integers | None] = {}
    for role, key in roles:
        run, status = _read_run(workspace, suite, folder, key, role)
        if run is not None and status == "ok":
            first = first or run
            for name in set(run.sets) & set(first.sets) - set(labels):
                labels[name] = first.sets[name].labels
            _check_agreement(run, first, RunFolder(folder / key.path), suite, labels)
            if role == "scored":
                pool.scored.append(run)
            else:
                pool.reference[key.architecture] = run
        rows.append(_status_row(workspace, key, role, run, status))
    rows += _unlisted(workspace, folder, {key.path for _, key in roles})
    return pool, rows


def read_reported(pool: Pool, folder: Path) -> list[ReportedRun]:
    """Read a suite's self-reported runs, in order of name and seed; they take no part in the pool.

    Ranks that a run lacks, because the labels were withheld when it was imported, follow from the labels
    that the other runs imply by now.

    Raises
    ------
    RunError
        If a run is damaged, holds sets that the suite has not, or contradicts the others.
    """
    if pool.suite.contributed:
        return []  # they are the pool
    found: list[ReportedRun] = []
    first: dict[str, StoredRun] = {}
    labels: dict[str, Integers | None] = {}
    for run in pool.runs:
        first |= {name: run for name in run.sets if name not in first}
    for path in sorted(folder.glob(f"*/{SELF_REPORTED}/seed-*/run.json")):
        place = RunFolder(path.parent)
        record, sets = place.read_reported(filed=True)
        run = ReportedRun(record, sets, _stale(record, pool.suite))
        if folder / record.key.path != path.parent or record.suite != pool.suite.name:
            raise RunError(
                f"{path}: is the record of another run, {record.suite}/{record.key}; {record.remedy}"
            )
        if not run.stale:
            _check_reported(pool, run, place)
            run.sets = {
                name: _check_against(run, name, first.setdefault(name, run), labels, place) for name in sets
            }
        found.append(run)
    found.sort(key=lambda run: (run.key.architecture, run.key.seed))
    _mark_duplicates(pool, found)
    return found


def _mark_duplicates(pool: Pool, found: Sequence[ReportedRun]) -> None:
    """Say of runs that are not shown for it whose outputs they repeat."""
    known = Twins(pool.suite.source.test)
    for run in pool.runs:
        known.add(run)
    for reported in found:
        if reported.stale:
            continue
        if twin := known.of(reported):
            reported.stale = f"its outputs are those of {twin}"
        else:
            known.add(reported)


def contributed_runs(folder: Path) -> list[RunKey]:
    """Return the runs in the folder of a logits-only suite, in order of name and seed."""
    found = []
    for path in sorted(folder.glob(f"*/{SELF_REPORTED}/seed-*/run.json")):
        architecture, recipe, seed = path.parent.relative_to(folder).parts
        try:
            key = RunKey(architecture=architecture, recipe=recipe, seed=int(seed.removeprefix("seed-")))
        except ValueError as error:  # pydantic's is one
            raise RunError(
                f"{path.parent}: is no ARCHITECTURE/{SELF_REPORTED}/seed-N; take it out"
            ) from error
        found.append(key)
    return sorted(found, key=lambda key: (key.architecture, key.seed))


def _read_contributed(
    workspace: Workspace, suite: Suite, folder: Path, without: RunKey | None
) -> tuple[Pool, list[dict[str, Any]]]:
    """Read the runs of a logits-only suite: those that it lists, or all that there are if it lists none."""
    pool, rows = Pool(workspace, suite), []
    reference = suite.reference_runs()
    there = contributed_runs(folder)
    scored = suite.scored_runs() or [key for key in there if key not in set(reference)]
    first: dict[str, StoredRun] = {}
    labels: dict[str, Integers | None] = {}
    complete: list[ReportedRun] = []
    statuses: list[tuple[str, RunKey, ReportedRun | None, str]] = []
    for role, key in [*(("scored", key) for key in scored), *(("reference", key) for key in reference)]:
        if key == without:
            continue
        run, status = _read_one(pool, folder, key, role)
        if run is not None and status == "ok":
            for name in run.sets:
                first.setdefault(name, run)
            place = RunFolder(folder / key.path)
            run.sets = {name: _check_against(run, name, first[name], labels, place) for name in run.sets}
            complete.append(run)
        statuses.append((role, key, run, status))
    twins = _twins(complete, suite.source.test, read_ledger(folder.parent), folder)
    for role, key, run, status in statuses:
        if key in twins:
            status = f"duplicate: its outputs are those of {twins[key]}"
        elif run is not None and status == "ok" and role == "scored":
            pool.scored.append(run)
        elif run is not None and status == "ok":
            pool.reference[key.architecture] = run
        rows.append(_contributed_row(key, role, run, status))
    unlisted = [key for key in there if key not in {*scored, *reference}]
    rows += [_contributed_row(key, "scored", None, "not listed in the suite") for key in unlisted]
    return pool, rows


def _twins(runs: Sequence[ReportedRun], source: str, ledger: Ledger, folder: Path) -> dict[RunKey, RunKey]:
    """Return runs that repeat another one's outputs, and whose: those that are vouched for come first."""
    known, found = Twins(source), {}
    for run in sorted(runs, key=lambda run: LEVELS.index(ledger.level(folder / run.key.path))):
        if twin := known.of(run):
            found[run.key] = twin
        else:
            known.add(run)
    return found


def _read_one(pool: Pool, folder: Path, key: RunKey, role: str) -> tuple[ReportedRun | None, str]:
    """Return a contributed run, if it is there, and its status."""
    suite, place = pool.suite, RunFolder(folder / key.path)
    if not place.record_path.exists():
        return None, "missing"
    if not place.predictions_path.exists():
        return None, "incomplete: predictions.safetensors is missing"
    record, sets = place.read_reported(filed=True)
    run = ReportedRun(record, sets, _stale(record, suite))
    if (record.suite, record.key) != (suite.name, key):
        raise RunError(f"{place.record_path}: is the record of another run, {record.suite}/{record.key}")
    if run.stale:
        return run, f"stale: {run.stale}"
    _check_reported(pool, run, place)
    if role == "reference" and run.hard:
        return run, "holds class indices alone; a member of the reference ensemble needs logits"
    needed = [t.id for t in suite.unfolded_targets() if t.level == "required"]
    lacking = [name for name in needed if name not in sets]
    return run, f"lacks target {', '.join(lacking)}" if lacking else "ok"


def _contributed_row(key: RunKey, role: str, run: ReportedRun | None, status: str) -> dict[str, Any]:
    return {
        **key.model_dump(),
        "role": role,
        "family": "" if run is None else run.family,
        "parameters": pd.NA if run is None else run.report.parameters or pd.NA,
        "plain": True,
        "device": "",
        "epochs": pd.NA,
        "signals": False,
        "status": status,
    }


def _stale(record: ReportedRecord, suite: Suite) -> str:
    return "" if record.suite_version == suite.version else "its suite has another version now"


def _check_reported(pool: Pool, run: ReportedRun, place: RunFolder) -> None:
    """Refuse sets that the suite has not, or that nobody can know the answers to."""
    suite, workspace = pool.suite, pool.workspace
    known = [suite.source.test, *(target.id for target in suite.unfolded_targets())]
    if strange := sorted(set(run.sets) - set(known) | set(run.sets) ^ set(run.report.targets)):
        raise RunError(
            f"{place.predictions_path}: logits/{strange[0]}: is no set of suite {suite.name!r} that run.json "
            f"states; {run.report.remedy}"
        )
    if run.report.targets.get(suite.source.test) is None or run.sets[suite.source.test].true_rank is None:
        raise RunError(
            f"{place.predictions_path}: logits/{suite.source.test} and true_rank/{suite.source.test} are "
            f"needed, and one is missing; {run.report.remedy}"
        )
    _check_classes(run.sets, len(workspace.dataset(suite.source.test).classes), place)
    _check_withheld(workspace, suite, run.sets, place)


def _check_against(
    run: ReportedRun, name: str, first: StoredRun, labels: dict[str, Integers | None], place: RunFolder
) -> StoredSet:
    """Return a set of a self-reported run with its ranks, or refuse one that is not that of other runs."""
    own, other = run.sets[name], first.sets[name]
    if name not in labels:
        labels[name] = other.labels
    true = labels[name]
    if own.n != other.n or _fingerprint(run, name) != _fingerprint(first, name):
        raise RunError(
            f"{place.predictions_path}: {name}: is not of the images that {first.key} was evaluated on; "
            f"{run.report.remedy}"
        )
    if own.true_rank is None and true is not None:
        own = replace(own, true_rank=true_ranks(own.logits, true))
    if not _same_labels(own, true):
        raise RunError(
            f"{place.predictions_path}: {name}: its ranks imply other labels than those of {first.key}; "
            f"{run.report.remedy}"
        )
    if not _same(own.clusters, other.clusters):
        raise RunError(
            f"{place.predictions_path}: cluster/{name}: differs from that of {first.key}; {run.report.remedy}"
        )
    return own


def _read_run(
    workspace: Workspace, suite: Suite, folder: Path, key: RunKey, role: str
) -> tuple[StoredRun | None, str]:
    place = RunFolder(folder / key.path)
    if not place.record_path.exists():
        return None, "missing"
    if not place.predictions_path.exists():
        return None, "incomplete: predictions.safetensors is missing"
    try:
        record, sets = place.read(filed=True)
    except RunError:
        if not place.signals_path.exists() and place.read_record().signals_sha256 is not None:
            return None, "incomplete: signals.safetensors is missing"
        raise
    _check_classes(sets, len(workspace.dataset(suite.source.test).classes), place)
    _check_withheld(workspace, suite, sets, place)
    run = StoredRun(key, workspace.architecture(key.architecture).family, record, sets)
    if reason := staleness(record, workspace, suite, key, role):
        return run, f"stale: {reason}"
    needed = [suite.source.test, *(t.id for t in suite.unfolded_targets() if t.level == "required")]
    lacking = [name for name in needed if name not in sets]
    return run, f"lacks target {', '.join(lacking)}" if lacking else "ok"


def _check_classes(sets: Mapping[str, StoredSet], classes: int, place: RunFolder) -> None:
    for name, stored in sets.items():
        if stored.classes != classes:
            raise RunError(
                f"{place.predictions_path}: logits/{name}: the suite has {classes} classes, "
                f"the file {stored.classes}"
            )


def _check_withheld(
    workspace: Workspace, suite: Suite, sets: Mapping[str, StoredSet], place: RunFolder
) -> None:
    """Refuse answers to a set whose labels nobody can know yet."""
    for target in suite.unfolded_targets():
        card = workspace.dataset(target.dataset)
        closed = card.labels == "withheld" and not (card.seal and card.seal.opened)
        if closed and target.id in sets and sets[target.id].true_rank is not None:
            raise RunError(
                f"{place.predictions_path}: true_rank/{target.id}: the labels of {target.dataset!r} are "
                "withheld, so no run can hold them; open the set with shiftcast blind open, or take them out"
            )


def _check_agreement(
    run: StoredRun, first: StoredRun, place: RunFolder, suite: Suite, labels: dict[str, Integers | None]
) -> None:
    """Refuse a run that was not evaluated on the same images as the first one, whose labels are kept."""
    for name in sorted(set(run.sets) & set(first.sets)):
        own, other = run.sets[name], first.sets[name]
        if own.n != other.n:
            raise RunError(
                f"{place.predictions_path}: {name}: holds {own.n} images, "
                f"but {first.key} holds {other.n}; run the suite again"
            )
        if _fingerprint(run, name) != _fingerprint(first, name):
            raise RunError(
                f"{place.path}: {name}: was evaluated on other images than {first.key} (their fingerprints "
                "differ); run the suite again"
            )
        if not _same_labels(own, labels[name]):
            raise RunError(
                f"{place.predictions_path}: {name}: its ranks imply other labels than those of {first.key}; "
                "run the suite again"
            )
        if not _same(own.clusters, other.clusters):
            raise RunError(
                f"{place.predictions_path}: cluster/{name}: differs from that of {first.key}; "
                "run the suite again"
            )
    if run.sets[suite.source.test].true_rank is None:
        raise RunError(
            f"{place.predictions_path}: true_rank/{suite.source.test} is missing; the source needs it"
        )


def _fingerprint(run: StoredRun, name: str) -> str:
    used = run.record.datasets.get(name)
    return used.fingerprint if used else ""


def _same_labels(stored: StoredSet, labels: Integers | None) -> bool:
    """Whether a set's ranks are those of the labels among its logits (no sorting, unlike `labels`)."""
    if stored.true_rank is None or labels is None:
        return stored.true_rank is None and labels is None
    return np.array_equal(true_ranks(stored.logits, labels), stored.true_rank)


def _same(one: Integers | None, other: Integers | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _status_row(
    workspace: Workspace, key: RunKey, role: str, run: StoredRun | None, status: str
) -> dict[str, Any]:
    record = run.record if run is not None and isinstance(run.record, RunRecord) else None
    return {
        **key.model_dump(),
        "role": role,
        "family": workspace.architecture(key.architecture).family,
        "parameters": pd.NA if record is None else record.parameters or pd.NA,
        "plain": workspace.recipe(key.recipe).plain,
        "device": "" if record is None else record.device,
        "epochs": pd.NA if record is None else len(record.epochs) or pd.NA,
        "signals": record is not None and record.signals_sha256 is not None,
        "status": status,
    }


def _unlisted(workspace: Workspace, folder: Path, listed: set[Path]) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(folder.glob("*/*/seed-*/run.json")):
        relative = path.parent.relative_to(folder)
        architecture, recipe, seed = relative.parts
        if relative in listed or recipe == SELF_REPORTED:
            continue
        known = workspace.architectures.get(architecture)
        rows.append(
            {
                "architecture": architecture,
                "recipe": recipe,
                "seed": int(seed.removeprefix("seed-")) if seed.removeprefix("seed-").isdigit() else -1,
                "role": "scored",
                "family": known.family if known else "",
                "parameters": pd.NA,
                "plain": False,
                "device": "",
                "epochs": pd.NA,
                "signals": False,
                "status": "not listed in the suite",
            }
        )
    return rows

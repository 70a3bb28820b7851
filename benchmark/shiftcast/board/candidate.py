"""Anyone's estimator on all committed predictions: its row, and how it differs from the others.

Needs no images, no training and no torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import pandas as pd

from shiftcast.analysis.claims import Resampled, paired_difference
from shiftcast.analysis.confusion import Confusion
from shiftcast.board.confusion import official_predictions
from shiftcast.board.stored import read_files
from shiftcast.board.words import KINDS
from shiftcast.cards.suite import Suite
from shiftcast.errors import BrokenEstimatorError, InvalidInputError, ShiftcastError, with_line
from shiftcast.estimators import Estimator, official_estimators
from shiftcast.estimators.base import declaration_problem
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import label_of, no_results, results_folder, run_folders, stored_suites
from shiftcast.runs.reading import read_pool
from shiftcast.runs.suite_runs import Pool
from shiftcast.scoring.rows import score_pool
from shiftcast.workspace import Workspace

PAIR_COLUMNS = ("kind", "rival", "track", "mae", "rival_mae", "difference", "low", "high", "sets")


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a new estimator does on a suite.

    Parameters
    ----------
    name
        What it is called beside ours.
    suite
        The suite.
    table
        Its own and our rows, as in `SuiteScores.table`.
    pairs
        One row per kind of shift and estimator of ours that answers wherever the candidate does.
        Columns: `kind`, `rival`, `track`, `mae`, `rival_mae`, `difference` (candidate minus rival, pp;
        below 0 the candidate is better), `low`, `high` (95 %: images and architectures resampled,
        conditional on these shifts), `sets`.
    skipped
        Reasons why it gave no row, and for how many.
    """

    name: str
    suite: Suite
    table: pd.DataFrame
    pairs: pd.DataFrame
    skipped: Mapping[str, int]


def load_estimator(where: str) -> Estimator:
    """Return an instance of the estimator that `FILE.py:Class` or `package.module:Class` names.

    The name may also be that of a function without arguments that returns an instance, or of an
    instance.

    Raises
    ------
    InvalidInputError
        If there is no such file, module or name, the code fails, or what it gives is no estimator.
    """
    place, _, name = where.rpartition(":")
    if not place or not name.isidentifier():
        raise InvalidInputError(f"{where}: expected FILE.py:Class or package.module:Class")
    module = _module(place)
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if _is_own_estimator(value, module)]
        offer = f"; it has {', '.join(known)}" if known else ""
        raise InvalidInputError(f"{place}: holds no name {name!r}{offer}")
    found = getattr(module, name)
    try:
        made = found() if callable(found) and not isinstance(found, Estimator) else found
    except Exception as error:  # anybody's code may raise anything
        raise BrokenEstimatorError(f"{where}: could not be made without arguments: {error!r}") from error
    if problem := declaration_problem(made):
        raise BrokenEstimatorError(f"{where}: {problem}")
    loaded: Estimator = made
    return loaded


def _module(place: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place)
        if not path.is_file():
            raise InvalidInputError(f"{place}: there is no such file")
        name = f"shiftcast_candidate_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None  # noqa: S101, PT018  a .py file always has both
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and scikit-learn's clone look their module up
        sys.path.insert(0, str(path.parent.resolve()))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(path.parent.resolve()))
        return module
    except ShiftcastError:
        raise
    except Exception as error:
        raise InvalidInputError(f"{place}: could not be loaded: {with_line(error)}") from error


def _is_own_estimator(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, Estimator) and value.__module__ == module.__name__


def default_suite(workspace: Workspace, results: Path) -> Suite:
    """Return the suite with the most architectures in `results`, then the most runs, the first by name.

    Raises
    ------
    InvalidInputError
        If there are no results.
    """
    counts = {}
    for name, suite in sorted(workspace.suites.items()):
        folders = run_folders(results_folder(results, suite, ""), reported=False)
        own = [folder for folder in map(RunFolder, folders) if folder.record_path.exists()]
        counts[name] = len({folder.key.architecture for folder in own}), len(own)
    best = max(counts, key=lambda name: counts[name], default="")
    if not best or not counts[best][1]:
        raise no_results(workspace, results)
    return workspace.suites[best]


def score_candidate(
    workspace: Workspace,
    suite: Suite,
    results: Path,
    estimator: Estimator,
    name: str,
    progress: Callable[[str, int, int], None] | None = None,
) -> Candidate:
    """Run an estimator on every stored run of a suite, beside ours.

    The rows of ours are those that the leaderboard keeps; where there are none, they are made anew.

    Parameters
    ----------
    workspace, suite, results
        Where the cards are, which suite, and where its runs are.
    estimator
        Unfitted; it is cloned.
    name
        What to call it; " (yours)" is added where one of ours has the name.
    progress
        Is told what is scored, how many runs are done, and of how many.

    Raises
    ------
    BrokenEstimatorError
        If its code fails, saying where, or gives something else than estimates.
    InvalidInputError
        If there is no complete run, or it gives no row at all.
    """
    pool, _ = read_pool(workspace, suite, results_folder(results, suite, ""))
    if not pool.scored:
        there = ", ".join(
            label_of(stored.name, edition) for stored, edition in stored_suites(workspace, results)
        )
        raise InvalidInputError(
            f"{results}: suite {suite.name!r} has no complete scored run; there are runs of {there}"
        )
    ours = official_estimators()
    called = f"{name} (yours)" if name in ours else name
    try:
        own, lacking = score_pool(pool, {called: estimator}, progress=_about(progress, called))
    except Exception as error:  # of ours too: an Estimate of NaN says nothing of who made it
        said = f"its code failed: {with_line(error)}"
        if isinstance(error, ShiftcastError):
            said = str(error).removeprefix(f"{type(estimator).__name__}: ")
        raise BrokenEstimatorError(f"{called}: {said}") from error
    skipped = dict(zip(lacking["reason"], lacking["rows"], strict=True))
    if own.empty:
        raise InvalidInputError(
            f"{called}: gave no result on {suite.name}: {'; '.join(skipped) or 'no targets'}"
        )
    kept = read_files(workspace, results, suite, "")
    if kept is not None and set(ours) <= set(kept["boards"]["estimator"]) | set(kept["skipped"]["estimator"]):
        others = kept["estimates"]
        others = others[others["estimator"].isin(ours)][list(own.columns)]
    else:
        others, _ = score_pool(pool, ours, progress=_about(progress, "the official estimators"))
    table = pd.concat([own, others], ignore_index=True)
    return Candidate(called, suite, table, _pairs(pool, table, called), skipped)


def _about(progress: Callable[[str, int, int], None] | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else partial(progress, what)


def _pairs(pool: Pool, table: pd.DataFrame, name: str) -> pd.DataFrame:
    members = pool.suite.reference.members
    if not members or any(member not in pool.reference for member in members):
        return pd.DataFrame(columns=list(PAIR_COLUMNS))  # resampling goes by the ensemble's sets
    confusion = Confusion(pool)
    resampled = Resampled(confusion)
    predicted = official_predictions(pool, table[~table["abstains"].astype(bool)])
    tracks = dict(zip(table["estimator"], table["track"], strict=True))
    rows = []
    for natural, kind in KINDS.items():
        groups: dict[str, list[str]] = {}
        for target in pool.targets:
            labelled = target.id in confusion.scored_sets and confusion.labelled(target.id)
            if labelled and pool.workspace.natural(target) == natural:
                groups.setdefault(target.group, []).append(target.id)
        for rival in tracks:
            both = [[t for t in own if {(name, t), (rival, t)} <= set(predicted)] for own in groups.values()]
            both = [own for own in both if own]
            if rival != name and both:
                pair = paired_difference(resampled, both, predicted, name, rival)
                rows.append((kind, rival, tracks[rival], *pair, sum(map(len, both))))
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))

"""Every table of a suite, from its stored runs alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from shiftcast.board.confusion import confusion_tables
from shiftcast.board.stored import stored_rows
from shiftcast.board.tables import (
    LABEL_VIEW_COLUMNS,
    REPORTED_COLUMNS,
    RUN_COLUMNS,
    SEED_COLUMNS,
    VIEW_COLUMNS,
    SuiteScores,
)
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import RunError
from shiftcast.estimators import Estimator, official_estimators, unranked_estimators
from shiftcast.runs.layout import label_of, results_folder, stored_suites
from shiftcast.runs.ledger import read_ledger
from shiftcast.runs.reading import read_pool, read_reported
from shiftcast.runs.record import RunRecord
from shiftcast.runs.registers import registered_estimators
from shiftcast.runs.suite_runs import Pool, ReportedRun, StoredRun
from shiftcast.scoring.conformal import with_conformal
from shiftcast.scoring.controls import CONTROL_COLUMNS, check_names, controls
from shiftcast.scoring.harness import score_run
from shiftcast.scoring.processes import Stored
from shiftcast.scoring.rows import TABLE_COLUMNS, score_pool
from shiftcast.scoring.signals import signal_means
from shiftcast.statistics import seed_spread
from shiftcast.util.memory import give_back
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace

FEWEST_SEEDS = 4
"""Complete runs of a model that say something about its spread."""


def score_suite(
    workspace: Workspace,
    suite: Suite,
    results: Path,
    edition: str = "",
    estimators: Mapping[str, Estimator] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    sample: int | None = None,
) -> SuiteScores:
    """Score every complete run of a suite.

    Parameters
    ----------
    workspace, suite
        Where the cards are, and what is scored.
    results
        The folder that holds `SUITE/` or `SUITE@EDITION/`.
    edition
        Which arrays the runs were made on; empty for those that the suite names.
    estimators
        Named, unfitted estimators; the official ones when omitted.
    jobs
        Processes that share the work, see `shiftcast.scoring.processes.scored_runs`.
    progress
        Is told how many runs are scored, and of how many.
    sample
        How many runs are scored; the others' rows are those of the stored tables (RunError where these are
        not of these runs). All are scored when omitted.
    """
    chosen = _official(suite) if estimators is None else estimators
    unranked = unranked_estimators() if estimators is None else {}
    folder = results_folder(results, suite, edition)
    pool, runs = read_pool(workspace, suite, folder)
    score = partial(score_pool, pool, {**chosen, **unranked}, jobs, progress)
    rows, skipped = _rows(score, None if sample is None else (workspace, suite, results, edition, sample))
    table, apart = _apart(_seen(workspace, suite, edition, results, rows), unranked)
    del rows  # a large board's take as much as its outputs
    reported, accuracies = _reported(pool, folder, chosen), _accuracies(pool)
    found = _controls(pool, table, accuracies, chosen if estimators is None else {})
    signals = signal_means(pool, folder)
    pool.forget()
    give_back()
    table = with_conformal(table)
    return SuiteScores(
        suite=suite,
        edition=edition,
        targets=pool.targets if pool.scored else [],
        natural={t.id: workspace.natural(t) for t in suite.unfolded_targets()},
        runs=_trusted(runs, folder),
        accuracies=accuracies,
        table=table,
        skipped=skipped,
        unranked=apart,
        confusion=confusion_tables(pool, table, folder),
        signals=signals,
        reported=reported,
        controls=found,
        **_of_pool(workspace, pool),
    )


def _of_pool(workspace: Workspace, pool: Pool) -> dict[str, Any]:
    """Return the fields of `SuiteScores` that need no estimates."""
    return {
        "ensemble": _ensemble(workspace, pool),
        "dataset_notes": _dataset_notes(workspace, pool),
        "class_distances": _class_distances(workspace, pool) if pool.scored else {},
        "views": _views(workspace, pool),
        "label_views": _label_views(workspace, pool),
        "seeds": _seeds(workspace, pool),
    }


def _controls(
    pool: Pool, table: pd.DataFrame, accuracies: pd.DataFrame, estimators: Mapping[str, Estimator]
) -> pd.DataFrame:
    """Check a suite's expectations, if there are any, of the official estimators."""
    if not (pool.suite.expectations and pool.scored and estimators):
        return pd.DataFrame(columns=CONTROL_COLUMNS)
    return controls(pool, table, accuracies, estimators)


def _official(suite: Suite) -> dict[str, Estimator]:
    """Return the official estimators; a name in the suite that none has is refused before all is scored."""
    check_names(suite)
    return official_estimators()


def _rows(
    score: Callable[..., tuple[pd.DataFrame, pd.DataFrame]],
    kept: tuple[Workspace, Suite, Path, str, int] | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all rows and what was skipped; with `kept`, a sample's are scored and the others are stored."""
    if kept is None:
        return score()
    stored, skipped = _stored(*kept)
    return score(stored=stored)[0], skipped


def _apart(rows: pd.DataFrame, unranked: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of ranked estimators, and those of the others."""
    apart = rows["estimator"].isin(list(unranked))
    return rows[~apart].drop(columns="total_variation"), rows[apart]


def _stored(
    workspace: Workspace, suite: Suite, results: Path, edition: str, sample: int
) -> tuple[Stored, pd.DataFrame]:
    found = stored_rows(workspace, results, suite, edition, sample)
    if found is None:
        label = label_of(suite.name, edition)
        raise RunError(f"{label}: its stored tables are not of these runs; run without --sample")
    return found


def _seen(
    workspace: Workspace, suite: Suite, edition: str, results: Path, table: pd.DataFrame
) -> pd.DataFrame:
    """Count estimators that came after a blind set was opened as selected on it.

    Whoever defined them could have known its labels. What was registered before is the proof of the contrary.
    """
    marked = table["selected_on"].astype(str)
    for name in {target.dataset for target in suite.targets}:
        card = workspace.dataset(name)
        if card.opening:
            blind = registered_estimators(results, label_of(suite.name, edition), card)
            later = (table["target"] == name) & ~table["estimator"].isin(blind)
            marked = marked.mask(later, (marked + f";{name}").str.removeprefix(";"))
    return table.assign(selected_on=marked)


def score_models(
    workspace: Workspace,
    suite: Suite,
    results: Path,
    edition: str = "",
    only: Collection[RunKey] | None = None,
) -> SuiteScores:
    """Return what the tables of models need: accuracies, and what the headline estimator predicts.

    Parameters
    ----------
    workspace, suite, results, edition
        As in `score_suite`.
    only
        Runs that the headline estimator predicts for; all scored ones when None.
    """
    ours, folder = official_estimators(), results_folder(results, suite, edition)
    headline = {suite.headline: ours[suite.headline]} if suite.headline in ours else {}
    pool, runs = read_pool(workspace, suite, folder)
    scored = [run for run in pool.scored if only is None or run.key in only]
    rows = [row for run in scored for row in score_run(pool, run, headline, ("official",))[0]]
    return SuiteScores(
        suite=suite,
        edition=edition,
        targets=pool.targets if pool.scored else [],
        natural={t.id: workspace.natural(t) for t in suite.unfolded_targets()},
        runs=_trusted(runs, folder),
        accuracies=_accuracies(pool),
        table=pd.DataFrame(rows, columns=list(TABLE_COLUMNS)),
        skipped=pd.DataFrame(columns=["estimator", "reason", "rows"]),
        ensemble=_ensemble(workspace, pool),
        dataset_notes={},
        reported=_reported(pool, folder, headline),
    )


def _reported(pool: Pool, folder: Path, estimators: Mapping[str, Estimator]) -> pd.DataFrame:
    """Return what self-reported runs did on each set, and what the headline estimator predicts."""
    rows, ledger = [], read_ledger(folder.parent)
    for run in read_reported(pool, folder):
        own = {column: getattr(run.report, column) for column in ("family", "parameters", "note", "outputs")}
        own |= {"architecture": run.key.architecture, "seed": run.key.seed, "stale": run.stale}
        own["trust"] = ledger.level(folder / run.key.path)
        predicted = {} if run.stale else _headline(pool, run, estimators)
        for name, stored in run.sets.items():
            ranks = stored.true_rank
            counts = {
                "right": pd.NA if ranks is None else int((ranks == 0).sum()),
                "n": stored.n,
                "effective": run.effective(name),
            }
            rows.append({**own, "set": name, **counts, "predicted": predicted.get(name, float("nan"))})
    frame = pd.DataFrame(rows, columns=list(REPORTED_COLUMNS))
    return frame.astype({"parameters": "Int64", "right": "Int64"})


def _headline(pool: Pool, run: ReportedRun, estimators: Mapping[str, Estimator]) -> dict[str, float]:
    """Return what the headline estimator predicts for a run by target, as for a scored run."""
    name = pool.suite.headline
    rows, _ = score_run(pool, run, {name: estimators[name]} if name in estimators else {})
    official = [row for row in rows if row["protocol"] == "official" and not row["abstains"]]
    return {row["target"]: row["predicted"] for row in official}


def _accuracies(pool: Pool) -> pd.DataFrame:
    rows = []
    for role, runs in (("scored", pool.scored), ("reference", list(pool.reference.values()))):
        for run in runs:
            for name, stored in run.sets.items():
                ranks = stored.true_rank
                right = pd.NA if ranks is None else int((ranks == 0).sum())
                rows.append(
                    {
                        **run.key.model_dump(),
                        "role": role,
                        "set": name,
                        "right": right,
                        "n": stored.n,
                        "effective": run.effective(name),
                    }
                )
    columns = ["architecture", "recipe", "seed", "role", "set", "right", "n", "effective"]
    return pd.DataFrame(rows, columns=columns).astype({"right": "Int64"})


def _views(workspace: Workspace, pool: Pool) -> pd.DataFrame:
    """Count right answers on the parts of sets that dataset cards ask for."""
    rows = []
    names = [pool.suite.source.test, *(t.id for t in pool.targets if not t.derived)] if pool.scored else []
    for name in names:
        card, labels = workspace.dataset(name), pool.labels_of(name)
        if labels is None:
            continue
        for key, view in card.views.items():
            shown = ~np.isin(labels, [card.classes.index(one) for one in view.without_classes])
            shown[[position for position in view.without_images if position < len(shown)]] = False
            for run in pool.scored:
                used = run.record.datasets.get(name)
                if name not in run.sets or (view.edition and (used is None or used.edition != view.edition)):
                    continue
                right = int((cast("Integers", run.sets[name].true_rank)[shown] == 0).sum())
                counts = {"right": right, "n": int(shown.sum())}
                rows.append({**run.key.model_dump(), "set": name, "view": key, "title": view.title, **counts})
    return pd.DataFrame(rows, columns=list(VIEW_COLUMNS))


def _seeds(workspace: Workspace, pool: Pool) -> pd.DataFrame:
    """Return the spread of models of which there are many seeds."""
    models: dict[tuple[str, str], list[StoredRun]] = {}
    for run in pool.scored:
        models.setdefault((run.key.architecture, run.key.recipe), []).append(run)
    natural = [target.id for target in pool.targets if workspace.natural(target)]
    rows = []
    for (architecture, recipe), runs in models.items():
        for name in (pool.suite.source.test, *natural) if len(runs) >= FEWEST_SEEDS else ():
            sets = [run.sets[name] for run in runs if name in run.sets]
            # The formula takes images as independent: sets of many pictures of one object are left out.
            known = [one.true_rank for one in sets if one.true_rank is not None and one.clusters is None]
            if len(known) == len(runs):
                wrong = np.stack([rank > 0 for rank in known])
                own = {"architecture": architecture, "recipe": recipe, "set": name, "seeds": len(runs)}
                own |= {"n": wrong.shape[1], "accuracy": float(1 - wrong.mean())}
                rows.append({**own, **asdict(seed_spread(wrong))})
    return pd.DataFrame(rows, columns=list(SEED_COLUMNS))


def _label_views(workspace: Workspace, pool: Pool) -> pd.DataFrame:
    """Return what runs state about accuracy under other labels of the source's images."""
    source = pool.suite.source.test
    titles = {name: view.title for name, view in workspace.dataset(source).label_views.items()}
    rows = [
        {
            **run.key.model_dump(),
            "view": name,
            "title": titles[name],
            "given": run.sets[source].accuracy,
            **found.model_dump(),
        }
        for run in pool.scored
        if isinstance(run.record, RunRecord)
        for name, found in run.record.label_views.items()
        if name in titles
    ]
    return pd.DataFrame(rows, columns=list(LABEL_VIEW_COLUMNS))


def _ensemble(workspace: Workspace, pool: Pool) -> pd.DataFrame:
    roles = [("member", pool.suite.reference.members), ("reserve", pool.suite.reference.reserves)]

    def family(name: str) -> str:
        if not pool.suite.contributed:
            return workspace.architecture(name).family
        return pool.reference[name].family if name in pool.reference else ""

    rows = [
        {"architecture": name, "family": family(name), "role": role}
        for role, names in roles
        for name in names
    ]
    return pd.DataFrame(rows, columns=["architecture", "family", "role"])


def _trusted(runs: list[dict[str, Any]], folder: Path) -> pd.DataFrame:
    """Return `SuiteScores.runs`: what was read of each run, and who vouches for it."""
    ledger = read_ledger(folder.parent)
    rows = []
    for row in runs:
        place = folder / RunKey(**{name: row[name] for name in RunKey.model_fields}).path
        rows.append({**row, "trust": "" if row["status"] == "missing" else ledger.level(place)})
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS)).astype({"parameters": "Int64", "epochs": "Int64"})


def _class_distances(workspace: Workspace, pool: Pool) -> dict[str, float]:
    """Return by how much the class shares of labelled natural sets differ from the source's."""
    shares = {}
    natural = [target.id for target in pool.targets if workspace.natural(target)]
    for name in (pool.suite.source.test, *natural):
        labels = pool.labels_of(name)
        if labels is not None:
            counts = np.bincount(labels, minlength=len(workspace.dataset(pool.suite.source.test).classes))
            shares[name] = counts / counts.sum()
    source = shares.pop(pool.suite.source.test)
    return {name: float(np.abs(own - source).sum() / 2) for name, own in shares.items()}


def _dataset_notes(workspace: Workspace, pool: Pool) -> dict[str, str]:
    notes = {}
    for run in pool.scored:
        for name, used in run.record.datasets.items():
            if used.edition in ("publisher", "") or used.edition.startswith("generator-"):
                continue
            known = (
                workspace.datasets[name].editions.get(used.edition) if name in workspace.datasets else None
            )
            notes[name] = f"{used.edition}: {known.description if known else 'arrays that no card describes'}"
    return dict(sorted(notes.items()))


def score_results(workspace: Workspace, results: Path) -> list[SuiteScores]:
    """Score every suite that has a folder in `results`, in order of name."""
    return [
        score_suite(workspace, suite, results, edition)
        for suite, edition in stored_suites(workspace, results)
    ]

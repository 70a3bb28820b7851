"""From stored runs to one tidy table of predicted against actual accuracy.

The harness, not the estimator, splits the source, strips labels, permutes target rows and keeps
the scored run's family out of its reference ensemble. Needs no dataset and no torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from sklearn.base import clone

from shiftcast.analysis.report import confusion_tables
from shiftcast.cards import Suite, Target
from shiftcast.errors import InvalidInputError, RequirementError, RunError
from shiftcast.estimators import Estimator, official_estimators
from shiftcast.pool import Pool, StoredRun, read_pool
from shiftcast.predictions import Estimate, Integers, Predictions
from shiftcast.runs import StoredSet
from shiftcast.scores import VIEW_COLUMNS, SuiteScores
from shiftcast.status import results_folder
from shiftcast.workspace import Workspace

FEWEST_OTHERS = 3
"""Other natural groups that MeanShift needs before it learns from them on a natural target."""


class RunView:
    """One scored run's predictions, as estimators are given them."""

    def __init__(self, pool: Pool, run: StoredRun) -> None:
        """Choose the reference members, peers and siblings for `run`."""
        self.pool, self.run = pool, run
        self.members = pool.members(run.family)
        others = [other for other in pool.scored if other is not run]
        same = (run.key.architecture, run.key.recipe)
        self.peers = others
        self.siblings = [o for o in others if (o.key.architecture, o.key.recipe) == same]
        self._known: dict[tuple[str, str, bool], Predictions] = {}

    def source(self, part: str) -> Predictions:
        """Labelled predictions on the whole source or one half of it."""
        name = self.pool.suite.source.test
        return self._predictions(name, "", self.pool.halves[part], part, labelled=True)

    def target(self, target: Target, part: str, labelled: bool = False) -> Predictions:
        """Predictions on a target's images made from one part of the source."""
        return self._predictions(target.id, target.group, self.pool.rows(target, part), part, labelled)

    def _predictions(self, name: str, group: str, rows: Integers, part: str, labelled: bool) -> Predictions:
        key = (name, part, labelled)
        if key not in self._known and labelled:
            labels = cast("Integers", self.pool.labels_of(name))[rows]
            self._known[key] = self._predictions(name, group, rows, part, labelled=False).with_labels(labels)
        elif key not in self._known:
            self._known[key] = self._read(name, group, rows, part)
        return self._known[key]

    def _read(self, name: str, group: str, rows: Integers, part: str) -> Predictions:
        members = self.members
        return Predictions(
            name=name,
            group=group,
            logits=self.run.sets[name].logits[rows].astype(np.float64),
            reference=self.pool.ensemble(members, name, rows, part) if members else None,
            peers=_classes(self.peers, name, rows),
            siblings=_classes(self.siblings, name, rows),
        )

    def others(self, target: Target, part: str) -> tuple[list[Predictions], str]:
        """Return labelled predictions on targets of other groups, and a note on what they are.

        A natural target learns from other natural groups where there are at least three of them,
        else from the synthetic ones.
        """
        natural = self.pool.workspace.natural(target)
        labelled = [
            t
            for t in self.pool.targets
            if t.group != target.group and t.id in self.run.sets and self.run.sets[t.id].true_rank is not None
        ]
        alike = [t for t in labelled if self.pool.workspace.natural(t) == natural]
        note = ""
        if natural and len({t.group for t in alike}) < FEWEST_OTHERS:
            alike = [t for t in labelled if not self.pool.workspace.natural(t)]
            note = "mean corruption drop"
        parts = {True: part, False: "all"}
        return [self.target(t, parts[t.derived], labelled=True) for t in alike], note


def _classes(runs: Sequence[StoredRun], name: str, rows: Integers) -> Integers | None:
    if not runs or any(name not in run.sets for run in runs):
        return None
    return np.stack([run.predicted(name)[rows] for run in runs])


@dataclass(frozen=True)
class Fold:
    """Fit on one part of the source, predict the images made from another."""

    fit: str
    predict: str


WHOLE = (Fold("all", "all"),)
CROSS = (Fold("A", "B"), Fold("B", "A"))


class Scorer:
    """Runs estimators over one run, fitting each once per part of the source where it can."""

    def __init__(self, view: RunView, estimators: Mapping[str, Estimator]) -> None:
        """Prepare to score `view` with named, unfitted estimators."""
        self.view, self.estimators = view, estimators
        self._fitted: dict[tuple[str, str], Estimator] = {}

    def estimate(
        self, name: str, target: Target, folds: Sequence[Fold]
    ) -> tuple[list[Estimate], list[int], str]:
        """Return one estimate per fold, the folds' image counts and a note."""
        estimates, counts, note = [], [], ""
        for fold in folds:
            fitted, note = self._fit(name, target, fold.fit)
            rows = self.view.target(target, fold.predict)
            estimates.append(fitted.predict(rows))
            counts.append(len(rows))
        return estimates, counts, note

    def _fit(self, name: str, target: Target, part: str) -> tuple[Estimator, str]:
        estimator = self.estimators[name]
        if "others" in estimator.requires:
            others, note = self.view.others(target, part)
            return clone(estimator).fit(self.view.source(part), others), note
        if (name, part) not in self._fitted:
            self._fitted[name, part] = clone(estimator).fit(self.view.source(part))
        return self._fitted[name, part], ""


def combine(estimates: Sequence[Estimate], counts: Sequence[int]) -> Estimate:
    """Return the estimate for the union of disjoint sets of images.

    The accuracies are weighted by the number of images; distances to either bound add in
    quadrature, as those of independent errors do.
    """
    if len(estimates) == 1:
        return estimates[0]
    weights = np.array(counts) / sum(counts)
    centre = float(sum(w * e.accuracy for w, e in zip(weights, estimates, strict=True)))
    below = math.hypot(*(w * (e.accuracy - e.low) for w, e in zip(weights, estimates, strict=True)))
    above = math.hypot(*(w * (e.high - e.accuracy) for w, e in zip(weights, estimates, strict=True)))
    return Estimate(
        accuracy=centre,
        low=centre - below,
        high=centre + above,
        level=estimates[0].level,
        extended=any(e.extended for e in estimates),
        diagnostics={"abstains": any(e.diagnostics.get("abstains", False) for e in estimates)},
    )


def protocols(target: Target) -> dict[str, tuple[Fold, ...]]:
    """Return the ways to fit and predict a target, by name.

    Derived targets share images with the labelled source, so official rows fit on one half and
    predict the other; "shared" is the published full/full way, for comparison only.
    """
    return {"official": CROSS, "shared": WHOLE} if target.derived else {"official": WHOLE}


def score_suite(
    workspace: Workspace,
    suite: Suite,
    results: Path,
    edition: str = "",
    estimators: Mapping[str, Estimator] | None = None,
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
    """
    chosen = official_estimators() if estimators is None else estimators
    folder = results_folder(results, suite, edition)
    pool, runs = read_pool(workspace, suite, folder)
    table, skipped = score_pool(pool, chosen)
    pool.forget_ensembles()
    present = pool.targets if pool.scored else []
    return SuiteScores(
        suite=suite,
        edition=edition,
        targets=present,
        natural={t.id: workspace.natural(t) for t in suite.unfolded_targets()},
        runs=pd.DataFrame(runs).astype({"parameters": "Int64", "epochs": "Int64"}),
        accuracies=_accuracies(pool),
        table=table,
        skipped=skipped,
        ensemble=_ensemble(workspace, suite),
        dataset_notes=_dataset_notes(workspace, pool),
        confusion=confusion_tables(pool, table, folder),
        views=_views(workspace, pool),
    )


def score_pool(pool: Pool, estimators: Mapping[str, Estimator]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of every scored run, and which estimators gave none and why.

    Parameters
    ----------
    pool
        A suite's runs.
    estimators
        Named, unfitted estimators.

    Returns
    -------
    tuple
        `SuiteScores.table` and `SuiteScores.skipped`.
    """
    skipped: dict[tuple[str, str], int] = {}
    rows = [row for run in pool.scored for row in _score_run(pool, run, estimators, skipped)]
    reasons = [{"estimator": name, "reason": reason, "rows": n} for (name, reason), n in skipped.items()]
    return (
        pd.DataFrame(rows, columns=list(TABLE_COLUMNS)),
        pd.DataFrame(reasons, columns=["estimator", "reason", "rows"]),
    )


TABLE_COLUMNS = (
    *("suite", "architecture", "recipe", "seed", "family", "target", "group", "natural", "severity", "level"),
    *("estimator", "track", "selected_on", "protocol", "predicted", "low", "high", "nominal", "actual", "n"),
    "effective",
    *("abstains", "note", "seconds"),
)


def _score_run(
    pool: Pool, run: StoredRun, estimators: Mapping[str, Estimator], skipped: dict[tuple[str, str], int]
) -> Iterator[dict[str, Any]]:
    view = RunView(pool, run)
    scorer = Scorer(view, estimators)
    for target in pool.targets:
        if target.id not in run.sets:
            continue
        for protocol, folds in protocols(target).items():
            for name, estimator in estimators.items():
                start = time.perf_counter()
                try:
                    estimates, counts, note = scorer.estimate(name, target, folds)
                except RequirementError as error:
                    reason = _reason(estimator, view, error)
                    skipped[name, reason] = skipped.get((name, reason), 0) + 1
                    continue
                yield {
                    "suite": pool.suite.name,
                    **_run_columns(run),
                    **_target_columns(pool, target),
                    "estimator": name,
                    "track": estimator.track,
                    "selected_on": ";".join(estimator.selected_on),
                    "protocol": protocol,
                    **_estimate_columns(combine(estimates, counts)),
                    "actual": _actual(run.sets[target.id]),
                    "n": sum(counts),
                    "effective": run.effective(target.id),
                    "note": note,
                    "seconds": time.perf_counter() - start,
                }


def _reason(estimator: Estimator, view: RunView, error: RequirementError) -> str:
    if "reference" in estimator.requires and not view.members:
        return "the reference ensemble is incomplete"
    if "siblings" in estimator.requires and not view.siblings:
        return "the run has no sibling (same architecture and recipe, other seed)"
    return str(error)


def _run_columns(run: StoredRun) -> dict[str, Any]:
    return {**run.key.model_dump(), "family": run.family}


def _target_columns(pool: Pool, target: Target) -> dict[str, Any]:
    return {
        "target": target.id,
        "group": target.group,
        "natural": pool.workspace.natural(target),
        "severity": target.severity,
        "level": target.level,
    }


def _estimate_columns(estimate: Estimate) -> dict[str, Any]:
    return {
        "predicted": estimate.accuracy,
        "low": estimate.low,
        "high": estimate.high,
        "nominal": estimate.level,
        "abstains": bool(estimate.diagnostics.get("abstains", False)),
    }


def _actual(stored: StoredSet) -> float:
    return math.nan if stored.accuracy is None else round(stored.accuracy, 6)


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
                        "n": len(stored.logits),
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


def _ensemble(workspace: Workspace, suite: Suite) -> pd.DataFrame:
    roles = [("member", suite.reference.members), ("reserve", suite.reference.reserves)]
    return pd.DataFrame(
        [
            {"architecture": name, "family": workspace.architecture(name).family, "role": role}
            for role, names in roles
            for name in names
        ]
    )


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
    scores = []
    for folder in sorted(path for path in results.glob("*") if path.is_dir()):
        name, _, edition = folder.name.partition("@")
        if name in workspace.suites:
            scores.append(score_suite(workspace, workspace.suites[name], results, edition))
        elif any(folder.glob("*/*/seed-*/run.json")):
            raise RunError(
                f"{folder}: holds runs of a suite {name!r}, which has no file in "
                f"{workspace.root / 'benchmark/suites'}; add the suite or move the folder away"
            )
    if not scores:
        raise InvalidInputError(f"{results}: holds no results; make some with: shiftcast run quickstart")
    return scores

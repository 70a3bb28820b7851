"""One run's rows: its predictions as estimators are given them, folds and protocols.

The harness, not the estimator, splits the source, strips labels, permutes target rows and keeps
the scored run's family out of its reference ensemble.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from sklearn.base import clone

from shiftcast.cards.suite import Target
from shiftcast.data.corruptions.registry import TRANSFORMS
from shiftcast.errors import RequirementError
from shiftcast.estimators import Estimator
from shiftcast.estimators.features import SAMPLE, FeatureScore
from shiftcast.predictions import Estimate, Predictions
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import StoredSet
from shiftcast.runs.record import RunRecord
from shiftcast.runs.signals import Signals
from shiftcast.runs.suite_runs import Pool, StoredRun
from shiftcast.statistics.agreement import PEER_AGREEMENT
from shiftcast.statistics.lines import pairs
from shiftcast.util.memory import fix, remember
from shiftcast.util.types import Classes, Integers

KIND_OUT = "kind-out"
FEWEST_OTHERS = 3
"""Other natural groups that MeanShift needs before it learns from them on a natural target."""


class RunView:
    """One scored run's predictions, as estimators are given them."""

    def __init__(self, pool: Pool, run: StoredRun) -> None:
        """Choose the reference members, peers and siblings for `run`."""
        self.pool, self.run = pool, run
        self.members = pool.members(run.family)
        others = [other for other in pool.scored if other.key != run.key]
        same = (run.key.architecture, run.key.recipe)
        self._places = [place for place, other in enumerate(pool.peers) if other.key != run.key]
        self.peers = [pool.peers[place] for place in self._places]
        self.siblings = [o for o in others if (o.key.architecture, o.key.recipe) == same]
        self._known: dict[tuple[str, str, bool], Predictions] = {}
        self._others: dict[tuple[str, bool], tuple[tuple[Target, ...], str]] = {}

    def source(self, part: str) -> Predictions:
        """Labelled predictions on the whole source or one half of it."""
        name = self.pool.suite.source.test
        return self._predictions(name, "", self.pool.halves[part], part, labelled=True)

    def target(self, target: Target, part: str, labelled: bool = False) -> Predictions:
        """Predictions on a target's images made from one part of the source."""
        return self._predictions(target.id, target.group, self.pool.rows(target, part), part, labelled)

    def part(self, name: str, group: str, rows: Integers, part: str) -> Predictions:
        """Unlabelled predictions on chosen images of a set; `part` names the choice, for good."""
        return self._predictions(name, group, rows, part, labelled=False)

    def with_signals(self, predictions: Predictions, part: str, target: Target | None = None) -> Predictions:
        """Return predictions on the source or a target with what the run recorded of their images."""
        rows = self.pool.halves[part] if target is None else self.pool.rows(target, part)
        return predictions.with_signals(
            self._signals.shares(predictions.name, rows) if self._signals else None
        )

    @cached_property
    def _signals(self) -> Signals | None:
        """What the run recorded of its images; None if nothing."""
        record, folder = self.run.record, self.pool.folder
        if folder is None or not isinstance(record, RunRecord):
            return None
        return RunFolder(folder / self.run.key.path).read_signals(record, self.run.sets)

    @property
    def has_signals(self) -> bool:
        """Whether the run recorded anything of its images."""
        return self._signals is not None

    def with_feature_scores(self, predictions: Predictions, fitted: str, part: str) -> Predictions:
        """Return predictions with the scores of their features against the part that is fitted on."""
        known = self.run.record.feature_scores.get(predictions.name, {})
        return predictions.with_feature_scores(known.get(f"{fitted}/{part}"))

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
        logits = self.run.sets[name].logits[rows].astype(np.float64)
        fix(logits)  # so that what is computed from it is remembered
        return Predictions(
            name=name,
            group=group,
            logits=logits,
            kind="classes" if self.run.sets[name].hard else "logits",
            reference=self.pool.ensemble(members, name, rows, part) if members else None,
            peers=self._peers(name, rows, part),
            siblings=self._siblings(name, rows),
        )

    def _peers(self, name: str, rows: Integers, part: str) -> Classes | None:
        """Predicted classes (Z, n) of the peers; how often these agree is found once for all runs.

        None without peers, or where one lacks the set.
        """
        if not self.peers or any(name not in run.sets for run in self.peers):
            return None
        everyone, places = self.pool.peer_classes(name, rows, part), self._places
        classes: Classes = everyone[places].astype(np.int32)
        fix(classes)
        agreement = self.pool.peer_agreement(name, rows, part)[np.ix_(places, places)]
        remember(classes, PEER_AGREEMENT, agreement[pairs(len(places))])
        return classes

    def _siblings(self, name: str, rows: Integers) -> Classes | None:
        """Predicted classes (S, n) of the siblings; None without any, or where one lacks the set."""
        if not self.siblings or any(name not in run.sets for run in self.siblings):
            return None
        return np.stack([run.predicted(name)[rows] for run in self.siblings]).astype(np.int32)

    def others(
        self, target: Target, synthetic: bool, kind_out: bool = False
    ) -> tuple[tuple[Target, ...], str]:
        """Return labelled targets of other groups, or of other kinds of corruption, and a note on them.

        All synthetic ones where asked for. Else a natural target learns from other natural groups
        where there are at least three of them, or from the synthetic ones, and the note says so.
        """
        natural = self.pool.workspace.natural(target) and not synthetic
        key = (target.group, natural)
        if key not in self._others:
            self._others[key] = self._choose_others(target, natural)
        chosen, note = self._others[key]
        if kind_out:
            chosen = tuple(one for one in chosen if corruption_kind(one) != corruption_kind(target))
        return chosen, note

    def _choose_others(self, target: Target, natural: bool) -> tuple[tuple[Target, ...], str]:
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
        return tuple(alike), note


@dataclass(frozen=True)
class Fold:
    """Fit on one part of the source, predict the images made from another."""

    fit: str
    predict: str


def corruption_kind(target: Target) -> str:
    """Return "noise", "blur", "weather", "digital" …, or the group of what is no corruption of ours."""
    return TRANSFORMS[target.transform].kind if target.transform in TRANSFORMS else target.group


WHOLE = (Fold("all", "all"),)
CROSS = (Fold("A", "B"), Fold("B", "A"))


class Scorer:
    """Runs estimators over one run, fitting each once per part of the source where it can."""

    def __init__(self, view: RunView, estimators: Mapping[str, Estimator]) -> None:
        """Prepare to score `view` with named, unfitted estimators."""
        self.view, self.estimators = view, estimators
        self._fitted: dict[tuple[str, ...], Estimator] = {}

    def estimate(
        self, name: str, target: Target, folds: Sequence[Fold], kind_out: bool = False
    ) -> tuple[list[Estimate], list[int], str]:
        """Return one estimate per fold, the folds' image counts and a note; `kind_out` as in `others`."""
        estimates, counts, note = [], [], ""
        for fold in folds:
            fitted, note = self._fit(name, target, fold.fit, kind_out)
            rows = self.view.target(target, fold.predict)
            if "features" in fitted.requires:
                rows = self.view.with_feature_scores(rows, fold.fit, fold.predict)
            if "signals" in fitted.requires:
                rows = self.view.with_signals(rows, fold.predict, target)
            estimates.append(fitted.predict(rows))
            counts.append(len(rows))
        return estimates, counts, note

    def cell(
        self,
        name: str,
        target: Target,
        protocol: str,
        folds: Sequence[Fold],
        skipped: Counter[tuple[str, str]],
    ) -> dict[str, Any] | None:
        """Return the columns of `ESTIMATED`; None where the estimator gives no row, counted in `skipped`."""
        estimator, start = self.estimators[name], time.perf_counter()
        if not _asked(estimator, protocol, self.view.pool.workspace.natural(target)):
            return None
        try:
            estimates, counts, note = self.estimate(name, target, folds, protocol == KIND_OUT)
        except RequirementError as error:
            if protocol != KIND_OUT:  # only for comparison: there may be no other kind
                skipped[name, _reason(estimator, self.view, error)] += 1
            return None
        return {
            **_estimate_columns(combine(estimates, counts)),
            "n": sum(counts),
            "note": note,
            "total_variation": estimates[0].diagnostics.get("total_variation", math.nan),
            "seconds": time.perf_counter() - start,
        }

    def _fit(self, name: str, target: Target, part: str, kind_out: bool) -> tuple[Estimator, str]:
        estimator = self.estimators[name]
        chosen: tuple[Target, ...] = ()
        note = ""
        if "others" in estimator.requires:
            chosen, note = self.view.others(target, estimator.others_from == "synthetic", kind_out)
        key = (name, part, *(one.id for one in chosen))  # many targets learn from the same others
        if key not in self._fitted:
            parts = {True: part, False: "all"}
            others = [self.view.target(one, parts[one.derived], labelled=True) for one in chosen]
            source = self.view.source(part)
            if "features" in estimator.requires:
                both = [self.view.with_feature_scores(one, part, part) for one in (source, *others)]
                source, others = both[0], both[1:]
            if "signals" in estimator.requires:
                source = self.view.with_signals(source, part)
                others = [
                    self.view.with_signals(rows, parts[one.derived], one)
                    for rows, one in zip(others, chosen, strict=True)
                ]
            self._fitted[key] = clone(estimator).fit(source, others)
        return self._fitted[key], note


def combine(estimates: Sequence[Estimate], counts: Sequence[int]) -> Estimate:
    """Return the estimate for the union of disjoint sets of images.

    The accuracies are weighted by the number of images; distances to either bound add in
    quadrature, as those of independent errors do, or plainly where the intervals hold model error:
    both parts share it.
    """
    if len(estimates) == 1:
        return estimates[0]
    weights = np.array(counts) / sum(counts)
    centre = float(sum(w * e.accuracy for w, e in zip(weights, estimates, strict=True)))
    sampling = all(e.diagnostics.get("interval", "sampling") == "sampling" for e in estimates)
    distances = [(e.accuracy - e.low, e.high - e.accuracy) for e in estimates]
    below, above = np.linalg.norm(weights[:, None] * distances, 2 if sampling else 1, axis=0)
    return Estimate(
        accuracy=centre,
        low=centre - float(below),
        high=centre + float(above),
        level=estimates[0].level,
        extended=any(e.extended for e in estimates),
        flagged=next((e.flagged for e in estimates if e.flagged), ""),
        abstains=next((e.abstains for e in estimates if e.abstains), ""),
    )


def protocols(target: Target) -> dict[str, tuple[Fold, ...]]:
    """Return the ways to fit and predict a target, by name.

    Derived targets share images with the labelled source, so official rows fit on one half and
    predict the other; "shared" is the published full/full way, for comparison only. "kind-out" is the
    official way for what learns from corruptions, from those of other kinds alone (noise, blur, …).
    """
    if not target.derived:
        return {"official": WHOLE}
    return {"official": CROSS, "shared": WHOLE, KIND_OUT: CROSS}


Scored = tuple[list[dict[str, Any]], Counter[tuple[str, str]]]
"""The rows of a run, and how many rows each estimator did not give, by name and reason."""
Cells = Mapping[tuple[str, str, str], Mapping[str, Any]]
"""What estimators gave for a run by target, protocol and name: the columns of `ESTIMATED`."""
ESTIMATED = (
    *("predicted", "low", "high", "nominal", "n", "flagged", "abstains", "note", "total_variation"),
    "seconds",
)
"""Columns of a row that the estimator gives."""
DECIMALS = 6
"""Decimals of shares that are computed: what is stored says the same as what was computed."""


def score_run(
    pool: Pool,
    run: StoredRun,
    estimators: Mapping[str, Estimator],
    only: Collection[str] = ("official", "shared", KIND_OUT),
    stored: Cells | None = None,
) -> Scored:
    """Return one run's rows on every target, and how many each estimator does not give.

    Parameters
    ----------
    pool
        The suite's runs, `run` among them.
    run
        The run to be scored.
    estimators
        Named, unfitted estimators.
    only
        Protocols.
    stored
        What the estimators gave for the run before; then none is asked.
    """
    rows, skipped = [], Counter[tuple[str, str]]()
    scorer = Scorer(RunView(pool, run), estimators)
    own = {"suite": pool.suite.name, **run.key.model_dump(), "family": run.family}
    for target in pool.targets:
        if target.id not in run.sets:
            continue
        there = _target_columns(pool, target)
        there |= {"actual": _actual(run.sets[target.id]), "effective": run.effective(target.id)}
        chosen = {protocol: folds for protocol, folds in protocols(target).items() if protocol in only}
        for protocol, folds in chosen.items():
            for name, estimator in estimators.items():
                cell: Mapping[str, Any] | None
                if stored is None:
                    cell = scorer.cell(name, target, protocol, folds, skipped)
                else:
                    cell = stored.get((target.id, protocol, name))
                if cell is not None:
                    about = {"track": estimator.track, "selected_on": ";".join(estimator.selected_on)}
                    about |= {"estimator": name, "protocol": protocol}
                    rows.append({**own, **there, **about, **cell})
    return rows, skipped


def _asked(estimator: Estimator, protocol: str, natural: bool) -> bool:
    """Whether an estimator is asked at all: what bounds say of corruptions is not worth its time."""
    if protocol == KIND_OUT:
        return "others" in estimator.requires and estimator.others_from == "synthetic"
    return natural or estimator.role == "estimate"


def _reason(estimator: Estimator, view: RunView, error: RequirementError) -> str:
    if "logits" in estimator.requires and view.run.hard:
        return "the run holds class indices alone (hard labels), and it needs logits"
    if "reference" in estimator.requires and not view.pool.suite.reference.members:
        return "the suite has no reference ensemble"
    if "reference" in estimator.requires and not view.members:
        return "the reference ensemble is incomplete"
    if "siblings" in estimator.requires and not view.siblings:
        return "the run has no sibling (same architecture and recipe, other seed)"
    if "signals" in estimator.requires and not view.has_signals:
        return "the run recorded no signals of its images"
    if "signals" in estimator.requires:
        return "a set lacks the recorded signal: learned epochs are not known of images made from the source"
    if "features" in estimator.requires:
        if not isinstance(estimator, FeatureScore):
            return "runs store no features, only the scores that the registered estimators make of them"
        if not any(view.run.record.feature_scores.values()):
            return "the model has no features, or was evaluated before they were scored"
        return f"a set, or half of one, has fewer than {SAMPLE} different images or one predicted class"
    return str(error)


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
        "predicted": round(estimate.accuracy, DECIMALS),
        "low": round(estimate.low, DECIMALS),
        "high": round(estimate.high, DECIMALS),
        "nominal": estimate.level,
        "flagged": bool(estimate.flagged),
        "abstains": bool(estimate.abstains),
    }


def _actual(stored: StoredSet) -> float:
    return math.nan if stored.accuracy is None else round(stored.accuracy, DECIMALS)

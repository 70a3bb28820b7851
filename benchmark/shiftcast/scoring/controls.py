"""Controls: what a suite's views make of its runs, and whether its expectations came true.

Views need no network: they are made from stored logits. A scaled copy of a run predicts the same classes with
other confidence; a resampled target has the test set's own images in other shares, so that its actual
accuracy is known, and known to be a matter of class shares or of difficulty alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
from sklearn.base import clone

from shiftcast.calibration import Temperature
from shiftcast.cards.base import lookup
from shiftcast.cards.suite import Expectation, Suite, SuiteView
from shiftcast.difficulty import entropy
from shiftcast.errors import RequirementError
from shiftcast.estimators import Calibrated, DifferenceOfConfidences, Estimator, official_estimators
from shiftcast.runs.outputs import StoredSet
from shiftcast.runs.suite_runs import Pool, StoredRun
from shiftcast.scoring.harness import RunView, score_run
from shiftcast.util.hashing import sha256
from shiftcast.util.types import Integers

VIEW_ROWS = ("view", "architecture", "recipe", "seed", "target", "estimator", "predicted", "actual", "n")


def check_names(suite: Suite) -> None:
    """Raise `UnknownNameError` where a suite's expectations are about estimators that there are none of."""
    _chosen(suite, official_estimators())


def _chosen(suite: Suite, estimators: Mapping[str, Estimator]) -> dict[str, Estimator]:
    known, where = {**estimators, **control_estimators()}, f"suite {suite.name}.toml"
    named = dict.fromkeys(name for one in suite.expectations for name in one.estimators)
    return {name: lookup("estimator of [[expectations]]", name, known, where) for name in named}


def control_estimators() -> dict[str, Estimator]:
    """Return the estimators that only controls need: DoC after temperature scaling."""
    return {"DoC-TS": Calibrated(DifferenceOfConfidences(), Temperature())}


def controls(
    pool: Pool, table: pd.DataFrame, accuracies: pd.DataFrame, estimators: Mapping[str, Estimator]
) -> pd.DataFrame:
    """Return the results of a suite's expectations.

    Parameters
    ----------
    pool
        The suite's runs.
    table, accuracies
        As in `SuiteScores`.
    estimators
        Named, unfitted estimators.

    Returns
    -------
    pd.DataFrame
        A row per expectation and estimator (one with an empty name for accuracies), see `CONTROL_COLUMNS`.
        `seen` is in percent or percentage points, NaN where no run tells; then `holds` is False.

    Raises
    ------
    UnknownNameError
        If an expectation is about an estimator that there is none of.
    """
    suite = pool.suite
    chosen = _chosen(suite, estimators)
    plain = _official(table)
    if extra := {name: one for name, one in chosen.items() if name not in estimators}:
        plain = pd.concat([plain, _scored(pool, pool.scored, extra)], ignore_index=True)
    found = {view.name: _view_rows(pool, view, chosen) for view in suite.views}
    rows = []
    for one in suite.expectations:
        if one.quantity == "accuracy":
            rows.append(_judged(one, "", _accuracies(one, accuracies, found)))
            continue
        rows += [_judged(one, name, _errors(one, name, plain, found)) for name in one.estimators]
    return pd.DataFrame(rows, columns=list(CONTROL_COLUMNS))


def _judged(one: Expectation, estimator: str, values: pd.Series[float]) -> dict[str, Any]:
    seen = 100 * float(values.mean()) if len(values) else math.nan
    return {
        **one.model_dump(include={"text", "quantity", "low", "high"}),
        "estimator": estimator,
        "seen": seen,
        "rows": len(values),
        "holds": one.low <= round(seen, 6) <= one.high,
    }


def _accuracies(
    one: Expectation, accuracies: pd.DataFrame, found: Mapping[str, pd.DataFrame]
) -> pd.Series[float]:
    if one.view is not None:
        rows = found[one.view]
        return cast("pd.Series[float]", _about(one, rows[rows["estimator"] == ""])["actual"])
    rows = accuracies[(accuracies["role"] == "scored") & accuracies["right"].notna()]
    rows = _about(one, rows.rename(columns={"set": "target"}))
    return rows["right"].astype(float) / rows["n"].astype(float)


def _errors(
    one: Expectation, estimator: str, plain: pd.DataFrame, found: Mapping[str, pd.DataFrame]
) -> pd.Series[float]:
    rows = plain if one.view is None else found[one.view]
    rows = _about(one, rows[rows["estimator"] == estimator])
    if one.quantity == "change":
        keys = ["architecture", "recipe", "seed", "target", "estimator"]
        both = rows.merge(plain, on=keys, suffixes=("", "_plain"))
        return cast("pd.Series[float]", (both["predicted"] - both["predicted_plain"]).abs())
    errors = (rows["predicted"] - rows["actual"]).dropna()
    return cast("pd.Series[float]", errors if one.quantity == "bias" else errors.abs())


def _about(one: Expectation, rows: pd.DataFrame) -> pd.DataFrame:
    for column, names in (
        ("target", one.targets),
        ("architecture", one.architectures),
        ("recipe", one.recipes),
    ):
        rows = rows[rows[column].isin(names)] if names else rows
    return rows


def _official(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[(table["protocol"] == "official") & ~table["abstains"].astype(bool)]
    return rows.assign(view="")[list(VIEW_ROWS)]


def _scored(pool: Pool, runs: Iterable[StoredRun], estimators: Mapping[str, Estimator]) -> pd.DataFrame:
    rows = [row for run in runs for row in score_run(pool, run, estimators, ["official"])[0]]
    columns = [*VIEW_ROWS[1:], "protocol", "abstains"]
    return _official(pd.DataFrame(rows, columns=columns))


def _view_rows(pool: Pool, view: SuiteView, estimators: Mapping[str, Estimator]) -> pd.DataFrame:
    """Return the predictions of every scored run under a view, see `VIEW_ROWS`; none that cannot be made.

    Rows with an empty estimator hold the actual accuracies of resampled targets.
    """
    if view.scale is not None:
        copies = (scaled(run, view.scale) for run in pool.scored)
        return _scored(pool, copies, estimators).assign(view=view.name)
    try:
        positions = resampled(pool, view)
    except RequirementError:
        return pd.DataFrame(columns=list(VIEW_ROWS))
    rows = [row for run in pool.scored for row in _on_part(pool, run, view.name, positions, estimators)]
    return pd.DataFrame(rows, columns=list(VIEW_ROWS))


def scaled(run: StoredRun, factor: float) -> StoredRun:
    """Return a run whose logits are multiplied by a factor, and which says the same classes."""
    sets = {name: _scaled(stored, factor) for name, stored in run.sets.items()}
    return StoredRun(run.key, run.family, run.record, sets)


def _scaled(stored: StoredSet, factor: float) -> StoredSet:
    return replace(stored, outputs=cast("Any", stored.logits.astype(np.float64) * factor))


def resampled(pool: Pool, view: SuiteView) -> Integers:
    """Return positions in the test set (m,) that a resampled view's target is made of.

    Drawn from half B without replacement. The weight of an image is ratio^t: t is its class index over
    the largest, or the share of half B that is less confusing to the members of the reference ensemble.

    Raises
    ------
    RequirementError
        If confusion is asked for and the reference ensemble is incomplete.
    """
    half, name = pool.halves["B"], pool.suite.source.test
    if view.resample == "class":
        place = pool.labels[half] / max(int(pool.labels.max()), 1)
    else:
        members = tuple(pool.suite.reference.members)
        if not set(members) <= set(pool.reference):
            raise RequirementError(f"view {view.name!r} needs the whole reference ensemble")
        ensemble = cast("Any", pool.ensemble(members, name, half, "B"))
        order = entropy(ensemble).round(9).argsort(kind="stable")  # bits beyond may differ between machines
        place = order.argsort(kind="stable") / max(len(half) - 1, 1)
    weights = view.ratio**place
    seed = int(sha256(f"view|{view.name}".encode())[:8], 16)
    random = np.random.RandomState(seed)
    count = max(1, round(view.share * len(half)))
    return half[random.choice(len(half), size=count, replace=False, p=weights / weights.sum())]


def _on_part(
    pool: Pool, run: StoredRun, name: str, positions: Integers, estimators: Mapping[str, Estimator]
) -> list[dict[str, Any]]:
    """Return a run's rows on some of half B's images, with estimators fitted on half A."""
    view, source = RunView(pool, run), pool.suite.source.test
    target = view.part(source, name, positions, f"view:{name}")
    actual = float((cast("Any", run.sets[source].true_rank)[positions] == 0).mean())
    own = {"view": name, **run.key.model_dump(), "target": name, "actual": actual, "n": len(positions)}
    rows: list[dict[str, Any]] = [{**own, "estimator": "", "predicted": math.nan}]
    for label, estimator in estimators.items():
        if {"others", "features"} & estimator.requires:
            continue
        try:
            estimate = clone(estimator).fit(view.source("A")).predict(target)
        except RequirementError:
            continue
        if not estimate.abstains:
            rows.append({**own, "estimator": label, "predicted": estimate.accuracy})
    return rows


CONTROL_COLUMNS = ("text", "quantity", "low", "high", "estimator", "seen", "rows", "holds")

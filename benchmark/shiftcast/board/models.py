"""The board of models: accuracy in and out of distribution, effective robustness, prediction.

A model is an architecture x recipe with all its
seeds; a group's accuracy is the mean over its severities. Accuracies are shares in [0, 1], standard
deviations and effective robustness are percentage points (pp).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.board.estimators import kept
from shiftcast.board.tables import MODEL, RUN, SuiteScores
from shiftcast.errors import InvalidInputError
from shiftcast.statistics import effective_robustness, wilson

FEWEST_ARCHITECTURES = 4
"""A model's line needs at least three architectures besides its own."""

MODEL_COLUMNS = (
    *("rank", "architecture", "recipe", "family", "parameters", "runs", "all_runs"),
    *("id_accuracy", "id_low", "id_high", "id_sd", "score", "low", "high", "sd", "predicted", "robustness"),
    *("robustness_low", "robustness_high", "synthetic", "reason"),
)
GROUP_COLUMNS = (
    *("architecture", "recipe", "group", "natural", "runs", "n"),
    *("accuracy", "low", "high", "sd", "predicted", "robustness", "robustness_low", "robustness_high"),
)
WITHHELD_COLUMNS = (
    *("architecture", "recipe", "target", "runs", "n", "predicted", "low", "high"),
    *("conformal_low", "conformal_high", "conformal_level"),
    *("lowest", "highest", "others"),
)


@dataclass(frozen=True, eq=False)
class ModelTables:
    """How the models of a suite do. Each table is made when it is first read.

    Parameters
    ----------
    scores
        The suite's scores.
    """

    scores: SuiteScores

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The targets (ids) of each group whose labels are known, in the suite's order."""
        known = set(self.scores.accuracies.loc[self.scores.accuracies["right"].notna(), "set"])
        groups: dict[str, list[str]] = {}
        for target in self.scores.targets:
            if target.id in known:
                groups.setdefault(target.group, []).append(target.id)
        return groups

    @cached_property
    def ranking(self) -> list[str]:
        """The labelled groups that models are ranked by: required natural ones, else synthetic ones."""
        required = {target.group for target in self.scores.targets if target.level == "required"}
        groups = [group for group in self.groups if group in required]
        return [group for group in groups if self.is_natural(group)] or groups

    def is_natural(self, group: str) -> bool:
        """Whether a group is a natural shift."""
        return any(self.scores.natural[target.id] for target in self.scores.targets if target.group == group)

    @cached_property
    def overall(self) -> pd.DataFrame:
        """The board: a row for each model, see `model_board`."""
        return model_board(self)

    @cached_property
    def by_group(self) -> pd.DataFrame:
        """Accuracies by shift, see `model_groups`."""
        return model_groups(self)

    @cached_property
    def withheld(self) -> pd.DataFrame:
        """Predictions where labels are withheld, see `withheld`."""
        return withheld(self.scores)

    @property
    def several(self) -> bool:
        """Whether the board holds several recipes, which are then part of a model's name."""
        return self.overall["recipe"].nunique() > 1

    def accuracies(self, sets: Sequence[str]) -> pd.DataFrame:
        """Return each scored run's mean accuracy over `sets`; a run that lacks one of them has no row.

        Returns
        -------
        pd.DataFrame
            Columns `architecture`, `recipe`, `seed`, `accuracy`, and `n` and `effective` of the smallest
            set: severities show the same base images, so their counts do not add up.
        """
        accuracy, n, effective = (_of_sets(wide, sets) for wide in self._accuracies)
        smallest = {"n": n.min(axis=1).astype(int), "effective": effective.min(axis=1)}
        return accuracy.mean(axis=1).to_frame("accuracy").assign(**smallest).reset_index()

    def predictions(self, sets: Sequence[str]) -> pd.DataFrame:
        """Return the headline estimator's mean prediction for each run that it predicts on all of `sets`."""
        return _of_sets(self._predictions, sets).mean(axis=1).to_frame("predicted").reset_index()

    @cached_property
    def source(self) -> pd.DataFrame:
        """Accuracies of runs in distribution."""
        return self.accuracies([self.scores.suite.source.test])

    @cached_property
    def _accuracies(self) -> tuple[pd.DataFrame, ...]:
        """Accuracy, `n` and `effective` of scored runs (rows) on labelled sets (columns)."""
        rows = self.scores.accuracies
        rows = rows[(rows["role"] == "scored") & rows["right"].notna()]
        rows = rows.assign(accuracy=rows["right"].astype(float) / rows["n"].astype(float))
        columns = ("accuracy", "n", "effective")
        return tuple(rows.pivot(index=RUN, columns="set", values=name) for name in columns)

    @cached_property
    def _predictions(self) -> pd.DataFrame:
        """What the headline estimator predicts for runs (rows) on targets (columns)."""
        rows = self.scores.table
        rows = rows[(rows["protocol"] == "official") & (rows["estimator"] == self.scores.suite.headline)]
        rows = kept(rows.astype({"abstains": bool}))
        return rows.pivot(index=RUN, columns="target", values="predicted").astype(float)


def _of_sets(wide: pd.DataFrame, sets: Sequence[str]) -> pd.DataFrame:
    """Return the columns `sets`, in order of name, of the runs that have a value in each."""
    return wide.reindex(columns=sorted(set(sets))).dropna()


def _summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds with Wilson's interval for n images at that mean, and the seeds' spread."""
    grouped = runs.groupby(MODEL)
    counts = {"runs": grouped.size(), "n": grouped["n"].min(), "effective": grouped["effective"].mean()}
    accuracy = grouped["accuracy"]
    frame = pd.DataFrame({**counts, "accuracy": accuracy.mean(), "sd": accuracy.std()}).reset_index()
    # Seeds share their images, so they do not narrow an interval over images.
    sizes = [round(size) for size in frame["effective"]]
    ends = [wilson(round(a * n), n) for a, n in zip(frame["accuracy"], sizes, strict=True)]
    return frame.assign(
        low=[low for low, _ in ends], high=[high for _, high in ends], sd=100 * frame["sd"].astype(float)
    )


def robustness(source: pd.DataFrame, target: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return each run's effective robustness (pp) on a group; empty where no line can be drawn.

    The line on probit axes is fitted to the plain runs of all other architectures; `runs` (as in
    `SuiteScores`) says which are plain.
    """
    both = source.merge(target, on=RUN, suffixes=("_id", "_ood")).merge(runs[[*RUN, "plain"]], on=RUN)
    empty = both.assign(robustness=0.0).iloc[:0]
    if both.loc[both["plain"], "architecture"].nunique() < FEWEST_ARCHITECTURES:
        return empty
    try:
        values = effective_robustness(
            both["accuracy_id"],
            both["accuracy_ood"],
            architectures=both["architecture"].tolist(),
            plain=both["plain"].tolist(),
            n_id=int(both["n_id"].min()),
            n_ood=int(both["n_ood"].min()),
        )
    except InvalidInputError:  # all other runs have one ID accuracy
        return empty
    return both.assign(robustness=values)


def robustness_ends(scores: SuiteScores, model: tuple[Any, ...], group: str) -> tuple[float, float]:
    """Return the ends (pp) of a model's interval on a group, or on those of the ranking (""); NaN without."""
    frame = None if scores.confusion is None else scores.confusion.robustness
    if frame is None or frame.empty:
        return float("nan"), float("nan")
    own = frame[
        (frame["architecture"] == model[0]) & (frame["recipe"] == model[1]) & (frame["group"] == group)
    ]
    return (
        (float("nan"), float("nan")) if own.empty else (float(own["low"].iloc[0]), float(own["high"].iloc[0]))
    )


def _by_model(runs: pd.DataFrame, column: str, expected: pd.DataFrame) -> list[float]:
    """Means over seeds in the order of `expected`; NaN where not all of its runs have a value."""
    grouped = runs.groupby(MODEL)[column]
    means, counts = grouped.mean().to_dict(), grouped.size().to_dict()
    keys = zip(*(expected[name] for name in [*MODEL, "runs"]), strict=True)
    return [float(means[a, r]) if counts.get((a, r)) == count else float("nan") for a, r, count in keys]


def model_groups(models: ModelTables) -> pd.DataFrame:
    """Return every model's accuracy on every labelled group.

    Returns
    -------
    pd.DataFrame
        One row per model and group, in the suite's order of groups; see `GROUP_COLUMNS`. A model
        of which any complete run lacks a target of the group has no row. `sd` is NaN for one seed,
        `predicted` where the headline estimator lacks a row, `robustness` below three other
        architectures.
    """
    source, scores = models.source, models.scores
    complete = source.groupby(MODEL).size().to_dict()
    frames = []
    for group, sets in models.groups.items():
        runs = models.accuracies(sets)
        frame = _summary(runs)
        frame = frame.assign(
            group=group,
            natural=models.is_natural(group),
            predicted=_by_model(models.predictions(sets), "predicted", frame),
            robustness=_by_model(robustness(source, runs, scores.runs), "robustness", frame),
        )
        ends = [robustness_ends(scores, (a, r), group) for a, r in frame[MODEL].itertuples(index=False)]
        frame["robustness_low"], frame["robustness_high"] = np.reshape(ends, (-1, 2)).T
        whole = [complete.get((a, r)) == n for a, r, n in frame[[*MODEL, "runs"]].itertuples(index=False)]
        frames.append(frame.loc[whole, list(GROUP_COLUMNS)])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(GROUP_COLUMNS))


def model_board(models: ModelTables) -> pd.DataFrame:
    """Return the board of models.

    Returns
    -------
    pd.DataFrame
        One row per architecture x recipe; see `MODEL_COLUMNS`. `score` is the mean accuracy over
        the groups of `ranking`, with `low` and `high` where that is one group; `sd`, `predicted` and
        `robustness` are over the same groups, `synthetic` is the mean accuracy over all synthetic
        ones. A model with a run that is not "ok", or that lacks a required group, has a `reason`
        and no `rank` (Int64); scores that print alike share a rank.
    """
    groups, ranking = models.by_group, models.ranking
    source = _summary(models.source).set_index(MODEL)
    spread = _score_spread(models)
    synthetics = [group for group in groups["group"].unique() if not models.is_natural(group)]
    records = []
    for key, runs in _counted_runs(models.scores).groupby(MODEL):
        own = groups[(groups["architecture"] == key[0]) & (groups["recipe"] == key[1])].set_index("group")
        record = _identity(key, runs) | _source_columns(source, key) | _score_columns(own, ranking)
        record["sd"] = spread.get(key, float("nan"))
        synthetic = own[~own["natural"].astype(bool)]["accuracy"]
        record["robustness_low"], record["robustness_high"] = robustness_ends(models.scores, key, "")
        record["synthetic"] = _mean_over(synthetic, synthetics)
        record["reason"] = _reason(models, runs, own)
        records.append(record)
    return _ranked(records)


def _counted_runs(scores: SuiteScores) -> pd.DataFrame:
    """Return the scored runs that a model's row is about.

    A leftover run that the suite does not list leaves a model alone whose listed runs are there;
    a model without any listed run is shown with it.
    """
    runs = scores.runs[scores.runs["role"] == "scored"].sort_values(RUN)
    listed_runs = {(run.architecture, run.recipe, run.seed) for run in scores.suite.scored_runs()}
    listed_models = {run[:2] for run in listed_runs}
    keep = [
        status == "ok" or (a, r, s) in listed_runs or (a, r) not in listed_models
        for a, r, s, status in zip(*(runs[name] for name in [*RUN, "status"]), strict=True)
    ]
    return runs[keep]


def _identity(key: tuple[Any, ...], runs: pd.DataFrame) -> dict[str, Any]:
    parameters = runs["parameters"].dropna()
    return {
        "architecture": key[0],
        "recipe": key[1],
        "family": runs["family"].iloc[0],
        "parameters": parameters.iloc[0] if len(parameters) else pd.NA,
        "runs": int((runs["status"] == "ok").sum()),
        "all_runs": len(runs),
    }


def _source_columns(source: pd.DataFrame, key: tuple[Any, ...]) -> dict[str, Any]:
    names = {"accuracy": "id_accuracy", "low": "id_low", "high": "id_high", "sd": "id_sd"}
    if key not in source.index:
        return dict.fromkeys(names.values(), float("nan"))
    row = source.loc[key]
    return {to: float(row[name]) for name, to in names.items()}


def _mean_over(values: pd.Series[float], groups: Sequence[str]) -> float:
    """Mean over exactly these groups; NaN where one is missing or has no value."""
    if not groups or not set(groups) <= set(values.index):
        return float("nan")
    return float(values[list(groups)].mean(skipna=False))


def _score_columns(own: pd.DataFrame, ranking: Sequence[str]) -> dict[str, Any]:
    record = {
        to: _mean_over(own[name], ranking)
        for name, to in (("accuracy", "score"), ("predicted", "predicted"), ("robustness", "robustness"))
    }
    for end in ("low", "high"):  # several groups have no one number of images, hence no Wilson interval
        record[end] = _mean_over(own[end], ranking) if len(ranking) == 1 else float("nan")
    return record


def _score_spread(models: ModelTables) -> dict[Any, float]:
    """Return the standard deviation over seeds of each run's score, in pp."""
    frames = [models.accuracies(models.groups[group]) for group in models.ranking]
    if not frames:
        return {}
    runs = pd.concat(frames).groupby(RUN)["accuracy"].agg(["mean", "size"])
    whole = runs[runs["size"] == len(frames)]["mean"]
    return {key: 100 * float(value) for key, value in whole.groupby(level=MODEL).std().items()}


def _reason(models: ModelTables, runs: pd.DataFrame, own: pd.DataFrame) -> str:
    """Why a model is not ranked; empty for one that is."""
    failed = runs[runs["status"] != "ok"]
    reasons = []
    for status, some in failed.groupby("status"):
        seeds = ", ".join(str(seed) for seed in some["seed"])
        reasons.append(f"seed{'s' if len(some) > 1 else ''} {seeds}: {status}")
    required = {target.group for target in models.scores.targets if target.level == "required"}
    lacking = [g for g in models.groups if g in required and g not in own.index]
    if lacking and failed.empty:
        reasons.append(f"lacks required {', '.join(lacking)}")
    if not models.ranking and failed.empty:
        reasons.append("no required target has known labels")
    return "; ".join(reasons)


def _ranked(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    board = pd.DataFrame(records, columns=list(MODEL_COLUMNS))
    printed = (100 * board["score"].astype(float)).round(2)
    ranked = (board["reason"] == "") & printed.notna()
    board["rank"] = printed.where(ranked).rank(method="min", ascending=False).astype("Int64")
    order = board.assign(unranked=~ranked, printed=-printed.where(ranked))
    order = order.sort_values(["unranked", "printed", *MODEL])
    return order[list(MODEL_COLUMNS)].reset_index(drop=True)


_ENDS = ("predicted", "low", "high", "conformal_low", "conformal_high")


def withheld(scores: SuiteScores) -> pd.DataFrame:
    """Return what is predicted for targets whose labels are withheld.

    Returns
    -------
    pd.DataFrame
        One row per target and model; see `WITHHELD_COLUMNS`. `predicted` and the ends of its two
        intervals are the headline estimator's means over seeds (NaN where it abstains or lacks a run,
        and for the conformal one where too few other shifts are known); `lowest` and
        `highest` are the ends of the other estimators' means, `others` how many there are.
    """
    table, key = scores.table, ["target", *MODEL]
    rows = table[(table["protocol"] == "official") & table["actual"].isna()].astype({"abstains": bool})
    everyone = rows.groupby(key)
    frame = pd.DataFrame({"runs": everyone["seed"].nunique(), "n": everyone["n"].first()})
    used = kept(rows.sort_values(["estimator", *RUN])).groupby([*key, "estimator"])
    means = used[[*_ENDS, "conformal_level"]].mean().assign(seeds=used["seed"].nunique()).reset_index()
    means = means[means["seeds"] == frame["runs"].reindex(pd.MultiIndex.from_frame(means[key])).to_numpy()]
    headline = means["estimator"] == scores.suite.headline
    wanted = [*_ENDS, "conformal_level"]
    frame[wanted] = means[headline].set_index(key)[wanted]
    others = means[~headline].groupby(key)["predicted"]
    frame["lowest"], frame["highest"], frame["others"] = others.min(), others.max(), others.size()
    order = {target.id: position for position, target in enumerate(scores.targets)}
    frame = frame.fillna({"others": 0}).astype({"others": int}).reset_index()
    frame = frame.assign(place=[order.get(target, len(order)) for target in frame["target"]])
    return frame.sort_values(["place", *key])[list(WITHHELD_COLUMNS)].reset_index(drop=True)

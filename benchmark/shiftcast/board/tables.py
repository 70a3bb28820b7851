"""What a suite's results say, as tables: the contract between scoring and everything that prints.

`scoring` fills a `SuiteScores` from `results/`; the leaderboard, the console and the CSV read
nothing else. This module holds the columns and no computation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from shiftcast.analysis.robustness import ROBUSTNESS_COLUMNS
from shiftcast.cards.suite import Suite, Target
from shiftcast.scoring.controls import CONTROL_COLUMNS
from shiftcast.scoring.rows import TABLE_COLUMNS
from shiftcast.scoring.signals import SIGNAL_COLUMNS

MODEL = ["architecture", "recipe"]
RUN = [*MODEL, "seed"]
"""Columns that name a model, and one of its runs."""
RUN_COLUMNS = (
    *("architecture", "recipe", "seed", "role", "family", "parameters", "plain", "device", "epochs"),
    *("signals", "status", "trust"),
)
VIEW_COLUMNS = ("architecture", "recipe", "seed", "set", "view", "title", "right", "n")
LABEL_VIEW_COLUMNS = (
    *("architecture", "recipe", "seed", "view", "title"),
    *("accuracy", "given", "images", "differs"),
)
REPORTED_COLUMNS = (
    *("architecture", "seed", "family", "parameters", "note", "outputs", "trust", "stale"),
    *("set", "right", "n", "effective", "predicted"),
)
SEED_COLUMNS = (
    *("architecture", "recipe", "set", "seeds", "n", "accuracy"),
    *("raw", "raw_low", "raw_high", "wise", "wise_low", "wise_high"),
)


@dataclass(frozen=True, eq=False)
class ConfusionTables:
    """What a suite's reference ensemble finds confusing, and what follows from it.

    Shares and accuracies are in [0, 1]; `low` and `high` bound 95 % bootstrap intervals over images
    (or clusters of images), and over architectures where models are compared. Only runs with
    status "ok" and sets that every one of them holds are in the tables.

    Parameters
    ----------
    kind
        The difficulty score.
    members
        Architectures of the reference ensemble.
    threshold
        The in-distribution 90th percentile of the score: above it, an image is of high confusion.
    sets
        One row per set, the in-distribution one first. Columns: `set`, `group`, `natural` (bool),
        `n`, `clusters` (Int64, <NA> without), `mean`, `difference` from the in-distribution mean
        (derived sets: from that of the same base images), `difference_low`, `difference_high`,
        `above` (share of high confusion), `above_low`, `above_high`.
    histogram
        Columns: `set`, `bin`, `share`; bins of equal width over the score's natural range.
    accuracy
        One row per model, set and bin of ten. Columns: `architecture`, `recipe`, `set`, `bin`,
        `right`, `n` (both summed over seeds), `images`.
    reliability
        Agreement of disjoint halves of the ensemble. Columns: `set`, `spearman`, `splits`.
    lines
        Probit lines through actual and predicted accuracies, one row per natural set. Columns: `set`,
        `runs`, `architectures`, `slope`, `slope_predicted`, `slope_low`, `slope_high` (of predicted
        minus actual), `middle`, `middle_predicted`, `middle_low`, `middle_high` (accuracy at the
        models' mean ID accuracy, and its difference), `r2` of the actual line, `agrees` (whether
        the joint 95 % region of both differences holds zero), `lowest` and `highest` (ID accuracy of
        the models that lines go through: slope and R2 depend on this range).
    pairs
        The partition's mean absolute error minus a rival's, per natural set. Columns: `set`,
        `rival`, `mae`, `rival_mae`, `difference`, `low`, `high` (pp).
    drop
        Where accuracy is lost, one row per natural set. Columns: `set`, `drop` (mean over models),
        `drop_low`, `drop_high`, `mass` (target share of high confusion), `share` (of the drop, by
        error mass), `low`, `high`, `ratio` (share / mass), `uninformative` (share that a score
        without information would give), `centred`, `holds`.
    sensitivity
        Errors of ConfusionPartition by variant. Columns: `aspect`, `variant`, `default` (bool),
        `natural_mae`, `natural_bias`, `synthetic_mae`, `synthetic_bias` (pp; NaN without such
        shifts).
    robustness
        95 % intervals of effective robustness, see `shiftcast.analysis.robustness.robustness_intervals`: one
        row per model and group, and for the mean over the groups that models are ranked by (group "").
        Columns: `architecture`, `recipe`, `group`, `low`, `high` (pp).
    ranks
        What a paired bootstrap says of estimators that predict every run, by kind of shift. Columns:
        `natural` (bool), `estimator`, `track`, `mae`, `mae_low`, `mae_high`, `rank_low`, `rank_high`
        (within the track), and of the headline minus the estimator: `difference`, `low`, `high` (pp), `p`
        (Holm-adjusted over all others; NaN for the headline).
    ensembles
        Errors of ConfusionPartition by other ensembles than the reference, see
        `analysis.ensembles.ensemble_study`; empty where the suite names none.
    shared
        How often networks share an error by what they share, see `analysis.halves.shared_errors`; empty
        where none was trained on halves of the training images.
    human
        Figures of the comparison with human labels; None where none was made for this ensemble.
    human_note
        Why there is none.
    """

    kind: str
    members: list[str]
    threshold: float
    sets: pd.DataFrame
    histogram: pd.DataFrame
    accuracy: pd.DataFrame
    reliability: pd.DataFrame
    lines: pd.DataFrame
    pairs: pd.DataFrame
    drop: pd.DataFrame
    sensitivity: pd.DataFrame
    ranks: pd.DataFrame
    ensembles: pd.DataFrame
    shared: pd.DataFrame
    human: Mapping[str, Any] | None
    human_note: str
    robustness: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(ROBUSTNESS_COLUMNS)))


@dataclass(frozen=True, eq=False)
class SuiteScores:
    """Every run, accuracy and prediction of one suite, for one edition of its datasets.

    Accuracies are shares in [0, 1]. The order of rows carries no meaning.

    Parameters
    ----------
    suite
        The suite's card.
    edition
        Empty when the arrays are those that the suite names, else the edition's tag.
    targets
        The evaluated targets, in the suite's order.
    natural
        Whether each target, by id, is a natural shift.
    runs
        One row per run that the suite lists or `results/` holds. Columns: `architecture`, `recipe`,
        `seed`, `role` ("scored" or "reference"), `family`, `parameters` (Int64), `plain` (whether its
        recipe is, see `Recipe.plain`), `device`, `epochs` (Int64), `signals` (bool, whether
        it has a `signals.safetensors`), `status` ("ok", or the reason in words:
        "missing", "stale: ...", "damaged: ...", "lacks target X"), `trust` (its level in `ledger`; empty
        where it is missing).
    accuracies
        One row per run with status "ok" and set of images. Columns: `architecture`, `recipe`,
        `seed`, `role`, `set` (a target's id, or `suite.source.test` for the in-distribution set),
        `right` (Int64, <NA> where the labels are withheld), `n`, `effective` (how many independent
        images would make the accuracy as uncertain: below `n` where images come in clusters).
    table
        One row per scored run, target, estimator and protocol. Columns: `suite`, `architecture`,
        `recipe`, `seed`, `family`, `target`, `group`, `natural`, `severity`, `level`, `estimator`,
        `track`, `selected_on` (datasets joined by ";"), `protocol` ("official", "shared" or "kind-out"),
        `predicted`, `low`, `high`, `nominal` (the interval's level), `actual` (NaN where withheld),
        `n`, `effective` (as in `accuracies`), `flagged` (whether the estimator says that the estimate
        is doubtful), `abstains` (bool), `note`, `seconds`; and the conformal interval, learned from the
        estimator's errors on other shifts and other architectures:
        `conformal_low`, `conformal_high`, `conformal_level` (NaN where fewer than four other shifts
        are known), `conformal_extended` (whether it had to be widened to hold the prediction),
        `conformal_groups` (how many other shifts there are).
    skipped
        Estimators that gave no row. Columns: `estimator`, `reason`, `rows`.
    unranked
        Bounds and diagnoses on natural targets: the columns of `table` up to `seconds`, and
        `total_variation`, how far class shares are found to lie from the source's (NaN where not told).
    views
        Accuracies on parts of sets. Columns: `architecture`, `recipe`, `seed`, `set`, `view`, `title`,
        `right`, `n`; scored runs with status "ok" only.
    label_views
        Accuracies on the source's images under other labels. Columns: `architecture`, `recipe`, `seed`,
        `view`, `title`, `accuracy`, `given` (under the given labels), `images`, `differs`; scored runs
        with status "ok" only.
    signals
        Means of what is recorded of each image (see `signals.ImageSignals`): one row per run with status
        "ok" that has signals, and set of images. Columns: `architecture`, `recipe`, `seed`, `set`, `n`,
        `probes` (how many blocks are probed: `depth` is 0 to that), `depth`, `views` (of 8),
        `view_probability`, `neighbour_distance`, `learned_epoch`; `viewed` and `learned` say of how many
        images views and learned epochs are known (NaN where of none).
    reported
        One row per self-reported run and set of images; such runs are in no other table. Columns:
        `architecture`, `seed`, `family`, `parameters` (Int64), `note` (how it was trained, in its
        author's words), `outputs` ("logits", or "classes" where only class indices are known), `trust` (its
        level in `ledger`), `stale` (why it is not shown, or empty), `set`, `right` (Int64), `n`, `effective`
        (as in `accuracies`), `predicted` (by the suite's headline estimator; NaN where it has no row).
    seeds
        The spread of models with at least four complete seeds, on the source and each labelled natural
        target without clusters. Columns: `architecture`, `recipe`, `set`, `seeds`, `n`, `accuracy`, and
        the variances of `SeedSpread`.
    controls
        Results of the suite's expectations: one row for each of them and estimator (empty where it is
        about accuracies). Columns: `text`, `quantity`, `low`, `high`, `estimator`, `seen` (in percent or
        pp; NaN where no run tells), `rows` (how many figures it is the mean of), `holds`.
    ensemble
        The reference ensemble. Columns: `architecture`, `family`, `role` ("member" or "reserve").
    dataset_notes
        What is to be said about a dataset's edition, by dataset.
    class_distances
        Total variation distance between the class shares of each labelled natural set and those of the
        source, 0 to 1, by set.
    confusion
        What the reference ensemble finds confusing; None where it is incomplete.
    """

    suite: Suite
    edition: str
    targets: list[Target]
    natural: dict[str, bool]
    runs: pd.DataFrame
    accuracies: pd.DataFrame
    table: pd.DataFrame
    skipped: pd.DataFrame
    ensemble: pd.DataFrame
    dataset_notes: dict[str, str]
    class_distances: Mapping[str, float] = field(default_factory=dict)
    confusion: ConfusionTables | None = None
    unranked: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(TABLE_COLUMNS)))
    views: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(VIEW_COLUMNS)))
    label_views: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(LABEL_VIEW_COLUMNS)))
    signals: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SIGNAL_COLUMNS)))
    reported: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(REPORTED_COLUMNS)))
    seeds: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SEED_COLUMNS)))
    controls: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CONTROL_COLUMNS)))

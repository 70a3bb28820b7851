"""The contract between the analysis of confusion and what prints it: tables and no computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd


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

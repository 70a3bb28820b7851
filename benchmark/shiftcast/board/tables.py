"""What a suite's results say, as tables: the contract between scoring and everything that prints.

`scoring` fills a `SuiteScores` from `results/`; the leaderboard, the console and the CSV read
nothing else. This module holds the columns and no computation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from shiftcast.analysis.tables import ConfusionTables
from shiftcast.cards.suite import Suite, Target
from shiftcast.scoring.controls import CONTROL_COLUMNS
from shiftcast.scoring.signals import SIGNAL_COLUMNS

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
        `track`, `selected_on` (datasets joined by ";"), `protocol` ("official" or "shared"),
        `predicted`, `low`, `high`, `nominal` (the interval's level), `actual` (NaN where withheld),
        `n`, `effective` (as in `accuracies`), `flagged` (whether the estimator says that the estimate
        is doubtful), `abstains` (bool), `note`, `seconds`; and the conformal interval, learned from the
        estimator's errors on other shifts and other architectures:
        `conformal_low`, `conformal_high`, `conformal_level` (NaN where fewer than four other shifts
        are known), `conformal_extended` (whether it had to be widened to hold the prediction),
        `conformal_groups` (how many other shifts there are).
    skipped
        Estimators that gave no row. Columns: `estimator`, `reason`, `rows`.
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
        What came of the suite's expectations: one row for each of them and estimator (empty where it is
        about accuracies). Columns: `text`, `quantity`, `low`, `high`, `estimator`, `seen` (in percent or
        pp; NaN where no run tells), `rows` (how many figures it is the mean of), `holds`.
    ensemble
        The reference ensemble. Columns: `architecture`, `family`, `role` ("member" or "reserve").
    dataset_notes
        What is to be said about a dataset's edition, by dataset.
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
    confusion: ConfusionTables | None = None
    views: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(VIEW_COLUMNS)))
    label_views: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(LABEL_VIEW_COLUMNS)))
    signals: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SIGNAL_COLUMNS)))
    reported: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(REPORTED_COLUMNS)))
    seeds: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SEED_COLUMNS)))
    controls: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CONTROL_COLUMNS)))

"""How confusing each set is, how accuracy falls with confusion, and how far two ensembles agree."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shiftcast.analysis.confusion import Confusion
from shiftcast.difficulty import half_splits, split_half_reliability
from shiftcast.estimators.bins import bin_index
from shiftcast.statistics import group_sums, percentile_interval

HISTOGRAM_BINS = 20
ACCURACY_BINS = 10
SET_COLUMNS = (
    *("set", "group", "natural", "n", "clusters", "mean", "difference", "difference_low", "difference_high"),
    *("above", "above_low", "above_high"),
)


def describe_sets(confusion: Confusion) -> pd.DataFrame:
    """Return the mean score of each set, its difference from in distribution, and its high share.

    A derived set is compared with its own base images, whose resampling weights it shares; a
    natural set with the whole in-distribution set, drawn independently.
    """
    source = confusion.source
    targets = {target.id: target for target in confusion.pool.suite.unfolded_targets()}
    whole = confusion.scores(source)
    at_home = confusion.resampled(source, np.column_stack([np.ones(len(whole)), whole]))
    rows = []
    for name in confusion.sets:
        scores, high = confusion.scores(name), confusion.high(name)
        base = confusion.base(name)
        totals = confusion.resampled(name, np.column_stack([np.ones(len(scores)), scores, high]))
        means, above = totals[:, 1] / totals[:, 0], totals[:, 2] / totals[:, 0]
        known, other = whole, at_home
        if base is not None:
            known = whole[base]
            other = confusion.resampled(name, np.column_stack([np.ones(len(known)), known]))
        differences = means - other[:, 1] / other[:, 0]
        clusters = confusion.clusters(name)
        target = targets.get(name)
        low, high_end = (0.0, 0.0) if name == source else percentile_interval(differences)
        rows.append(
            (
                name,
                "" if target is None else target.group,
                target is not None and confusion.pool.workspace.natural(target),
                len(scores),
                pd.NA if clusters is None else len(np.unique(clusters)),
                float(scores.mean()),
                float(scores.mean() - known.mean()),
                low,
                high_end,
                float(high.mean()),
                *percentile_interval(above),
            )
        )
    return pd.DataFrame(rows, columns=list(SET_COLUMNS)).astype({"clusters": "Int64"})


def histogram(confusion: Confusion) -> pd.DataFrame:
    """Return the share of each set's images in bins of equal width: `set`, `bin`, `share`."""
    frames = []
    for name in confusion.sets:
        index = bin_index(confusion.scores(name), confusion.largest, HISTOGRAM_BINS)
        shares = np.bincount(index, minlength=HISTOGRAM_BINS) / len(index)
        frames.append(pd.DataFrame({"set": name, "bin": np.arange(HISTOGRAM_BINS), "share": shares}))
    return pd.concat(frames, ignore_index=True)


def accuracy_by_bin(confusion: Confusion) -> pd.DataFrame:
    """Return each model's right answers in ten bins of confusion on every labelled set."""
    keys = [(run.key.architecture, run.key.recipe) for run in confusion.pool.scored]
    frames = []
    for name in filter(confusion.labelled, confusion.scored_sets):
        index = bin_index(confusion.scores(name), confusion.largest, ACCURACY_BINS)
        counts = np.bincount(index, minlength=ACCURACY_BINS)
        right = group_sums(index, confusion.right(name), ACCURACY_BINS)
        frames += [
            pd.DataFrame(
                {
                    "architecture": architecture,
                    "recipe": recipe,
                    "set": name,
                    "bin": np.arange(ACCURACY_BINS),
                    "right": right[:, column].astype(np.int64),
                    "n": counts,
                    "images": counts,
                }
            )
            for column, (architecture, recipe) in enumerate(keys)
        ]
    table = pd.concat(frames, ignore_index=True)
    grouped = table.groupby(["architecture", "recipe", "set", "bin"], sort=False)
    sums = grouped[["right", "n"]].sum()
    return sums.assign(images=grouped["images"].first()).reset_index()


def reliability(confusion: Confusion) -> pd.DataFrame:
    """Return how alike two disjoint halves of the ensemble rank the images of each set.

    Mean Spearman correlation over the splits into two runs of neighbours (members in the suite's
    order, taken as a ring): each member sits in either half equally often.
    """
    splits = len(half_splits(len(confusion.members)))
    rows = [
        (name, split_half_reliability(confusion.ensemble(name), confusion.kind), splits)
        for name in (confusion.sets if splits else [])
    ]
    return pd.DataFrame(rows, columns=["set", "spearman", "splits"])

"""Errors that networks share although they share no training image: claim 5 on the natures of the errors.

A wrong answer that comes from single training images cannot be common to networks trained on disjoint
halves of them; one that comes from the data at large, or from the network, can.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shiftcast.analysis.confusion import Confusion
from shiftcast.runs.suite_runs import StoredRun
from shiftcast.statistics import percentile_interval
from shiftcast.util.types import Floats

PAIRS = ("same half", "other half", "other network")
LEVELS = ("low", "high")
"""Confusion up to the in-distribution median, and above the in-distribution 90th percentile."""

Pair = tuple[StoredRun, StoredRun]


def shared_errors(confusion: Confusion) -> pd.DataFrame:
    """Return how often another network gives the same wrong class, by what the two share.

    Pairs are ordered: of the images that the first gets wrong, the share that the second puts into the same
    wrong class. `same half`: two seeds of one network on the same half of the training images; `other
    half`: on disjoint halves; `other network`: one of a plain recipe and another family, on all images.
    Errors of all pairs of a kind are pooled. Intervals are percentiles of a bootstrap over images.

    Returns
    -------
    DataFrame
        Columns `SHARED_COLUMNS`: `set`, `level`, `pairs`, `errors` (mean number in a pair), `share`,
        `low`, `high`, and of the share minus that of `same half`: `difference`, `difference_low`,
        `difference_high` (NaN for `same half` itself). Empty where no network was trained on both halves
        with two seeds each.
    """
    pairs = _pairs(confusion)
    rows = []
    if all(pairs[kind] for kind in ("same half", "other half")):
        middle = float(np.quantile(confusion.scores(confusion.source), 0.5))
        for name in (confusion.source, *confusion.natural):
            scores = confusion.scores(name)
            for level in LEVELS:
                chosen = scores <= middle if level == "low" else confusion.high(name)
                rows += [(name, level, *row) for row in _rows(confusion, name, chosen, pairs)]
    return pd.DataFrame(rows, columns=list(SHARED_COLUMNS))


def _pairs(confusion: Confusion) -> dict[str, list[Pair]]:
    pool = confusion.pool
    own: dict[str, list[StoredRun]] = {"first": [], "second": []}
    others: list[StoredRun] = []
    for run in pool.scored:
        half = None if pool.suite.contributed else pool.workspace.recipe(run.key.recipe).train_half
        if half is not None:
            own[half].append(run)
        elif pool.is_plain(run):
            others.append(run)
    halves = [run for runs in own.values() for run in runs]

    def kin(pair: Pair) -> bool:
        return pair[0].key.architecture == pair[1].key.architecture

    same = [pair for runs in own.values() for pair in itertools.permutations(runs, 2)]
    ways = ((own["first"], own["second"]), (own["second"], own["first"]))
    across = [pair for way in ways for pair in itertools.product(*way)]
    return {
        "same half": list(filter(kin, same)),
        "other half": list(filter(kin, across)),
        "other network": [(one, two) for one in halves for two in others if one.family != two.family],
    }


def _rows(
    confusion: Confusion, name: str, chosen: NDArray[np.bool_], pairs: dict[str, list[Pair]]
) -> list[tuple[object, ...]]:
    """Return a row per kind of pair, from the errors on the chosen images."""
    sums = [_sums(name, chosen, pairs[kind]) for kind in PAIRS]
    drawn = confusion.resampled(name, np.column_stack(sums))
    shares = [_ratio(drawn[:, 2 * k + 1], drawn[:, 2 * k]) for k in range(len(PAIRS))]
    points = [float(_ratio(both.sum(), wrong.sum())) for wrong, both in (own.T for own in sums)]
    rows: list[tuple[object, ...]] = []
    for k, kind in enumerate(PAIRS):
        if not pairs[kind]:
            continue
        apart = (float("nan"),) * 3
        if k:
            apart = (points[k] - points[0], *percentile_interval(shares[k] - shares[0]))
        errors = float(sums[k][:, 0].sum()) / len(pairs[kind])
        rows.append((kind, errors, points[k], *percentile_interval(shares[k]), *apart))
    return rows


def _sums(name: str, chosen: NDArray[np.bool_], pairs: Sequence[Pair]) -> Floats:
    """Per image: in how many pairs the first is wrong, and the second wrong in the same way (n, 2)."""
    found = np.zeros((len(chosen), 2))
    for first, second in pairs:
        wrong = chosen & (np.asarray(first.sets[name].true_rank) != 0)
        found[:, 0] += wrong
        found[:, 1] += wrong & (first.predicted(name) == second.predicted(name))
    return found


def _ratio(part: Floats | float, whole: Floats | float) -> Floats:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    found: Floats = np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
    return found


SHARED_COLUMNS = (
    *("set", "level", "pairs", "errors", "share", "low", "high"),
    *("difference", "difference_low", "difference_high"),
)

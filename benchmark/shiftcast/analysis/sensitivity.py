"""How much ConfusionPartition's error depends on its choices: score, members, bins, protocol.

The same arithmetic as the estimator's (`estimators.bins`), over all runs and targets at once.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from shiftcast.cards.suite import Target
from shiftcast.difficulty import KINDS, largest_score
from shiftcast.difficulty.scores import DECIMALS, OF_MEAN, mean_on_grid, on_grid
from shiftcast.estimators.bins import bin_index, merge_bins
from shiftcast.estimators.partition import ConfusionPartition
from shiftcast.runs.suite_runs import Pool, StoredRun
from shiftcast.statistics import group_sums
from shiftcast.util.arrays import softmax
from shiftcast.util.types import Floats, Integers

MEMBERS = (2, 3, 5, 8)
BINS = (5, 10, 20)
COLUMNS = (
    *("aspect", "variant", "default", "natural_mae", "natural_bias", "synthetic_mae", "synthetic_bias"),
)
DEFAULT = ConfusionPartition()
OF_DEFAULT = OF_MEAN[DEFAULT.kind]
"""The default score, as a function of the mean member: ensembles of many sizes cost one sum each."""


@dataclass(frozen=True)
class Variant:
    """One way to estimate: how images are scored, and how scores become an accuracy."""

    kind: str = DEFAULT.kind
    bins: int = DEFAULT.bins
    isotonic: bool = False
    shared: bool = False


def sensitivity(pool: Pool) -> pd.DataFrame:
    """Return errors by variant of ConfusionPartition, averaged as on the board.

    "M members" is the mean over the runs of M neighbours in the suite's order, taken as a ring, so
    that each member counts equally often.
    """
    table = ErrorTable(pool)
    if not table.targets:
        return pd.DataFrame(columns=list(COLUMNS))
    plain = Variant()
    rows = [("score", kind, kind == plain.kind, table.errors(Variant(kind=kind))) for kind in KINDS]
    count = len(pool.suite.reference.members)
    rows += [
        ("members", str(size), size == count, table.errors(plain, neighbours(count, size)))
        for size in [size for size in MEMBERS if size < count] + [count]
    ]
    rows += [("bins", str(bins), bins == plain.bins, table.errors(Variant(bins=bins))) for bins in BINS]
    rows.append(("bins", "isotonic", False, table.errors(Variant(isotonic=True))))
    rows.append(("scored run", "family kept out", True, table.errors(plain)))
    rows.append(("scored run", "let in", False, table.errors(plain, let_in=True)))
    rows.append(("protocol", "cross-fitted", True, table.errors(plain)))
    rows.append(("protocol", "shared", False, table.errors(Variant(shared=True))))
    return pd.DataFrame([(*head, *figures) for *head, figures in rows], columns=list(COLUMNS))


def neighbours(count: int, size: int) -> list[list[int]]:
    """Return the positions of `size` neighbours among `count` in a ring, from each start on."""
    return [
        list(itertools.islice(itertools.cycle(range(count)), start, start + size))
        for start in range(count if size < count else 1)
    ]


class ErrorTable:
    """Scored runs on all labelled targets, ready to be estimated by any variant.

    Parameters
    ----------
    pool
        A suite's runs.
    judged
        The runs that estimates are made for; all scored ones when None.
    judges
        Runs that judge them, whose sets are needed; the reference ensemble of each when None.
    """

    def __init__(
        self,
        pool: Pool,
        judged: Sequence[StoredRun] | None = None,
        judges: Sequence[StoredRun] | None = None,
    ) -> None:
        self.pool, self.source = pool, pool.suite.source.test
        self.judged = pool.scored if judged is None else judged
        if judges is None:
            used = {name for run in self.judged for name in pool.members(run.family)}
            judges = [pool.reference[name] for name in used]
        self.targets = [
            target
            for target in pool.targets
            if all(target.id in run.sets and run.sets[target.id].true_rank is not None for run in self.judged)
            and all(target.id in run.sets for run in judges)
        ]
        self.names = [self.source, *(target.id for target in self.targets)]
        sizes = [self.judged[0].sets[name].n for name in self.names]
        ends = np.cumsum(sizes)
        self.slices = {
            name: slice(end - size, end) for name, end, size in zip(self.names, ends, sizes, strict=True)
        }
        self.right = np.stack([_right(run, self.source) for run in self.judged], axis=1)
        self.actual = np.array([[run.sets[t.id].accuracy for t in self.targets] for run in self.judged])
        self.weights = {natural: self._weights(natural) for natural in (True, False)}
        self.parts = {target.id: _parts(pool, target) for target in self.targets}
        self._defaults: dict[Variant, tuple[float, ...]] = {}
        self._exact: dict[str, Floats] = {}
        self._scored: dict[tuple[str, ...], dict[str, Floats]] = {}

    def _weights(self, natural: bool) -> Floats | None:
        """Weight of each run and target in a board's mean (R, T); None without such targets."""
        groups: dict[str, list[int]] = {}
        for index, target in enumerate(self.targets):
            if self.pool.workspace.natural(target) == natural:
                groups.setdefault(target.group, []).append(index)
        if not groups:
            return None
        models = [(run.key.architecture, run.key.recipe) for run in self.judged]
        share = np.array([1 / (len(set(models)) * models.count(model)) for model in models])
        weights = np.zeros((len(models), len(self.targets)))
        for columns in groups.values():
            weights[:, columns] = share[:, None] / (len(groups) * len(columns))
        return weights

    def errors(
        self, variant: Variant, rings: Sequence[Sequence[int]] = (), *, let_in: bool = False
    ) -> tuple[float, ...]:
        """Return MAE and bias on natural, then on synthetic shifts, in pp.

        Parameters
        ----------
        variant
            How to estimate.
        rings
            Positions of the members to use; errors are averaged over them. All members when empty.
        let_in
            Put the scored run in the place of one member of the ensemble that judges it: of each
            in turn, run by run.
        """
        usual = not rings and not let_in
        if usual and variant in self._defaults:
            return self._defaults[variant]
        found = []
        each: Sequence[Sequence[int] | None] = rings or [None]
        for ring in each:
            predicted = np.empty_like(self.actual)
            for rows, scores in self._scores(variant.kind, ring, let_in):
                predicted[rows] = self._predict(np.round(scores, DECIMALS), rows, variant)
            found.append(self._means(100 * (np.round(predicted, 6) - np.round(self.actual, 6))))
        figures = tuple(np.mean(found, axis=0).tolist())
        if usual:
            self._defaults[variant] = figures
        return figures

    def errors_by(self, exact: Sequence[Floats], rings: Sequence[Sequence[int]]) -> tuple[float, ...]:
        """Return the errors, as `errors` does, by members that judge every run.

        Parameters
        ----------
        exact
            Probabilities (N, K) of M members on all sets, as `joined` and then `on_grid` give them.
        rings
            Positions of the members of each ensemble; errors are averaged over the ensembles.
        """
        rows, found = list(range(len(self.judged))), []
        for ring in rings:
            scores = OF_DEFAULT(mean_on_grid(_sum([exact[place] for place in ring]), len(ring)))
            predicted = self._predict(np.round(scores, DECIMALS), rows, Variant()).astype(np.float64)
            found.append(self._means(100 * (np.round(predicted, 6) - np.round(self.actual, 6))))
        return tuple(np.mean(found, axis=0).tolist())

    def _means(self, errors: Floats) -> list[float]:
        values = []
        for natural in (True, False):
            weights = self.weights[natural]
            values += [
                float("nan") if weights is None else float((weights * part).sum())
                for part in (np.abs(errors), errors)
            ]
        return values

    def _scores(
        self, kind: str, ring: Sequence[int] | None, let_in: bool
    ) -> Iterator[tuple[list[int], Floats]]:
        """Yield runs (their positions) and the scores of all images (N,) by which they are judged."""
        judged: dict[tuple[str, ...], list[int]] = {}
        for position, run in enumerate(self.judged):
            judged.setdefault(self.pool.members(run.family), []).append(position)
        for members, rows in judged.items():
            if ring is None and not let_in:
                yield rows, self._by_kind(members)[kind]
                continue
            exact = self._on_grid(members)
            if ring is not None:
                yield rows, OF_DEFAULT(mean_on_grid(_sum([exact[place] for place in ring]), len(ring)))
                continue
            whole = _sum(exact)
            for row in rows:
                own = on_grid(self.joined([self.judged[row]])[0])
                mixed = whole - exact[row % len(exact)] + own
                yield [row], OF_DEFAULT(mean_on_grid(mixed, len(exact)))

    def _by_kind(self, members: tuple[str, ...]) -> dict[str, Floats]:
        """Every score of all images (N,) by an ensemble, whose probabilities take too much memory to keep."""
        if members not in self._scored:
            probabilities = self.joined([self.pool.reference[name] for name in members])
            self._scored[members] = {kind: score(probabilities) for kind, score in KINDS.items()}
        return self._scored[members]

    def _on_grid(self, members: tuple[str, ...]) -> list[Floats]:
        """Probabilities (N, K) of each member as whole numbers, which add without error."""
        for name in members:
            if name not in self._exact:
                self._exact[name] = on_grid(self.joined([self.pool.reference[name]])[0])
        return [self._exact[name] for name in members]

    def joined(self, runs: Sequence[StoredRun]) -> Floats:
        """Return the probabilities (M, N, K) of runs on all sets, one set after the other."""
        logits = [np.concatenate([run.sets[name].logits for name in self.names]) for run in runs]
        return softmax(np.stack(logits))

    def _predict(self, scores: Floats, rows: list[int], variant: Variant) -> Floats:
        """Return predicted accuracies (runs, T) from the scores of all images (N,)."""
        values: Any = scores  # bins, unless every score counts by itself
        if not variant.isotonic:
            classes = self.judged[0].sets[self.source].classes
            values = bin_index(scores, largest_score(variant.kind, classes), variant.bins)
        source, right = values[self.slices[self.source]], self.right[:, rows]

        @cache
        def fitted(part: str) -> Learned:
            half = self.pool.halves[part]
            if variant.isotonic:
                return _isotonic(source[half], right[half])
            return _partition(source[half], right[half], variant.bins)

        columns = []
        for target in self.targets:
            own = values[self.slices[target.id]]
            if variant.shared or not target.derived:
                columns.append(fitted("all")(own))
                continue
            parts = [(fitted(fit)(own[index]), len(index)) for fit, index in self.parts[target.id]]
            total = sum(count for _, count in parts)
            columns.append(np.sum([value * (count / total) for value, count in parts], axis=0))
        return np.stack(columns, axis=1)


Learned = Callable[[Any], Floats]
"""From the bins or scores of a target's images to predicted accuracies (R,)."""


def _partition(raw: Integers, right: Floats, bins: int) -> Learned:
    """Learn each run's accuracy in bins of the score; bins short of images are merged."""
    home = merge_bins(np.bincount(raw, minlength=bins), DEFAULT.min_count)
    merged = home[raw]
    counts = np.bincount(merged, minlength=bins)
    accuracy = group_sums(merged, right, bins) / np.maximum(counts, 1)[:, None]

    def predict(own: Integers) -> Floats:
        there = np.bincount(home[own], minlength=bins)
        predicted: Floats = there @ accuracy / there.sum()
        return predicted

    return predict


def _isotonic(scores: Floats, right: Floats) -> Learned:
    """Learn each run's accuracy as a falling function of the score: flat outside, linear between."""
    known, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    fits = []
    for column in right.T:
        means = np.bincount(place, weights=column) / counts
        fits.append(isotonic_regression(means, weights=counts, increasing=False).x)
    return lambda own: np.array([np.interp(own, known, fit).mean() for fit in fits])


def _sum(exact: Sequence[Floats]) -> Floats:
    """Return the sum of members' probabilities (N, K) on the grid."""
    return functools.reduce(np.add, exact)


def _right(run: StoredRun, name: str) -> Floats:
    right: Floats = np.asarray(run.sets[name].true_rank == 0, dtype=np.float64)
    return right


def _parts(pool: Pool, target: Target) -> list[tuple[str, Integers]]:
    """Which half to fit on, and the positions in the target that it then predicts."""
    if not target.derived:
        return []
    return [("A", pool.rows(target, "B")), ("B", pool.rows(target, "A"))]

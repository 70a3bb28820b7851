"""How much ConfusionPartition's error depends on its choices: score, members, bins, protocol.

The same arithmetic as the estimator's (`estimators.bins`), over all runs and targets at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from shiftcast.cards import Target
from shiftcast.difficulty import KINDS, largest_score
from shiftcast.difficulty.scores import DECIMALS
from shiftcast.estimators.bins import bin_index, merge_bins
from shiftcast.estimators.partition import ConfusionPartition
from shiftcast.pool import Pool, StoredRun
from shiftcast.predictions import Floats, Integers

MEMBERS = (2, 3, 5, 8)
BINS = (5, 10, 20)
COLUMNS = (
    *("aspect", "variant", "default", "natural_mae", "natural_bias", "synthetic_mae", "synthetic_bias"),
)
DEFAULT = ConfusionPartition()


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
    table = _Table(pool)
    if not table.targets:
        return pd.DataFrame(columns=list(COLUMNS))
    plain = Variant()
    rows = [("score", kind, kind == plain.kind, table.errors(Variant(kind=kind))) for kind in KINDS]
    count = len(pool.suite.reference.members)
    for size in [size for size in MEMBERS if size < count] + [count]:
        rings = [
            list(itertools.islice(itertools.cycle(range(count)), start, start + size))
            for start in range(count if size < count else 1)
        ]
        rows.append(("members", str(size), size == count, table.errors(plain, rings)))
    rows += [("bins", str(bins), bins == plain.bins, table.errors(Variant(bins=bins))) for bins in BINS]
    rows.append(("bins", "isotonic", False, table.errors(Variant(isotonic=True))))
    rows.append(("scored run", "family kept out", True, table.errors(plain)))
    rows.append(("scored run", "let in", False, table.errors(plain, let_in=True)))
    rows.append(("protocol", "cross-fitted", True, table.errors(plain)))
    rows.append(("protocol", "shared", False, table.errors(Variant(shared=True))))
    return pd.DataFrame([(*head, *figures) for *head, figures in rows], columns=list(COLUMNS))


class _Table:
    """All scored runs on all labelled targets, ready to be estimated by any variant."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.source = pool, pool.suite.source.test
        used = {name for run in pool.scored for name in pool.members(run.family)}
        self.targets = [
            target
            for target in pool.targets
            if all(target.id in run.sets and run.sets[target.id].true_rank is not None for run in pool.scored)
            and all(target.id in pool.reference[name].sets for name in used)
        ]
        self.names = [self.source, *(target.id for target in self.targets)]
        sizes = [len(pool.scored[0].sets[name].logits) for name in self.names]
        ends = np.cumsum(sizes)
        self.slices = {
            name: slice(end - size, end) for name, end, size in zip(self.names, ends, sizes, strict=True)
        }
        self.right = np.stack([_right(run, self.source) for run in pool.scored], axis=1)
        self.actual = np.array([[run.sets[t.id].accuracy for t in self.targets] for run in pool.scored])
        self.weights = {natural: self._weights(natural) for natural in (True, False)}
        self.parts = {target.id: _parts(pool, target) for target in self.targets}
        self._defaults: dict[Variant, tuple[float, ...]] = {}
        self._probabilities: dict[tuple[str, ...], Floats] = {}

    def _weights(self, natural: bool) -> Floats | None:
        """Weight of each run and target in a board's mean (R, T); None without such targets."""
        groups: dict[str, list[int]] = {}
        for index, target in enumerate(self.targets):
            if self.pool.workspace.natural(target) == natural:
                groups.setdefault(target.group, []).append(index)
        if not groups:
            return None
        models = [(run.key.architecture, run.key.recipe) for run in self.pool.scored]
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
            for rows, ensemble in self._ensembles(ring, let_in):
                scores = np.round(KINDS[variant.kind](ensemble), DECIMALS)
                predicted[rows] = self._predict(scores, rows, variant, ensemble.shape[2])
            found.append(self._means(100 * (np.round(predicted, 6) - np.round(self.actual, 6))))
        figures = tuple(np.mean(found, axis=0).tolist())
        if usual:
            self._defaults[variant] = figures
        return figures

    def _means(self, errors: Floats) -> list[float]:
        values = []
        for natural in (True, False):
            weights = self.weights[natural]
            values += [
                float("nan") if weights is None else float((weights * part).sum())
                for part in (np.abs(errors), errors)
            ]
        return values

    def _ensembles(self, ring: Sequence[int] | None, let_in: bool) -> Iterator[tuple[list[int], Floats]]:
        """Yield runs (their positions) and the member probabilities (M, N, K) that judge them."""
        judged: dict[tuple[str, ...], list[int]] = {}
        for position, run in enumerate(self.pool.scored):
            judged.setdefault(self.pool.members(run.family), []).append(position)
        for members, rows in judged.items():
            ensemble = self._concatenated(members)
            if ring is not None:
                ensemble = ensemble[list(ring)]
            if not let_in:
                yield rows, ensemble
                continue
            for row in rows:
                run = self.pool.scored[row]
                own = np.concatenate([run.probabilities(name) for name in self.names])
                joined = ensemble.copy()
                joined[row % len(joined)] = own
                yield [row], joined

    def _concatenated(self, members: tuple[str, ...]) -> Floats:
        if members not in self._probabilities:
            runs = [self.pool.reference[name] for name in members]
            self._probabilities[members] = np.stack(
                [np.concatenate([run.probabilities(name) for name in self.names]) for run in runs]
            )
        return self._probabilities[members]

    def _predict(self, scores: Floats, rows: list[int], variant: Variant, classes: int) -> Floats:
        """Return predicted accuracies (runs, T) from the scores of all images (N,)."""
        learn = _isotonic if variant.isotonic else _partition(variant, largest_score(variant.kind, classes))
        source, right = scores[self.slices[self.source]], self.right[:, rows]
        halves = self.pool.halves
        fitted = {part: learn(source[halves[part]], right[halves[part]]) for part in ("all", "A", "B")}
        columns = []
        for target in self.targets:
            own = scores[self.slices[target.id]]
            if variant.shared or not target.derived:
                columns.append(fitted["all"](own))
                continue
            parts = [(fitted[fit](own[index]), len(index)) for fit, index in self.parts[target.id]]
            total = sum(count for _, count in parts)
            columns.append(np.sum([value * (count / total) for value, count in parts], axis=0))
        return np.stack(columns, axis=1)


Learned = Callable[[Floats], Floats]
"""From the scores of a target's images to predicted accuracies (R,)."""


def _partition(variant: Variant, largest: float) -> Callable[[Floats, Floats], Learned]:
    def learn(scores: Floats, right: Floats) -> Learned:
        raw = bin_index(scores, largest, variant.bins)
        home = merge_bins(np.bincount(raw, minlength=variant.bins), DEFAULT.min_count)
        merged = home[raw]
        counts = np.bincount(merged, minlength=variant.bins)
        rights = np.stack(
            [np.bincount(merged, weights=column, minlength=variant.bins) for column in right.T], axis=1
        )
        accuracy = rights / np.maximum(counts, 1)[:, None]

        def predict(own: Floats) -> Floats:
            there = np.bincount(home[bin_index(own, largest, variant.bins)], minlength=variant.bins)
            predicted: Floats = there @ accuracy / there.sum()
            return predicted

        return predict

    return learn


def _isotonic(scores: Floats, right: Floats) -> Learned:
    """Learn each run's accuracy as a falling function of the score: flat outside, linear between."""
    known, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    fits = []
    for column in right.T:
        means = np.bincount(place, weights=column) / counts
        fits.append(isotonic_regression(means, weights=counts, increasing=False).x)
    return lambda own: np.array([np.interp(own, known, fit).mean() for fit in fits])


def _right(run: StoredRun, name: str) -> Floats:
    right: Floats = np.asarray(run.sets[name].true_rank == 0, dtype=np.float64)
    return right


def _parts(pool: Pool, target: Target) -> list[tuple[str, Integers]]:
    """Which half to fit on, and the positions in the target that it then predicts."""
    if not target.derived:
        return []
    return [("A", pool.rows(target, "B")), ("B", pool.rows(target, "A"))]

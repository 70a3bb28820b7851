"""The reference ensemble's difficulty score of every image of a suite, and what it is made from."""

from __future__ import annotations

from functools import cache, cached_property, lru_cache

import numpy as np
import pandas as pd

from shiftcast.data.sampling import base_index
from shiftcast.difficulty import difficulty, largest_score
from shiftcast.runs.suite_runs import Pool, StoredRun
from shiftcast.statistics import DRAWS, drawn_sums, group_sums, image_groups
from shiftcast.util.hashing import sha256
from shiftcast.util.types import Floats, Integers

HIGH = 0.9
"""Images above this quantile of the in-distribution score are of high confusion."""


class Confusion:
    """Difficulty of every image of a suite's sets, by the whole reference ensemble.

    Nothing is left out of the ensemble here: it describes images, not one model's accuracy.

    Parameters
    ----------
    pool
        A suite's runs; all reference members must be complete.
    kind
        A name in `shiftcast.difficulty.KINDS`.
    """

    def __init__(self, pool: Pool, kind: str = "entropy") -> None:
        self.pool, self.kind = pool, kind
        self.source = pool.suite.source.test
        self.members = tuple(pool.suite.reference.members)
        self.scores = cache(self._scores)
        self.groups = cache(self._groups)
        self.right = lru_cache(maxsize=2)(self._right)  # not all sets': they take eight bytes a run and image
        self.base = cache(self._base)

    @cached_property
    def reference(self) -> list[StoredRun]:
        """The runs of the reference ensemble."""
        return [self.pool.reference[name] for name in self.members]

    @cached_property
    def sets(self) -> list[str]:
        """The in-distribution set and every target that all members of the ensemble hold."""
        targets = [target.id for target in self.pool.suite.unfolded_targets()]
        return [name for name in (self.source, *targets) if all(name in run.sets for run in self.reference)]

    @cached_property
    def scored_sets(self) -> list[str]:
        """Those of `sets` that all scored runs hold as well."""
        return [name for name in self.sets if all(name in run.sets for run in self.pool.scored)]

    @cached_property
    def natural(self) -> list[str]:
        """Natural sets whose labels are known and which all scored runs hold."""
        targets = {t.id: t for t in self.pool.suite.unfolded_targets()}
        return [
            name
            for name in self.scored_sets
            if name in targets and self.pool.workspace.natural(targets[name]) and self.labelled(name)
        ]

    def ensemble(self, name: str) -> Floats:
        """Member probabilities (M, n, K) on one of `sets`; not kept, they are large."""
        return np.stack([run.probabilities(name) for run in self.reference])

    def labelled(self, name: str) -> bool:
        """Whether the labels of a set are known."""
        return self.reference[0].sets[name].true_rank is not None

    def _scores(self, name: str) -> Floats:
        """Difficulty of each image of a set (n,)."""
        return difficulty(self.ensemble(name), self.kind)

    @property
    def largest(self) -> float:
        """The upper end of the score's natural range."""
        return largest_score(self.kind, self.reference[0].sets[self.source].classes)

    @cached_property
    def threshold(self) -> float:
        """Score that a tenth of the in-distribution images exceeds."""
        return float(np.quantile(self.scores(self.source), HIGH))

    def high(self, name: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each image of a set is of high confusion (n,)."""
        result: np.ndarray[tuple[int], np.dtype[np.bool_]] = self.scores(name) > self.threshold
        return result

    def _right(self, name: str) -> Floats:
        """Whether each scored run (columns) is right on each image of a labelled set: 0 or 1 (n, R)."""
        ranks = [run.sets[name].true_rank for run in self.pool.scored]
        return np.stack([np.asarray(rank == 0, dtype=np.float64) for rank in ranks], axis=1)

    def clusters(self, name: str) -> Integers | None:
        """Which object each image of a set shows (n,), where several show one."""
        return self.reference[0].sets[name].clusters

    def _groups(self, name: str) -> Integers:
        """Resampling group of each image (n,): derived images go with their base image."""
        base = self.base(name)
        if base is not None:
            return self.groups(self.source)[base]
        n = self.reference[0].sets[name].n
        return image_groups(n, resampling_seed(name), self.clusters(name))

    def resampled(self, name: str, values: Floats, draws: int = DRAWS) -> Floats:
        """Return sums (draws, C) of per-image values (n, C) of a set when images are drawn anew.

        Derived sets share the draws of the in-distribution images that they are made from.
        """
        drawn_from = name if self.base(name) is None else self.source
        count = int(self.groups(drawn_from).max()) + 1
        sums = group_sums(self.groups(name), values, count)
        return drawn_sums(sums, draws, resampling_seed(drawn_from))

    def _base(self, name: str) -> Integers | None:
        """Positions of the in-distribution images that a derived set is made from (n,)."""
        for target in self.pool.suite.unfolded_targets():
            if target.id == name and target.derived:
                return base_index(target, self.pool.labels, self.pool.suite.source.seed)
        return None


def resampling_seed(name: str) -> int:
    """Return the seed of a set's resampling groups, from its name alone."""
    return int(sha256(f"groups|{name}".encode())[:8], 16)


def image_table(confusion: Confusion, kinds: list[str]) -> pd.DataFrame:
    """Return a row per image of every set.

    Columns: `set`, `image` (position in the set, for derived sets that of the base image),
    a difficulty score per kind, `percentile` of the first one among in-distribution images, and
    the class that the mean member finds most probable.
    """
    known = np.sort(confusion.scores(confusion.source))
    frames = []
    for name in confusion.sets:
        ensemble = confusion.ensemble(name)
        base = confusion.base(name)
        scores = {kind: difficulty(ensemble, kind) for kind in kinds}
        below = np.searchsorted(known, confusion.scores(name), side="left") / len(known)
        frames.append(
            pd.DataFrame(
                {
                    "set": name,
                    "image": np.arange(ensemble.shape[1]) if base is None else base,
                    **scores,
                    "percentile": np.round(100 * below, 2),
                    "ensemble_class": ensemble.mean(axis=0).argmax(axis=1),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)

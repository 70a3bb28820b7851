"""The stored runs of one suite, checked and ready to be scored, with the status of every other run.

Reads `results/`; needs no dataset and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from shiftcast.cards.suite import RunKey, Suite, Target
from shiftcast.data.sampling import base_index, stratified_halves
from shiftcast.difficulty import choose_members
from shiftcast.errors import InvalidInputError
from shiftcast.runs.outputs import StoredSet
from shiftcast.runs.record import ReportedRecord, RunRecord
from shiftcast.statistics import effective_count
from shiftcast.statistics.agreement import pairwise_agreement
from shiftcast.statistics.lines import pairs
from shiftcast.util.arrays import softmax
from shiftcast.util.hashing import sha256
from shiftcast.util.memory import fix
from shiftcast.util.types import Classes, Floats, Integers
from shiftcast.workspace import Workspace

if TYPE_CHECKING:
    from shiftcast.runs.agreement import Known


class StoredRun:
    """A complete run, whose outputs stay on disk until they are asked for."""

    def __init__(
        self, key: RunKey, family: str, record: RunRecord | ReportedRecord, sets: Mapping[str, StoredSet]
    ) -> None:
        """Hold the run."""
        self.key, self.family, self.record, self.sets = key, family, record, sets
        self.hard = any(one.hard for one in sets.values())
        self._classes: dict[str, Classes] = {}
        self._effective: dict[str, float] = {}

    def predicted(self, name: str) -> Classes:
        """Predicted classes (n,) on one set, kept for every run and therefore narrow."""
        if name not in self._classes:
            stored = self.sets[name]
            # float32 holds every float16 and is compared many times faster
            found = np.argmax(stored.logits.astype(np.float32), axis=1)
            self._classes[name] = found.astype(np.min_scalar_type(stored.classes - 1))
        return self._classes[name]

    def effective(self, name: str) -> float:
        """Return how many independent images would make the accuracy on a set as uncertain."""
        stored = self.sets[name]
        if stored.true_rank is None:
            return float(stored.n)
        if name not in self._effective:
            self._effective[name] = effective_count(stored.true_rank == 0, stored.clusters)
        return self._effective[name]

    def probabilities(self, name: str) -> Floats:
        """Class probabilities (n, K) on one set."""
        return softmax(self.sets[name].logits)


class ReportedRun(StoredRun):
    """A self-reported run, read from disk; `stale` says why it is not shown, or is empty."""

    def __init__(self, record: ReportedRecord, sets: Mapping[str, StoredSet], stale: str) -> None:
        """Hold the run."""
        super().__init__(record.key, record.family, record, sets)
        self.report, self.stale = record, stale


class Pool:
    """All complete runs of one suite, what they say of its sets, and what their scorings share."""

    def __init__(self, workspace: Workspace, suite: Suite) -> None:
        """Start with no runs and no folder of runs; `read_pool` adds them."""
        self.workspace, self.suite = workspace, suite
        self.scored: list[StoredRun] = []
        self.reference: dict[str, StoredRun] = {}
        self.known: dict[str, Known] = {}
        self._ensembles: dict[tuple[tuple[str, ...], str, str], Floats | None] = {}
        self._predicted: dict[tuple[str, str], Classes] = {}
        self._agreements: dict[tuple[str, str], Floats] = {}
        self._orders: dict[tuple[str, str], Integers] = {}
        self._labels: dict[str, Integers | None] = {}
        self.folder: Path | None = None

    @cached_property
    def targets(self) -> list[Target]:
        """Targets that at least one scored run was evaluated on, in the suite's order."""
        return [t for t in self.suite.unfolded_targets() if any(t.id in run.sets for run in self.scored)]

    @cached_property
    def labels(self) -> Integers:
        """Labels of the in-distribution test set (n,), as the runs imply them."""
        return cast("Integers", self.labels_of(self.suite.source.test))

    def labels_of(self, name: str) -> Integers | None:
        """Labels of a set (n,), which all runs imply alike; None where they are withheld."""
        if name not in self._labels:
            self._labels[name] = next(run for run in self.runs if name in run.sets).sets[name].labels
        return self._labels[name]

    def is_plain(self, run: StoredRun) -> bool:
        """Whether a run was trained by a plain recipe, so that lines may be drawn through it.

        The recipes of contributed runs are unknown: in a logits-only suite lines go through all of them.
        """
        if self.suite.contributed:
            return True
        return self.workspace.recipe(run.key.recipe).plain

    @cached_property
    def peers(self) -> list[StoredRun]:
        """Scored runs that others' agreement is measured with: those of plain recipes, or all if none is."""
        return [run for run in self.scored if self.is_plain(run)] or self.scored

    @property
    def runs(self) -> list[StoredRun]:
        """Every complete run: the scored ones, then the reference ensemble's."""
        return [*self.scored, *self.reference.values()]

    @cached_property
    def halves(self) -> dict[str, Integers]:
        """Positions of the whole source ("all") and of its halves ("A", "B")."""
        first, second = stratified_halves(self.labels, self.suite.source.seed)
        return {"all": np.arange(len(self.labels)), "A": first, "B": second}

    def rows(self, target: Target, part: str) -> Integers:
        """Positions of a target's images made from one part of the source, seeded order.

        Natural targets have one part, "all". The order is the same for every run, reference member
        and peer, and tells an estimator nothing about the publisher's order.
        """
        if (target.id, part) not in self._orders:
            self._orders[target.id, part] = self._order(target, part)
        return self._orders[target.id, part]

    def _order(self, target: Target, part: str) -> Integers:
        count = next(run for run in self.scored if target.id in run.sets).sets[target.id].n
        seed = int(sha256(f"{target.id}|{part}".encode())[:8], 16)
        if target.derived and part != "all":
            base = base_index(target, self.labels, self.suite.source.seed)
            chosen = np.flatnonzero(np.isin(base, self.halves[part]))
        else:
            chosen = np.arange(count)
        return np.random.RandomState(seed).permutation(chosen)

    def ensemble(self, members: tuple[str, ...], name: str, rows: Integers, part: str) -> Floats | None:
        """Probabilities (M, n, K) of reference members on images of one set; None where one lacks it.

        Parameters
        ----------
        members
            Names of the members.
        name
            The set.
        rows, part
            Which images, in which order, and what that choice is called.

        Returns
        -------
        Floats or None
            A read-only array, the same one each time until `forget`: what is computed
            from it is remembered with it.
        """
        key = (members, name, part)
        if key not in self._ensembles:
            runs = [self.reference[member] for member in members]
            found = None
            if all(name in run.sets for run in runs):
                found = softmax(np.stack([run.sets[name].logits[rows] for run in runs]))
                fix(found)
            self._ensembles[key] = found
        return self._ensembles[key]

    def peer_classes(self, name: str, rows: Integers, part: str) -> Classes:
        """Return the predicted classes (Z, n) of all peers on images of one set, kept until `forget`.

        Every peer must hold the set. `rows` and `part` are as in `ensemble`.
        """
        key = (name, part)
        if key not in self._predicted:
            self._predicted[key] = np.stack([run.predicted(name)[rows] for run in self.peers])
        return self._predicted[key]

    def peer_agreement(self, name: str, rows: Integers, part: str) -> Floats:
        """Return how often each pair of peers agrees on images of one set, kept until `forget`.

        `rows` and `part` are as in `ensemble`; of the table (Z, Z) the entries above the diagonal count.
        """
        key = (name, part)
        if key not in self._agreements:
            table = np.zeros((len(self.peers), len(self.peers)))
            table[pairs(len(self.peers))] = pairwise_agreement(self.peer_classes(name, rows, part))
            self._agreements[key] = table
        return self._agreements[key]

    def forget(self) -> None:
        """Let go of what scorings share: ensembles' probabilities take more memory than all predictions."""
        self._ensembles.clear()
        self._predicted.clear()
        self._agreements.clear()

    def members(self, family: str) -> tuple[str, ...]:
        """Names of the reference members for a scored run of `family`; empty if incomplete."""
        names = [
            [(n, self.reference[n].family) for n in group if n in self.reference]
            for group in (self.suite.reference.members, self.suite.reference.reserves)
        ]
        if len(names[0]) < len(self.suite.reference.members):
            return ()
        try:
            return tuple(choose_members(names[0], names[1], family))
        except InvalidInputError:  # the suite has reserves enough, but they are not run yet
            return ()

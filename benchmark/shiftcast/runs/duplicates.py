"""Runs that give the same outputs."""

from __future__ import annotations

import numpy as np

from shiftcast.cards.suite import RunKey
from shiftcast.runs.suite_runs import StoredRun
from shiftcast.util.hashing import sha256


class Duplicates:
    """Finds runs that hold the outputs of another run under a name of their own."""

    def __init__(self, source: str) -> None:
        """Know no run yet; all of them hold the set `source`."""
        self.source = source
        self._runs: dict[str, list[StoredRun]] = {}

    def add(self, run: StoredRun) -> None:
        """Remember a run."""
        self._runs.setdefault(self._digest(run), []).append(run)

    def original(self, run: StoredRun) -> RunKey | None:
        """Return a run that was added and whose outputs are the same on every set that both hold."""
        for other in self._runs.get(self._digest(run), []):
            both = set(run.sets) & set(other.sets)
            if all(np.array_equal(run.sets[name].logits, other.sets[name].logits) for name in both):
                return other.key
        return None

    def _digest(self, run: StoredRun) -> str:
        return sha256(np.ascontiguousarray(run.sets[self.source].logits).tobytes())

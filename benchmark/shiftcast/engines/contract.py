"""What every engine is told and tells, and the order in which runs are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shiftcast.cards.base import lookup
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.engines.one_run import Again
from shiftcast.errors import InvalidInputError, ShiftcastError
from shiftcast.runs.record import RunRecord
from shiftcast.workspace import Workspace

if TYPE_CHECKING:
    from shiftcast.training.job import Job
    from shiftcast.training.pace import Progress


Setting = tuple[Workspace, Path, Again]
"""Where the cards are, the folder of the suite's results, and what is done again."""


Outcome = tuple["Job", RunRecord | ShiftcastError | None]
"""A run and its result: its record, why it failed, or None where another process had finished it."""


@dataclass(frozen=True)
class Options:
    """What a person may choose about running a suite.

    Parameters
    ----------
    device
        "cpu", "cuda" or "auto".
    threads
        PyTorch's thread count; its own default when None. Results on CPU are exact at a stated count.
    only, seeds
        Names of architectures, and seeds, to restrict the work to; all when empty.
    retrain
        Train again what is on disk but stale. What is damaged is made again anyway.
    checkpoints
        Train networks of complete runs that are not in the cache, and leave the runs as they are.
    jobs
        Runs at once, each in a process of its own that holds all images. Several small networks can
        share a GPU that one of them would leave idle; on a CPU each should have its own `threads`.
    time_budget
        Minutes after which nothing more is begun: no run, and no epoch that is expected to end later.
        What is unfinished goes on from its checkpoint the next time. No limit when None.
    """

    device: str = "auto"
    threads: int | None = None
    only: Sequence[str] = ()
    seeds: Sequence[int] = ()
    retrain: bool = False
    checkpoints: bool = False
    jobs: int = 1
    time_budget: float | None = None


class Reporter(Protocol):
    """What the engine tells whoever watches."""

    def plan(self, total: int, complete: int) -> None:
        """Say how many runs there are and how many are complete already."""

    def started(self, key: RunKey, epochs: int) -> None:
        """Say that a run begins."""

    def progress(self, key: RunKey, progress: Progress) -> None:
        """Pass on the progress of a run's training."""

    def finished(self, key: RunKey, record: RunRecord) -> None:
        """Say that a run is on disk."""

    def left(self, key: RunKey, complete: bool) -> None:
        """Say that a run ends without a record of ours; `complete` if another process has finished it."""

    def note(self, text: str) -> None:
        """Pass on something worth knowing."""


@dataclass
class Summary:
    """What running a suite came to."""

    edition: str
    done: list[RunKey] = field(default_factory=list)
    kept: list[RunKey] = field(default_factory=list)
    failed: dict[RunKey, str] = field(default_factory=dict)
    stopped: dict[RunKey, str] = field(default_factory=dict)
    """Runs that the time budget left unfinished, and where they stand."""


class Attempts(Protocol):
    """How an engine does runs."""

    def __call__(self, todo: Sequence[Job], setting: Setting, patient: bool) -> Generator[Outcome]:
        """Do runs, begun in this order, and yield each with its result.

        What another process is at is yielded with `HeldError`, or waited for where `patient`.
        """


def choose_runs(suite: Suite, only: Sequence[str], seeds: Sequence[int] = ()) -> list[tuple[str, RunKey]]:
    """Return (role, run) in the order of work, restricted to the architectures in `only` and to `seeds`.

    The reference ensemble's members come first, then its reserves, then the scored runs in rounds: the
    first seed of every architecture under every recipe, in the suite's order, then the second ones, and
    so on.

    Raises
    ------
    UnknownNameError
        If `only` names an architecture that the suite does not use.
    InvalidInputError
        If `seeds` has one that none of these runs has.
    """
    runs = [("reference", key) for key in suite.reference_runs()]
    runs += [("scored", key) for key in _in_rounds(suite.scored_runs())]
    used = {key.architecture: key for _, key in runs}
    # An unknown name is a mistake, one without such a seed as well: neither may pass for "nothing to do".
    for name in only:
        lookup(f"architecture of suite {suite.name},", name, used)
    runs = [(role, key) for role, key in runs if not only or key.architecture in only]
    numbers = sorted({key.seed for _, key in runs})
    if strange := sorted(set(seeds) - set(numbers)):
        of = f" of {', '.join(only)}" if only else ""
        raise InvalidInputError(
            f"--seed {strange[0]}: suite {suite.name} has no such run{of}; its seeds are "
            f"{', '.join(map(str, numbers))}"
        )
    return [(role, key) for role, key in runs if not seeds or key.seed in seeds]


def _in_rounds(keys: Sequence[RunKey]) -> list[RunKey]:
    """Return runs with the first of every architecture and recipe before any second one."""
    seen: Counter[tuple[str, str]] = Counter()
    rounds = []
    for key in keys:
        rounds.append(seen[key.architecture, key.recipe])
        seen[key.architecture, key.recipe] += 1
    return [key for _, key in sorted(zip(rounds, keys, strict=True), key=itemgetter(0))]

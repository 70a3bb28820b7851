"""Scoring runs in several processes, which share what was read from disk."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from threadpoolctl import threadpool_limits

from shiftcast.cards.suite import RunKey
from shiftcast.estimators import Estimator
from shiftcast.runs.suite_runs import Pool, StoredRun
from shiftcast.scoring.harness import Cells, score_run
from shiftcast.util.memory import give_back

Columns = dict[str, list[Any]]
"""Rows by column: a fifth of the memory that the rows take."""
Told = tuple[Columns, Counter[tuple[str, str]]]
"""A run's rows, and how many rows each estimator did not give, by name and reason."""
Stored = Callable[[RunKey], Cells | None]
"""Gives what is stored of a run; None where it is to be scored."""
MOST_JOBS, MANY_RUNS = 4, 64
"""Processes that are started where no number is given, and the runs from which there are several: each
takes two hundred megabytes of its own."""


def usual_jobs(runs: int) -> int:
    """Return how many processes score that many runs where no number is given."""
    if runs < MANY_RUNS:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_JOBS)


def scored_runs(
    pool: Pool,
    estimators: Mapping[str, Estimator],
    names: Sequence[str],
    jobs: int | None = None,
    stored: Stored | None = None,
) -> Iterator[Told]:
    """Yield what is told of every scored run, in the pool's order.

    Parameters
    ----------
    pool, estimators
        As in `score_pool`.
    names
        Columns that are kept.
    jobs
        Processes that share the work; None for `usual_jobs`. They are forked, so that the pool is in
        memory once. One does everything where that is not safe: on other systems than Linux, and where
        torch is loaded, which has threads.
    stored
        As in `score_pool`.
    """
    score = partial(_told, pool, estimators, names, stored)
    jobs = min(usual_jobs(len(pool.scored)) if jobs is None else jobs, len(pool.scored))
    if jobs < 2 or sys.platform != "linux" or "torch" in sys.modules:
        for run in pool.scored:
            yield score(run)
        return
    found: dict[int, Told] = {}
    with _Workers(pool, score, jobs) as workers:
        for place, run in enumerate(pool.scored):
            while place not in found and workers.at_work:
                found.update(workers.told())
            # A worker that failed or was killed leaves the run to this process, which says why.
            yield found.pop(place) if place in found else score(run)


def _told(
    pool: Pool,
    estimators: Mapping[str, Estimator],
    names: Sequence[str],
    stored: Stored | None,
    run: StoredRun,
) -> Told:
    rows, skipped = score_run(pool, run, estimators, stored=stored and stored(run.key))
    give_back()
    return {name: [row[name] for row in rows] for name in names}, skipped


class _Workers:
    """Processes that score each the runs of their share, in the pool's order."""

    def __init__(self, pool: Pool, score: Callable[[StoredRun], Told], jobs: int) -> None:
        context = multiprocessing.get_context("fork")
        self.at_work: dict[Connection, BaseProcess] = {}
        for share in range(jobs):
            pipe, theirs = context.Pipe(duplex=False)
            places = range(share, len(pool.scored), jobs)
            ours = [*self.at_work, pipe]
            process = context.Process(target=_work, args=(theirs, ours, pool, score, places), daemon=True)
            with warnings.catch_warnings():  # numpy's threads outlive a fork, and there are no others
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                process.start()
            theirs.close()  # now its death closes the pipe
            self.at_work[pipe] = process

    def told(self) -> Iterator[tuple[int, Told]]:
        """Wait until a worker has something to say; yield places and what is told of them."""
        ready = set(map(id, wait(list(self.at_work))))
        for pipe in [pipe for pipe in self.at_work if id(pipe) in ready]:
            try:
                yield pipe.recv()
            except (EOFError, OSError):
                self.at_work.pop(pipe).join()

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe, process in self.at_work.items():
            pipe.close()
            process.terminate()
            process.join()


def _work(
    pipe: Connection,
    others: Sequence[Connection],
    pool: Pool,
    score: Callable[[StoredRun], Told],
    places: Sequence[int],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # in silence: it is inherited with the command's answer
    for one in others:  # the parent's ends: with nobody to read, this process must not wait for ever
        one.close()
    with threadpool_limits(1):  # as many threads as there are processes are enough
        for place in places:
            try:
                told = score(pool.scored[place])
            except Exception:  # the parent meets it again, and can raise what cannot be sent
                return
            pipe.send((place, told))

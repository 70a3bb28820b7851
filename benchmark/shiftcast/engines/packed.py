"""Several runs at once, each in a process of its own.

Every process holds the suite's images once and takes one run after the other. A run gives the same
files as alone: it shares nothing with the others but the machine.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shiftcast.data.loading import SuiteData
from shiftcast.engines.single import FAILURES
from shiftcast.errors import ShiftcastError, TrainingError
from shiftcast.runs import RunRecord

if TYPE_CHECKING:
    from shiftcast.engines.local import Reporter
    from shiftcast.training.work import Job

_own: dict[str, Any] = {}
"""What a process was given when it began."""


def side_by_side(
    todo: Sequence[Job], attempt: Callable[..., RunRecord | None], jobs: int, reporter: Reporter
) -> Iterator[tuple[Job, RunRecord | ShiftcastError | None]]:
    """Do runs in `jobs` processes and yield each with what came of it, as they end.

    Parameters
    ----------
    todo
        The runs, begun in this order; all of one suite, on one device.
    attempt
        Does one run: called with the job and `on_progress`.
    jobs
        Processes.
    reporter
        Is told of runs that begin and go on.
    """
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    news: Any = context.Queue()
    listener = threading.Thread(target=_listen, args=(news, reporter), daemon=True)
    listener.start()
    executor = ProcessPoolExecutor(
        min(jobs, len(todo)), context, _begin, (attempt, todo[0].data, todo[0].threads, news)
    )
    try:
        # The images were sent once: what is left of a job is a few kilobytes.
        running = {executor.submit(_do, replace(job, data=None)): job for job in todo}  # type: ignore[arg-type]
        for future in as_completed(running):
            yield running[future], _outcome(future)
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        news.put(None)
        listener.join()


def _outcome(future: Future[RunRecord | ShiftcastError | None]) -> RunRecord | ShiftcastError | None:
    try:
        return future.result()
    except BrokenProcessPool:
        return TrainingError(
            "a process was killed, perhaps because memory ran out, and took the runs that were waiting with "
            "it; the same command does the rest. Fewer --jobs need less memory"
        )


def _listen(news: Any, reporter: Reporter) -> None:
    """Pass on what processes tell, until None comes."""
    while (told := news.get()) is not None:
        key, what = told
        if isinstance(what, int):
            reporter.started(key, what)
        else:
            reporter.progress(key, what)


def _begin(attempt: Callable[..., RunRecord | None], data: SuiteData, threads: int, news: Any) -> None:
    from shiftcast.training import work

    work.set_threads(threads)
    _own.update(attempt=attempt, data=data, news=news)


def _do(bare: Job) -> RunRecord | ShiftcastError | None:
    news = _own["news"]
    news.put((bare.key, bare.recipe.epochs))
    job = replace(bare, data=_own["data"])
    try:
        record: RunRecord | None = _own["attempt"](job, on_progress=lambda p: news.put((bare.key, p)))
    except FAILURES as error:
        return type(error)(str(error))
    return record

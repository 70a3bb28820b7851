"""Several runs at once, each in a process of its own.

Every process holds the suite's images once and takes one run after the other. A run gives the same files as
alone at the same thread count, unless its neighbours leave it too little memory: then it computes its batches
in parts, and says so.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import TYPE_CHECKING, Any

from shiftcast.data.loading import SuiteData
from shiftcast.engines.budget import NOT_BEGUN, MayBegin
from shiftcast.engines.one_run import FAILURES
from shiftcast.errors import OutOfTimeError, ShiftcastError, TrainingError
from shiftcast.runs.record import RunRecord

if TYPE_CHECKING:
    from shiftcast.engines.contract import Reporter
    from shiftcast.training.job import Job

Attempt = Callable[..., RunRecord | None]
PATIENCE = 5.0
"""Seconds that a process has to end when it is told to."""


def side_by_side(
    todo: Sequence[Job], attempt: Attempt, jobs: int, reporter: Reporter, may_begin: MayBegin
) -> Generator[tuple[Job, RunRecord | ShiftcastError | None]]:
    """Do runs in `jobs` processes and yield each with its result, as they end.

    A process that dies takes its own run with it and is replaced for the others.

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
    may_begin
        Says whether there is time for another run; those that are not begun are yielded as out of time.
    """
    waiting = deque(todo)
    busy: dict[Connection, tuple[_Worker, Job]] = {}

    def begin(worker: _Worker, job: Job) -> None:
        reporter.started(job.key, job.recipe.epochs_run)
        busy[worker.pipe] = (worker, job)
        worker.give(job)

    try:
        while busy or waiting:
            if waiting and not may_begin(0.0):
                yield from ((job, OutOfTimeError(NOT_BEGUN)) for job in waiting)
                waiting.clear()
                continue
            while waiting and len(busy) < jobs:
                job = waiting.popleft()
                begin(_Worker(attempt, job), job)
            for worker, job in _speaking(busy):
                kind, what = worker.told()
                if kind == "progress":
                    reporter.progress(job.key, what)
                elif kind == "note":
                    reporter.note(f"{job.key}: {what}")
                else:
                    del busy[worker.pipe]
                    if kind == "end" and waiting and may_begin(0.0):
                        begin(worker, waiting.popleft())
                    else:
                        worker.end()
                    yield job, what
    finally:
        for worker, _ in busy.values():
            worker.end(at_once=True)


def _context() -> ForkServerContext | SpawnContext:
    """Return how processes are started: where it is safe, from one that has loaded what they need.

    To load PyTorch and timm takes each process ten seconds. That one uses no GPU and has no threads; a
    process that is forked from this one could not use CUDA.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["shiftcast.training.run"])
    return context


def _speaking(busy: dict[Connection, tuple[_Worker, Job]]) -> list[tuple[_Worker, Job]]:
    """Return those that have something to say, waiting until there is one."""
    ready = set(map(id, wait(list(busy))))
    return [pair for pipe, pair in busy.items() if id(pipe) in ready]


class _Worker:
    """A process that takes runs, and this side of the pipe to it."""

    def __init__(self, attempt: Attempt, job: Job) -> None:
        context = _context()
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, attempt, job.data, job.threads, dict(os.environ))
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.lost = ""
        try:
            # The images go along here, once for all runs of this process.
            self.process.start()
        except OSError as error:  # it died while the images were sent
            self.lost = str(error)
        theirs.close()  # now its death closes the pipe

    def give(self, job: Job) -> None:
        """Send a run; the images are there already, what is left of a job is a few kilobytes."""
        try:
            self.pipe.send(replace(job, data=None))  # type: ignore[arg-type]
        except OSError as error:
            self.lost = str(error)

    def told(self) -> tuple[str, Any]:
        """Return what it says: "progress", "note" or "end" and with what; "lost" and why, if it died."""
        try:
            told: tuple[str, Any] = self.pipe.recv()
        except (EOFError, OSError):
            return "lost", self._why()
        return told

    def _why(self) -> TrainingError:
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return TrainingError(
                f"its process was killed ({name}), perhaps because memory ran out; the same command tries it "
                "again. Fewer --jobs need less memory"
            )
        return TrainingError(f"its process ended with exit code {code} (see above) {self.lost}".rstrip())

    def end(self, at_once: bool = False) -> None:
        """End the process."""
        self.pipe.close()  # it leaves when it finds nobody there
        if self.process.pid is None:
            return
        # It answers this by clearing away what it holds; only then is it killed.
        if at_once:
            self.process.terminate()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _work(
    pipe: Connection, attempt: Attempt, data: SuiteData, threads: int, environment: dict[str, str]
) -> None:
    """Do runs as they come, until the other end is closed."""
    from shiftcast.training.job import set_threads

    os.environ.update(environment)  # the server of processes may be older than a variable
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, who says what is to be done
    # So that `finally` runs: the default would leave locks and temporary files.
    signal.signal(signal.SIGTERM, lambda *_: _leave())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    set_threads(threads)
    notes = _Notes(pipe)
    logging.getLogger("shiftcast").addHandler(notes)
    # The parent shows them, in its own lines.
    logging.getLogger("shiftcast").propagate = False
    try:
        while True:
            job = replace(pipe.recv(), data=data)
            pipe.send(("end", _outcome(attempt, job, pipe)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _outcome(attempt: Attempt, job: Job, pipe: Connection) -> RunRecord | ShiftcastError | None:
    try:
        return attempt(job, on_progress=lambda progress: pipe.send(("progress", progress)))
    except FAILURES as error:
        # Made anew: the cause of the first may hold what cannot be sent.
        return type(error)(str(error))


def _leave_with_parent() -> None:
    """Have this process end when its parent has, however that came: nobody would take what it makes."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  it was spawned
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _leave() -> None:
    """Leave so that locks and unfinished files are cleared away."""
    raise SystemExit(os.EX_OK if hasattr(os, "EX_OK") else 0)


class _Notes(logging.Handler):
    """Sends warnings to the parent, who knows how to show them."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(logging.WARNING)
        self.pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self.pipe.send(("note", record.getMessage()))

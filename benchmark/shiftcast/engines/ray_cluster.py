"""The Ray engine: every run of a suite as a task of a Ray cluster, of this machine alone or of many.

This process, the driver, decides what is to be done, holds the lock of each run that it has given away, and
writes every file under `results/`. Tasks read the images from Ray's object store, work in a temporary folder
and answer with the bytes of their files. So machines need no shared folder, and no machine sees a part of a
file. A task whose machine is lost starts again, which is reported, and so is one that fails.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from shiftcast.cards.suite import Suite
from shiftcast.data.loading import SuiteData
from shiftcast.engines.budget import NOT_BEGUN, Budget, MayBegin
from shiftcast.engines.contract import (
    Options,
    Outcome,
    Reporter,
    Setting,
    Summary,
    choose_runs,
)
from shiftcast.engines.local import complete
from shiftcast.engines.one_run import FAILURES, carry_out, claimed
from shiftcast.errors import (
    HeldError,
    InvalidInputError,
    OutOfTimeError,
    ShiftcastError,
    TrainingError,
    needs_extra,
)
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.record import RunRecord
from shiftcast.util.files import write_atomic
from shiftcast.util.hashing import source_hash
from shiftcast.workspace import Workspace

with needs_extra("ray"):
    import ray
    from ray.exceptions import (
        LocalRayletDiedError,
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayTaskError,
        WorkerCrashedError,
    )
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from shiftcast.training.job import Job
    from shiftcast.training.pace import Progress

LOST = (LocalRayletDiedError, NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError)
"""What ends a task through no fault of its own."""
TRIES = 4
"""How often a run is begun whose tasks are lost."""
POLL_SECONDS = 0.25
"""How often the driver asks what tasks have said."""
PROGRESS_SECONDS = 0.5
"""How often a task says how far it is."""
LONGEST_REASON = 400
"""Characters of what Ray says of a cluster that cannot be joined."""
KNOCK_SECONDS = 10.0
"""How long a cluster has to answer at its address."""
PATIENCE = 10.0
"""Seconds that tasks have to end, and to clear away what they have begun to write, when they are told to."""


def run_suite(
    workspace: Workspace,
    suite: Suite,
    results: Path,
    options: Options,
    reporter: Reporter,
    address: str | None = None,
) -> Summary:
    """Finish every run of a suite that is not complete yet, on a Ray cluster.

    Files are those of the local engine at the same thread count. Each run has `options.threads` CPUs of
    the cluster to itself and, on CUDA, a GPU, which `options.jobs` runs share.

    Parameters
    ----------
    workspace, suite, results, options, reporter
        As for the local engine.
    address
        The cluster to join, as `ray.init` has it: "auto", "HOST:6379" or "ray://HOST:10001". A cluster of
        this machine's own is started, and ended, when None.

    Raises
    ------
    MissingExtraError
        If torch or timm is not installed.
    MissingDataError
        If the source or a required target is not on this machine.
    InvalidInputError
        If no cluster answers at the address, or the time budget is no number of minutes above 0.
    TrainingError
        If the cluster has no GPU and one was asked for, or a node has another Shiftcast than this process.
    """
    budget = Budget.of(options.time_budget)
    with needs_extra("train"):
        from shiftcast.training.job import set_threads
    choose_runs(suite, options.only, options.seeds)  # a mistake is found before anything is started
    threads = set_threads(options.threads)
    with _joined(address, threads):
        machine = (_device(options.device), threads)
        if options.jobs > 1 and machine[0] == "cpu":
            reporter.note("--jobs is ignored: on CPUs, as many runs go at once as there are --threads for")
        tasks = _Tasks(options.jobs, reporter, budget)
        return complete(workspace, suite, results, options, reporter, machine, tasks.attempts)


@contextmanager
def _joined(address: str | None, threads: int) -> Iterator[None]:
    """Be the driver of a cluster."""
    # Nothing about a person's work is reported to anybody.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cpus = max(os.cpu_count() or 1, threads)
        quiet |= {"include_dashboard": False, "num_cpus": cpus}
    with _own_signals(), needs_extra("ray"):
        try:
            _knock(address)
            ray.init(address=address or "local", **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"--address {address or 'local'}: no Ray cluster can be joined there ({_reason(error)}); "
                f"expected auto, HOST:6379 or ray://HOST:10001{_token_hint()}"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _reason(error: Exception) -> str:
    """Return what Ray says in one line: of other versions, both are told in the lines below the first."""
    said = " ".join(str(error).split())
    return said if len(said) <= LONGEST_REASON else f"{said[:LONGEST_REASON]}…"


def _token_hint() -> str:
    """Return what to do where a cluster asks for a token, which Ray does not say of a refusal."""
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return "; RAY_AUTH_MODE=token is set: the token here must be the cluster's"
    return "; if the cluster asks for a token: export RAY_AUTH_MODE=token"


def _knock(address: str | None) -> None:
    """Raise ConnectionError where nothing listens at a host and port: Ray itself would wait for minutes."""
    parts = urlsplit(address if address and "://" in address else f"//{address or ''}")
    if parts.scheme not in ("", "ray"):
        raise ValueError(f"unknown scheme {parts.scheme}://")
    if not parts.hostname or parts.port is None:
        return
    try:
        socket.create_connection((str(parts.hostname), parts.port), timeout=KNOCK_SECONDS).close()
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our answer to SIGTERM, which Ray replaces with one of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, ours)


def _device(name: str) -> Literal["cpu", "cuda"]:
    """Return "cpu" or "cuda" for `--device cpu|cuda|auto`, by what the nodes of the cluster have."""
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    if name == "cuda" and not has_gpu:
        raise TrainingError("--device cuda: no node of the Ray cluster has a GPU; use --device cpu or auto")
    return "cuda" if has_gpu and name != "cpu" else "cpu"


def needs(job: Job, share: int) -> tuple[int, float]:
    """Return the CPUs that a run has to itself, and the part of a GPU that is shared by `share` runs."""
    if job.device != "cuda" or not job.is_network:
        return job.threads, 0.0
    return job.threads, math.floor(10_000 / share) / 10_000  # Ray counts to four digits, and rounds up


@dataclass(frozen=True)
class _Order:
    """What a task is to do, in bytes and a few values: it finds nothing on its machine.

    Parameters
    ----------
    job
        The run, without its images.
    need
        What there is to do for it.
    source
        Hash of the driver's source files.
    files
        What stands in the run's folder, by name.
    network
        The trained network that the driver has, and its manifest, by the names' endings.
    """

    job: Job
    need: Literal["run", "network"]
    source: str
    files: dict[str, bytes]
    network: dict[str, bytes]


@dataclass(frozen=True)
class _Answer:
    """What a task has made: the record and, in bytes, the files it has to do with."""

    record: RunRecord
    predictions: bytes
    signals: bytes | None
    network: dict[str, bytes]


@dataclass(frozen=True)
class _Task:
    """A run that is given away, the order for it, and the lock that is held meanwhile."""

    job: Job
    order: _Order
    held: ExitStack
    answer: ray.ObjectRef[Any]
    number: int
    tries: int = 1


class _Box:
    """An actor beside the driver: takes what tasks say until the driver asks.

    It also has the driver's time budget, of `left` seconds from now: machines share no clock.
    """

    def __init__(self, left: float) -> None:
        self.budget = Budget(time.monotonic() + left)
        self.said: list[tuple[int, str, Any]] = []
        self.progress: dict[int, Any] = {}
        self.stopped = False

    def stop(self) -> None:
        """Have every task end that says something from now on."""
        self.stopped = True

    def tell(self, number: int, kind: str, what: Any) -> bool:
        """Take what a task says, and return whether it is to end; of its progress, only the last is kept."""
        if kind == "progress":
            self.progress[number] = what
        else:
            self.said.append((number, kind, what))
        return self.stopped

    def may_begin(self, seconds: float) -> bool:
        """Say whether there is time for a task to begin what takes so long."""
        return self.budget.allows(seconds)

    def emptied(self) -> list[tuple[int, str, Any]]:
        """Return all that was said since the last call."""
        said = [*self.said, *((number, "progress", what) for number, what in self.progress.items())]
        self.said, self.progress = [], {}
        return said


class _Tasks:
    """The tasks that are under way, as the driver sees them.

    Parameters
    ----------
    share
        Runs that share a GPU.
    reporter
        Is told of runs that begin and go on.
    budget
        Says whether there is time to give another run away.
    """

    def __init__(self, share: int, reporter: Reporter, budget: Budget) -> None:
        self.share, self.reporter, self.budget = share, reporter, budget
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # Beside the driver and without a CPU: it lives as long, and takes none from a run.
        self.box: Any = ray.remote(_Box).options(num_cpus=0, scheduling_strategy=here).remote(budget.left)
        self.work: Any = ray.remote(_carried_out)
        self.images: ray.ObjectRef[SuiteData] | None = None
        self.under_way: dict[int, _Task] = {}
        self.places: dict[int, str] = {}
        self.numbers = count()

    def attempts(self, todo: Sequence[Job], setting: Setting, patient: bool) -> Generator[Outcome]:
        """Do runs as tasks; `Attempts` says what is yielded.

        Who is patient has one run at a time: two drivers that each held a run and waited for the other's
        would wait for ever.
        """
        waiting = deque(todo)
        if waiting and not self._slots(waiting[0]):
            cpus, gpus = needs(waiting[0], self.share)
            what = f"{cpus} CPUs" + (" and a GPU" if gpus else "")
            self.reporter.note(f"no node of the Ray cluster has {what} for a run; the runs wait for one")
        try:
            while waiting or self.under_way:
                if waiting and not self.budget.allows(0.0):
                    yield from ((job, OutOfTimeError(NOT_BEGUN)) for job in waiting)
                    waiting.clear()
                while waiting and len(self.under_way) < (1 if patient else self._room(waiting[0])):
                    yield from self._begun(waiting.popleft(), setting, patient)
                yield from self._ended(setting)
        finally:
            self._stop()

    def _slots(self, job: Job) -> int:
        """Return how many such runs the nodes can do at once."""
        cpus, gpus = needs(job, self.share)
        has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(
            int(min(resources.get("CPU", 0) // cpus, resources.get("GPU", 0) // gpus if gpus else math.inf))
            for resources in has
        )

    def _room(self, job: Job) -> int:
        """Return how many runs are given away at once.

        As many wait as go on: no node is idle, one that scales itself sees that more is needed, and the
        rest is left to other drivers.
        """
        return 2 * max(self._slots(job), 1)

    def _begun(self, job: Job, setting: Setting, patient: bool) -> Iterator[Outcome]:
        """Give a run away; yield its result where there is nothing to give."""
        with ExitStack() as held:
            try:
                need = held.enter_context(claimed(*setting, job, self.reporter.note if patient else None))
            except HeldError as error:
                yield job, error
                return
            if need != "nothing":
                order = _order(job, need, setting[1])
                # The lock leaves this block with the task, and is released when that has ended.
                self._submit(job, order, held.pop_all())
                return
        yield job, None

    def _submit(self, job: Job, order: _Order, held: ExitStack, tries: int = 1) -> None:
        if self.images is None:
            # Once for all runs: nodes fetch the images, and keep them.
            self.images = ray.put(job.data)
        number = next(self.numbers)
        cpus, gpus = needs(job, self.share)
        # Ray does not begin lost tasks again: here it can be counted, and said.
        with_needs = self.work.options(num_cpus=cpus, num_gpus=gpus, max_retries=0, name=str(job.key))
        answer = with_needs.remote(order, self.images, self.box, number)
        self.under_way[number] = _Task(job, order, held, answer, number, tries)

    def _ended(self, setting: Setting) -> Iterator[Outcome]:
        """Wait a moment, pass on what tasks say, and yield the runs of those that have ended."""
        if not self.under_way:
            return
        ended, _ = ray.wait([task.answer for task in self.under_way.values()], timeout=0)
        if not ended:
            time.sleep(POLL_SECONDS)  # here and not in Ray, which makes one kind of interrupt of all signals
        self._listen()
        for task in [task for task in self.under_way.values() if task.answer in ended]:
            answer = self._answer(task)
            if answer is None:
                continue
            with task.held:
                if isinstance(answer, _Answer):
                    _keep(task, answer, setting[1])
            del self.under_way[task.number]
            yield task.job, answer.record if isinstance(answer, _Answer) else answer

    def _listen(self) -> None:
        """Pass on what tasks have said."""
        for number, kind, what in ray.get(self.box.emptied.remote()):
            # It was lost, and its last words come late.
            if (task := self.under_way.get(number)) is None:
                continue
            if kind == "started":
                self.places[number] = what
                self.reporter.started(task.job.key, task.job.recipe.epochs_run)
            elif kind == "progress":
                self.reporter.progress(task.job.key, what)
            else:
                self.reporter.note(f"{task.job.key}: {what}")

    def _answer(self, task: _Task) -> _Answer | ShiftcastError | None:
        """Return what a task answers, or why it failed; None where it was lost and is begun again."""
        try:
            kind, answer = ray.get(task.answer)
        except LOST as error:
            return self._again(task, error)
        except RayTaskError as error:
            if isinstance(error.cause, OSError):
                raise error.cause from error
            if "failed to import on the worker" in str(error.cause):
                reason = str(error.cause).strip().rsplit("\n", maxsplit=1)[-1]
                raise TrainingError(_other_shiftcast("a node of the Ray cluster", reason)) from error
            raise
        if kind == "refused":
            raise TrainingError(answer)
        done: _Answer | ShiftcastError = answer
        return done

    def _again(self, task: _Task, error: Exception) -> TrainingError | None:
        """Begin a lost run again, if it was not lost too often."""
        node = self.places.get(task.number)
        where = f"its node {node}" if node else "a node that it had not named yet"
        if isinstance(error, OutOfMemoryError):
            lost = f"was ended because memory ran out on {where}"
        elif isinstance(error, WorkerCrashedError):
            lost = f"was lost with its process on {where}"
        else:
            lost = f"was lost with {where}"
        if task.tries == TRIES:
            return TrainingError(
                f"it {lost}, and {TRIES - 1} times before; the same command tries it again. More --threads "
                "leave fewer runs to a node"
            )
        self.reporter.note(f"{task.job.key} {lost}; it is tried again")
        self._submit(task.job, task.order, task.held, task.tries + 1)
        del self.under_way[task.number]
        return None

    def _stop(self) -> None:
        """Ask the tasks under way to end, and release their runs; who does not listen ends with us.

        `ray.cancel` would not do: it may kill a task that is writing its checkpoint, and the driver of a
        task that ends at that moment.
        """
        answers = [task.answer for task in self.under_way.values()]
        try:
            if answers:
                ray.get(self.box.stop.remote())
                ray.wait(answers, num_returns=len(answers), timeout=PATIENCE)
        finally:
            for task in self.under_way.values():
                task.held.close()
            self.under_way.clear()


def _order(job: Job, need: Literal["run", "network"], folder: Path) -> _Order:
    """Return what a task has to know, with what the driver has of the run already."""
    from shiftcast.training.run import final_checkpoint

    run_folder = RunFolder(folder / job.key.path)
    files = {}
    for path in (run_folder.record_path, run_folder.predictions_path, run_folder.signals_path):
        with suppress(FileNotFoundError):
            files[path.name] = path.read_bytes()
    network = {}
    if (trained := final_checkpoint(job)) is not None:
        network[".pt"] = trained.read_bytes()
        if trained == job.checkpoint and job.manifest.exists():
            network[".json"] = job.manifest.read_bytes()
    return _Order(replace(job, data=None), need, source_hash(), files, network)  # type: ignore[arg-type]


def _keep(task: _Task, answer: _Answer, folder: Path) -> None:
    """Write what a task has made: its network to the cache, then the run's two files."""
    for path in (task.job.checkpoint, task.job.manifest):
        made = answer.network.get(path.suffix)
        if made is not None and not (path.exists() and path.read_bytes() == made):
            write_atomic(path, made)
    if task.order.need == "run":
        RunFolder(folder / task.job.key.path).write(answer.record, answer.predictions, answer.signals)


def _other_shiftcast(where: str, reason: str) -> str:
    return (
        f"{where} has another Shiftcast than this process ({reason}); install the same version, with the "
        "same extras, on every node"
    )


# What follows is done at the nodes.


class _Stopped(Exception):  # noqa: N818  no error
    """The driver wants no more."""


def _carried_out(
    order: _Order, images: SuiteData, box: Any, number: int
) -> tuple[Literal["done", "failed", "refused"], _Answer | ShiftcastError | str]:
    """Do one run; return "done" and what was made, "failed" and why, or "refused" and what is wrong here.

    It ends by itself, and clears away what it has begun to write, soon after the driver has stopped.
    """
    host = socket.gethostname()
    if source_hash() != order.source:
        reason = f"its source files hash to {source_hash()[:12]}, expected {order.source[:12]}"
        return "refused", _other_shiftcast(f"node {host} of the Ray cluster", reason)

    def tell(kind: str, what: Any) -> None:
        if ray.get(box.tell.remote(number, kind, what)):  # waited for: nothing is said after the end
            raise _Stopped

    def may_begin(seconds: float) -> bool:
        allowed: bool = ray.get(box.may_begin.remote(seconds))
        return allowed

    try:
        return _done_or_failed(order, images, host, tell, may_begin)
    except _Stopped:
        return "failed", TrainingError("it was stopped")


def _done_or_failed(
    order: _Order, images: SuiteData, host: str, tell: Callable[[str, Any], None], may_begin: MayBegin
) -> tuple[Literal["done", "failed"], _Answer | ShiftcastError]:
    if not may_begin(0.0):
        return "failed", OutOfTimeError(NOT_BEGUN)
    tell("started", host)
    from shiftcast.training.job import choose_device, set_threads

    job = replace(order.job, data=images)
    with tempfile.TemporaryDirectory(prefix="shiftcast-") as folder, _passed_on(tell):
        run_folder = RunFolder(Path(folder))
        for name, content in order.files.items():
            (run_folder.path / name).write_bytes(content)
        try:
            choose_device(job.device)
            set_threads(job.threads)
            _place_network(order, job)
            record = carry_out(order.need, job, run_folder, _seldom(tell), may_begin)
        except FAILURES as error:
            # Made anew: the cause of the first may hold what cannot be sent.
            return "failed", type(error)(str(error))
        paths = (job.checkpoint, job.manifest) if job.is_network else ()
        network = {path.suffix: path.read_bytes() for path in paths}
        signals = None if record.signals_sha256 is None else run_folder.signals_path.read_bytes()
        return "done", _Answer(record, run_folder.predictions_path.read_bytes(), signals, network)


def _place_network(order: _Order, job: Job) -> None:
    """Put the driver's trained network into this machine's cache, unless it has one."""
    from shiftcast.training.run import final_checkpoint

    if order.network and final_checkpoint(job) is None:
        for suffix, content in order.network.items():
            write_atomic(job.checkpoint.with_suffix(suffix), content)


def _seldom(tell: Callable[[str, Any], None]) -> Callable[[Progress], None]:
    """Return what tells of progress, but not of every step."""
    last = -math.inf

    def on_progress(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            tell("progress", progress)
            last = time.monotonic()

    return on_progress


@contextmanager
def _passed_on(tell: Callable[[str, Any], None]) -> Iterator[None]:
    """Send warnings to the driver, who knows how to show them."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell("note", record.getMessage())

    logger, notes = logging.getLogger("shiftcast"), Notes(logging.WARNING)
    logger.addHandler(notes)
    try:
        yield
    finally:
        logger.removeHandler(notes)

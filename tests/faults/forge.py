"""Runs commands in children of one process that has loaded the package, and kills them where it is told.

Started by `harness.py`, which writes one JSON object a line: `argv`, `folder`, `environment`, and perhaps the
point of the kill, either `operation` (the child kills itself before its n-th change of a file) or `seconds`;
`clock`, by what the time is off; `copies`, how many run at once. The answer: how the child ended, how often
it changed files, and how long it took. A fork takes milliseconds, an import of torch seconds.
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

CHANGES = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.truncate", "os.utime"}
)
"""What Python announces of changes to files, besides those that are opened to be written to."""
LOADED = (
    "shiftcast.cli.app",
    "shiftcast.cli.bars",
    "shiftcast.cli.report",
    "shiftcast.data.download.inventory",
    "shiftcast.data.download.obtain",
    "shiftcast.engines.local",
    "shiftcast.leaderboard.cache",
    "shiftcast.leaderboard.generate",
    "shiftcast.board.stored",
    "scipy.stats",
    "sklearn.linear_model",
    "shiftcast.site.build",
    "shiftcast.submission.create",
    "shiftcast.training.run",
    "shiftcast.util.locks",
)
"""What the commands need: loaded once, before any is run."""
REQUESTS = frozenset({"socket.connect", "http.client.send"})


def main() -> None:
    """Load what the commands need, then do what each line says."""
    for module in LOADED:
        import_module(module)
    import pytest

    from shiftcast.util.hashing import source_hash

    sys.path.append(str(Path(__file__).parents[1]))
    from support.quick_boards import draw_nothing, use_few_estimators

    patch = pytest.MonkeyPatch()  # for good: boards are about their files here
    use_few_estimators(patch)
    draw_nothing(patch)

    source_hash()  # the same in every child, whoever edits the package meanwhile
    print(json.dumps("ready"), flush=True)  # noqa: T201
    for line in sys.stdin:
        print(json.dumps(attempt(json.loads(line))), flush=True)  # noqa: T201


def attempt(job: dict[str, Any]) -> dict[str, Any]:
    """Run one command in a child, or in several at once; return how it ended, or how one that failed did."""
    counter, start = mmap.mmap(-1, 8), time.monotonic()
    running = {begin(job, counter, place) for place in range(job.get("copies", 1))}
    deadline, code = start + (job.get("seconds") or 1200.0), 0
    while running:
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                ended, status = os.waitpid(pid, 0)
            if ended:
                running.remove(pid)
                code = os.waitstatus_to_exitcode(status) or code
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)  # what it began ends with it
        time.sleep(0.0005)
    operations = int.from_bytes(counter[:8], "little")
    return {"code": code, "operations": operations, "seconds": time.monotonic() - start}


def begin(job: dict[str, Any], counter: mmap.mmap, place: int) -> int:
    """Start one child; return its number."""
    pid = os.fork()
    if pid == 0:
        child(job | {"said": job["said"] + (str(place) if place else "")}, counter)
    return pid


def child(job: dict[str, Any], counter: mmap.mmap) -> None:
    """Become the command."""
    os.setsid()
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    handle = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    watch(job.get("operation"), counter)
    if "clock" in job:
        jump(job["clock"])
    from shiftcast.cli import main as command

    sys.argv = ["shiftcast", *job["argv"]]
    code = 70
    try:
        command()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def jump(offsets: list[float]) -> None:
    """Let the clock be off by the next of these seconds each time that somebody looks."""
    real, turn = time.time, itertools.cycle(offsets)
    time.time = lambda: real() + next(turn)


def watch(last: int | None, counter: mmap.mmap) -> None:
    """Count changes of files, and die before the last one."""
    made = 0

    def tick() -> None:
        nonlocal made
        made += 1
        counter[:8] = made.to_bytes(8, "little")
        if made == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            flags = arguments[2]
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
                tick()
        elif event in CHANGES or event in REQUESTS:
            tick()

    flush = os.fsync

    def fsync(handle: int) -> None:  # of which Python announces nothing
        tick()
        flush(handle)
        tick()

    os.fsync = fsync
    sys.addaudithook(heard)


if __name__ == "__main__":
    main()

"""Locks between processes: files that say who holds them, taken over from the dead.

Two `get` of one file must not write one partial file, and two `run` must not train one network. A lock
left by a killed process is taken over by the next one on the same machine; on another machine nobody can
tell, so the message names the file.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from shiftcast.errors import HeldError

POLL = 0.2
"""Seconds between two looks at a lock that somebody holds."""

TAKEOVER_SECONDS = 10.0
"""After this time, a lock that does not say whose it is, or a takeover that did not end, is nobody's."""


class Holder(BaseModel):
    """Which process holds a lock; `started` tells it from a later one with the same number, if known."""

    pid: int
    host: str
    started: int | None = None

    @property
    def gone(self) -> bool:
        """Whether the process is known to have ended."""
        if self.host != socket.gethostname() or os.name != "posix":  # elsewhere, signal 0 is Ctrl-C
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        # A container starts its processes under the same few numbers each time.
        return self.started is not None and _started(self.pid) not in (None, self.started)


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks of its machine; None where the system does not tell."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return int(facts.rpartition(")")[2].split()[19])  # field 22; the name, field 2, may hold anything
    except (OSError, ValueError, IndexError):
        return None


@contextmanager
def locked(path: Path, say: Callable[[str], None] | None) -> Iterator[None]:
    """Hold the lock file `path`; wait while another process does, and say once which one it is.

    Parameters
    ----------
    path
        The lock file; its folder is made.
    say
        Is called with a line for people before the first wait; None not to wait.

    Raises
    ------
    HeldError
        If another process holds the lock and there is no `say`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    said = False
    while not _created(path):
        _take_over(path)
        if not said and (holder := _holder(path)) is not None:
            at = (
                f"process {holder.pid} on {holder.host}, which is at the same work. If it is no shiftcast "
                f"any more, delete {path}"
            )
            if say is None:
                raise HeldError(f"held by {at}")
            say(f"waiting for {at}")
            said = True
        if path.exists():
            time.sleep(POLL)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _created(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    pid = os.getpid()
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(Holder(pid=pid, host=socket.gethostname(), started=_started(pid)).model_dump_json())
    except BaseException:  # a full disk: a lock that says nothing would keep the next one waiting
        path.unlink(missing_ok=True)
        raise
    return True


def _holder(path: Path) -> Holder | None:
    try:
        return Holder.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _dead(path: Path) -> bool:
    """Whether a lock's holder has ended, or was killed before it could write who it is."""
    holder = _holder(path)
    return holder.gone if holder else _age(path) > TAKEOVER_SECONDS


def _age(path: Path) -> float:
    """Return how many seconds ago a file was written, or seems to be written from now, if clocks jumped."""
    with suppress(FileNotFoundError):
        return abs(time.time() - path.stat().st_mtime)
    return 0.0


def _take_over(path: Path) -> None:
    """Remove the lock of a process that has ended.

    One at a time: of two that see a dead holder, the slower one would remove the faster one's lock.
    """
    if not _dead(path):
        return
    gate = path.with_name(f"{path.name}.takeover")
    if _age(gate) > TAKEOVER_SECONDS:
        gate.unlink(missing_ok=True)
    if _created(gate):
        try:
            if _dead(path):
                path.unlink(missing_ok=True)
        finally:
            gate.unlink(missing_ok=True)

"""Locks between processes that say who holds them.

Two `get` of one file must not write one partial file, and two `run` must not train one network. The system
releases the lock of a process that is killed; `filelock` knows how, on each system and on network drives.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from shiftcast.errors import HeldError

POLL = 0.2
"""Seconds between two looks at a lock that is held."""


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
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        hint = f"lock file {path}; delete it if that process has ended"
        at = f"{_holder(path)}, which is at the same work ({hint})"
        if say is None:
            raise HeldError(f"held by {at}") from None
        say(f"waiting for {at}")
        lock.acquire(poll_interval=POLL)
    try:
        with suppress(OSError):  # a full disk: the lock holds without a name
            path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        # Before the release: whoever has opened the file meanwhile finds it gone and tries anew.
        with suppress(OSError):
            path.unlink()
        lock.release()


def _holder(path: Path) -> str:
    """Return who has signed a lock file, in words."""
    try:
        pid, host, *_ = path.read_text(encoding="utf-8").split()
    except (OSError, ValueError):  # not signed yet, or released meanwhile
        return "another process"
    return f"process {pid} on {host}"

"""Atomic writes, canonical JSON and hashes: how `results/` reaches the disk, and is read."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcast.errors import InvalidInputError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: what killed processes leave stays there
    fcntl = None  # type: ignore[assignment]


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    The bytes go to a temporary file in the same folder, are flushed to the disk and then moved
    into place. On any failure (full disk, Ctrl-C) the previous file stands and the temporary
    one is removed; that of a process that was killed is removed by the next one that writes `path`.
    """
    payload = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    try:
        _write(path, payload)
    except OSError as error:
        error.filename = str(path)  # not the temporary file's, or none
        raise


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to an `.npz` file as `write_atomic` does; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomic(path, buffer.getvalue())


def _write(path: Path, payload: bytes) -> None:
    handle, temporary = _temporary(path)
    with os.fdopen(handle, "wb") as stream:
        try:
            stream.write(payload)
            stream.flush()
            # Else a power cut could leave the new name with none of the bytes.
            os.fsync(stream.fileno())
            temporary.chmod(0o644)
            if fcntl is None:
                stream.close()  # Windows moves no open file
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                stream.close()
            temporary.unlink(missing_ok=True)
            raise


def _temporary(path: Path) -> tuple[int, Path]:
    """Return an open temporary file beside `path`, locked for as long as it is open."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        if fcntl is not None:
            with suppress(OSError):  # not every network disk knows locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.lexists(name):  # else somebody else's sweep came before the lock
            return handle, Path(name)
        os.close(handle)


def sweep(path: Path) -> None:
    """Remove temporary files of killed writers of `path`; one that is being written is locked, and stays."""
    with suppress(OSError), os.scandir(path.parent) as entries:
        start = f".{path.name}."
        left = [
            entry.path for entry in entries if entry.name.startswith(start) and entry.name.endswith(".part")
        ]
        for name in left if fcntl is not None else []:
            with suppress(OSError), Path(name).open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Path(name).unlink()


def read_regular(path: Path, limit: int) -> bytes:
    """Return the bytes of a file from an untrusted source.

    Links are not followed and pipes not waited for, and nothing is read of a file that is too large.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidInputError
        If it is a link, no regular file, or takes more than `limit` bytes.
    """
    if path.is_symlink():
        raise InvalidInputError(f"{path}: is a symbolic link; expected a file: put a copy in its place")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            kind = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe or a device"
            raise InvalidInputError(f"{path}: is {kind}; expected a file")
        if about.st_size > limit:
            raise InvalidInputError(f"{path}: takes {about.st_size:,} bytes; expected at most {limit:,}")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(limit)
    finally:
        os.close(handle)

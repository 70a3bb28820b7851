"""Atomic writes, canonical JSON and hashes: how `results/` reaches the disk, and is read."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from shiftcast.errors import InvalidInputError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: what killed processes leave stays there
    fcntl = None  # type: ignore[assignment]


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no white space: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_of(value: Any) -> str:
    """Return the SHA-256 of a JSON-serialisable value's canonical form."""
    return sha256(canonical_json(value).encode())


def now() -> str:
    """Return the time in UTC, to the second, as `2026-01-31T12:00:00Z`: such times sort as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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


def _write(path: Path, payload: bytes) -> None:
    handle, temporary = _temporary(path)
    with os.fdopen(handle, "wb") as stream:
        try:
            stream.write(payload)
            stream.flush()
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
        left = [one.path for one in entries if one.name.startswith(start) and one.name.endswith(".part")]
        for name in left if fcntl is not None else []:
            with suppress(OSError), Path(name).open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Path(name).unlink()


def read_regular(path: Path, limit: int) -> bytes:
    """Return the bytes of a file that anybody may have written.

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
            raise InvalidInputError(f"{path}: is no regular file; expected one")
        if about.st_size > limit:
            raise InvalidInputError(f"{path}: takes {about.st_size:,} bytes; expected at most {limit:,}")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(limit)
    finally:
        os.close(handle)


def printable(text: str, most: int = 10_000) -> str:
    """Return text that shows what anybody wrote and does nothing else.

    Control characters and those that turn the direction of what follows are written out, and of long text
    the beginning is shown; lines are kept.
    """
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text[:most])
    return shown if len(text) <= most else f"{shown}…"


def parse_json(data: bytes) -> Any:
    """Return the value of JSON that anybody may have written; a key twice, NaN and infinity are refused.

    Raises
    ------
    ValueError
        If it is no such JSON, or nested too deeply.
    """
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it holds the key {next(key for key in keys if keys.count(key) > 1)[:80]!r} twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no number of JSON")


@cache
def source_hash() -> str:
    """Return the SHA-256 over the package's Python files: which code made a result."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()

"""Safe unpacking: just the files that a card names, and nothing outside the folder they belong in.

Members that try to escape, links, devices, duplicates and archives beyond all measure are refused, with
the member's name. Files that hold pickles are left where they are.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Literal, cast

from shiftcast.errors import DataError, ShiftcastError

PICKLES = (".pkl", ".pickle")
CHUNK = 1 << 20
LARGEST_HEADER = 1 << 24
"""Bytes that are read at once at most: a tar header may ask for any number."""

COMPRESSED: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""How compressed tar files begin, and what opens them."""

OUR_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES})
"""Failures that are the disk's and not the archive's."""


Kind = Literal["file", "folder", "link", "device"]


@dataclass(frozen=True)
class Limits:
    """The most that an archive may hold: members, and their bytes when unpacked."""

    members: int = 400_000
    size: int = 8_000_000_000


@dataclass(frozen=True)
class Member:
    """What an archive holds under a name: `open` gives its `size` bytes, while the archive is being read."""

    name: str
    kind: Kind
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, patterns: Sequence[str], folder: Path, limits: Limits | None = None) -> list[str]:
    """Unpack the members whose paths match a pattern, with their paths.

    Parameters
    ----------
    archive
        A .zip or .tar file, the latter perhaps compressed (gzip, bzip2, xz); told by its content.
    patterns
        As for `fnmatch`, with case, on the member's whole path; `*` also matches slashes.
    folder
        Where they go: a new, empty folder, to be moved into place when all is well.
    limits
        What is refused as too large.

    Returns
    -------
    The paths of what was unpacked below `folder`, in the archive's order.

    Raises
    ------
    DataError
        If the archive cannot be read, no member matches a pattern, a member has an absolute path or
        `..` in it, or one to be unpacked is a link, a device or there twice, or the limits are
        exceeded. What is in `folder` then is to be thrown away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _named_failures(archive):
        unpacked = _unpack(archive, patterns, folder, limits or Limits())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in unpacked):
            raise DataError(
                f"{archive}: no member matches {pattern!r}; the card expects another archive than this one"
            )
    return unpacked


def members(archive: Path, limits: Limits | None = None) -> Iterator[Member]:
    """Yield what an archive holds, in its order and with safe names, each to be read before the next one.

    Whatever archives are read for goes through here, so that none escapes, fills the memory or never
    ends. What a damaged one makes its reader raise is raised as it is.

    Raises
    ------
    DataError
        If a member has an absolute path or `..` in it, a header asks for more memory than any needs,
        or the limits are exceeded.
    """
    limits, size = limits or Limits(), 0
    for count, member in enumerate(_members(archive), 1):
        name = _safe_name(archive, member.name)
        # By what headers state, before anything is unpacked: `_write` holds members to it.
        size += member.size
        if count > limits.members or size > limits.size:
            raise DataError(
                f"{archive}: refused at member {name!r}: expected at most {limits.members:,} members and "
                f"{limits.size:,} bytes, got {count:,} and {size:,} so far"
            )
        yield replace(member, name=name)


def _unpack(archive: Path, patterns: Sequence[str], folder: Path, limits: Limits) -> list[str]:
    seen: dict[str, None] = {}
    for member in members(archive, limits):
        if _wanted(member, patterns):
            if member.kind != "file":
                raise DataError(
                    f"{archive}: member {member.name!r} is a {member.kind}; only files are unpacked"
                )
            if member.name in seen:
                raise DataError(f"{archive}: member {member.name!r} is there twice; which one is meant?")
            seen[member.name] = None
            _write(archive, member, folder / member.name)
    return list(seen)


def _wanted(member: Member, patterns: Sequence[str]) -> bool:
    matches = any(fnmatchcase(member.name, pattern) for pattern in patterns)
    return matches and member.kind != "folder" and not member.name.lower().endswith(PICKLES)


def _safe_name(archive: Path, name: str) -> str:
    """Return a member's path without `.` and doubled slashes; refuse one that leads elsewhere."""
    # Not left to `tarfile`'s data filter and `zipfile`, which strip what leads elsewhere and go on: such an
    # archive is not its publisher's. Windows' rules contain the others': slashes, drives and shares.
    path = PureWindowsPath(name)
    if path.anchor or ".." in path.parts:
        raise DataError(f"{archive}: member {name!r} would be unpacked outside its folder; refused")
    return str(PurePosixPath(name))


def _write(archive: Path, member: Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    # "x": a name that the file system takes for another one's is a duplicate too.
    with member.open() as source, target.open("xb") as stream:
        while left and (chunk := source.read(min(CHUNK, left))):
            stream.write(chunk)
            left -= len(chunk)
        if left or source.read(1):
            raise DataError(f"{archive}: member {member.name!r} has not the {member.size} bytes it states")


def _members(archive: Path) -> Iterator[Member]:
    with archive.open("rb") as stream:
        start = stream.read(512)
    if start.startswith(b"PK"):
        return _zip_members(archive)
    opener = next((opens for magic, opens in COMPRESSED.items() if start.startswith(magic)), None)
    return _tar_members(archive, opener or partial(Path.open, mode="rb"))


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind: Kind = "file" if mode in (0, stat.S_IFREG) else "device"
            if info.is_dir() or mode == stat.S_IFLNK:
                kind = "folder" if info.is_dir() else "link"
            yield Member(info.filename, kind, info.file_size, partial(opened.open, info))


def _tar_members(archive: Path, opener: Callable[[Path], Any]) -> Iterator[Member]:
    with (
        opener(archive) as plain,
        tarfile.open(fileobj=cast("IO[bytes]", _Guarded(plain, archive)), mode="r:") as opened,
    ):
        while (info := opened.next()) is not None:
            cast("Any", opened).members.clear()  # their headers may be large, and nobody goes back to them
            kind: Kind = "link" if info.islnk() or info.issym() else "device"
            if info.isreg() or info.isdir():
                kind = "file" if info.isreg() else "folder"
            # It gives None for what is no plain file, which nobody opens.
            read = cast("Callable[[], IO[bytes]]", partial(opened.extractfile, info))
            yield Member(info.name, kind, info.size, read)


class _Guarded:
    """A file whose reader cannot be made to take more memory than a header may need."""

    def __init__(self, stream: Any, archive: Path) -> None:
        self._stream, self._archive = stream, archive
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_HEADER:
            raise DataError(f"{self._archive}: a header asks for {size} bytes; the archive is damaged")
        return bytes(self._stream.read(size))


@contextmanager
def _named_failures(archive: Path) -> Iterator[None]:
    """Name the archive in whatever its readers raise about a damaged one."""
    try:
        yield
    except ShiftcastError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OUR_DISK:
            raise
        raise DataError(
            f"{archive}: cannot be unpacked as .tar, .tar.gz or .zip ({type(error).__name__}: {error}). "
            "The file is damaged or something else; get it again"
        ) from error

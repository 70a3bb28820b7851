"""A publisher's file from the first of its sources that gives the right bytes.

`transfer` brings the bytes under a temporary name. What gets the file's name has the stated size and hash,
or, where no hash is published, that which was recorded when it was first seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from urllib3.util import Retry

from shiftcast.cards.dataset import Download
from shiftcast.data.download.transfer import RETRY, Reporter, SourceError, UnreachedError, transfer
from shiftcast.errors import DataError
from shiftcast.util.hashing import file_hash


@dataclass(frozen=True)
class Fetched:
    """A file that has been fetched and verified.

    Parameters
    ----------
    path
        Where it lies.
    url
        Where it came from; empty if it lay there already.
    sha256
        Its hash in hexadecimal.
    """

    path: Path
    url: str
    sha256: str

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size


def wrong_bytes(path: Path, download: Download, expected: str | None) -> str:
    """Return what is wrong with a file that should be `download`: empty if nothing is.

    Parameters
    ----------
    path
        An existing file.
    download
        What a card says about it.
    expected
        Its hash as `algorithm:digits`, or None where none is known.
    """
    size = path.stat().st_size
    if download.size is not None and size != download.size:
        return f"{path}: expected {download.size} bytes, got {size}"
    if expected is None:
        return ""
    algorithm, _, digits = expected.partition(":")
    came = file_hash(path, algorithm)
    return "" if came == digits.lower() else f"{path}: expected {expected}, got {algorithm}:{came}"


def fetch(
    download: Download, folder: Path, expected: str | None, reporter: Reporter, retry: Retry = RETRY
) -> Fetched:
    """Fetch a file into `folder`, whose partial bytes lie there too, from its sources in order.

    Parameters
    ----------
    download
        The file and its sources.
    folder
        A folder for this file alone, which exists.
    expected
        Its hash as `algorithm:digits`, or None where none is known.
    reporter
        Is told of progress and failures.
    retry
        How often a source may fail in a row, and how long to wait between.

    Raises
    ------
    DataError
        If no source gives the right bytes, with what each of them did (`UnreachedError` if no connection
        came about to any of them); or if the disk is full.
    """
    target = folder / download.file
    if target.is_file() and not wrong_bytes(target, download, expected):
        return Fetched(target, "", file_hash(target))
    problems: list[SourceError] = []
    for url in download.urls:
        try:
            _fetch_from(url, download, target, expected, reporter, retry)
        except SourceError as error:
            problems.append(error)
            if url != download.urls[-1]:
                reporter.note(f"{error}. Trying the next source")
        else:
            return Fetched(target, url, file_hash(target))
    unreached = all(isinstance(problem, UnreachedError) for problem in problems)
    raise (UnreachedError if unreached else DataError)(
        f"{download.file}: no source delivered it:\n  " + "\n  ".join(map(str, problems)) + "\n"
        "Try again later, or get the file in another way and name its folder with --from DIR"
    )


def _fetch_from(
    url: str, download: Download, target: Path, expected: str | None, reporter: Reporter, retry: Retry
) -> None:
    """Bring a file from one source to `target`, once its bytes are the right ones."""
    partial = part_of(target.parent)
    for last in (False, True):
        pieces = transfer(url, download, partial, expected is not None, reporter, retry)
        problem = wrong_bytes(partial, download, expected).removeprefix(f"{partial}: ")
        if not problem:
            # Only now: what has a file's name has been verified.
            partial.replace(target)
            return
        partial.unlink()
        if last or not pieces:
            raise SourceError(f"{url}: {problem}")
        reporter.note(f"{url}: {problem}. It was downloaded in parts; downloading it again from the start")


def part_of(folder: Path) -> Path:
    """Return where the bytes of a file are, in the folder for it alone, until they are verified."""
    return folder / "part"

"""A publisher's file from the first of its sources that gives the right bytes.

Pooch verifies and moves; `transfer` brings the bytes. What arrives under the file's name has the stated
size and hash, or, where nobody states a hash, that which was recorded when it was first seen.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch

from shiftcast.cards.dataset import Download
from shiftcast.data.download.transfer import (
    Patience,
    Reporter,
    SourceError,
    Transfer,
    UnreachedError,
    transfer,
)
from shiftcast.data.partial import Partial
from shiftcast.errors import DataError


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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return str(pooch.file_hash(str(path), "sha256"))


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
    if pooch.hashes.hash_matches(str(path), expected):
        return ""
    algorithm = pooch.hashes.hash_algorithm(expected)
    return f"{path}: expected {expected}, got {algorithm}:{pooch.file_hash(str(path), algorithm)}"


def fetch(
    download: Download, folder: Path, expected: str | None, patience: Patience, reporter: Reporter
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
    patience
        How long servers are waited for.
    reporter
        Is told of progress, slow sources and failures.

    Raises
    ------
    DataError
        If no source gives the right bytes, with what each of them did (`UnreachedError` if no connection
        came about to any of them); or if the disk is full.
    """
    for remnant in folder.glob("tmp*"):  # what pooch leaves when it is killed
        remnant.unlink()
    problems: list[SourceError] = []
    for url, alternative in zip(download.urls, [*download.urls[1:], ""], strict=True):
        job = Transfer(
            url, download.file, download.size, expected is not None, alternative, patience, reporter
        )
        try:
            return _fetch_from(job, download, folder, expected)
        except SourceError as error:
            problems.append(error)
            if alternative:
                reporter.note(f"{error}. Going on with {alternative}")
    unreached = all(isinstance(one, UnreachedError) for one in problems)
    raise (UnreachedError if unreached else DataError)(
        f"{download.file}: no source gave it:\n  " + "\n  ".join(map(str, problems)) + "\n"
        "Try again later, or get the file in another way and name its folder with --from DIR"
    )


def _fetch_from(job: Transfer, download: Download, folder: Path, expected: str | None) -> Fetched:
    for last in (False, True):
        downloader = _Downloader(job, Partial(folder))
        try:
            path = Path(_retrieve(job.url, expected, download.file, folder, downloader))
        except ValueError as error:  # pooch: another hash, and the file is deleted
            reason = str(error).split(". ")[0]
            if last or not downloader.spliced:
                raise SourceError(f"{job.url}: {reason}") from error
            job.reporter.note(f"{job.url}: {reason}. It came in pieces; once more from the start")
            continue
        return Fetched(path, job.url if downloader.called else "", file_sha256(path))
    raise AssertionError("unreachable")


def _retrieve(*arguments: Any) -> str:
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.ERROR)  # what pooch would say, the reporter says
    try:
        url, known, file, folder, downloader = arguments
        return str(pooch.retrieve(url, known, fname=file, path=folder, downloader=downloader))
    finally:
        logger.setLevel(before)


class _Downloader:
    """What pooch calls to get a file: goes on from the partial file instead of starting anew."""

    def __init__(self, job: Transfer, partial: Partial) -> None:
        self._job, self._partial = job, partial
        self.called, self.spliced = False, False

    def __call__(self, url: str, output_file: str, pooch: object) -> None:  # noqa: ARG002  pooch's form
        """Bring the file to `output_file`, where pooch verifies it before it gets its name."""
        self.called = True
        self.spliced = transfer(self._job, self._partial)
        os.replace(self._partial.path, output_file)  # noqa: PTH105
        self._partial.discard()

"""One file from one web server: streamed, and resumed by byte range.

Whether the bytes are the right ones is not known here; `fetch` verifies them. A transfer that is killed at
any point leaves a partial file from which the next one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import disk_usage
from typing import Protocol

import requests
from requests.adapters import HTTPAdapter
from rich.filesize import decimal
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from shiftcast import __version__
from shiftcast.cards.dataset import Download
from shiftcast.data.readers.layouts import is_html
from shiftcast.errors import DataError


class BoundedRetry(Retry):
    """Waits as long as a busy server asks, but not beyond `backoff_max`: it may ask for hours."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return the seconds to wait; None where the server names no time that can be read."""
        with suppress(InvalidHeader):
            asked = super().get_retry_after(response)
            return None if asked is None else min(asked, self.backoff_max)
        return None


RETRY = BoundedRetry(
    total=4,
    connect=1,
    backoff_factor=1.0,
    backoff_max=60.0,
    status_forcelist=(408, 425, 429, 500, 502, 503, 504),
    raise_on_status=False,
)
"""Failures in a row, without a new byte between them, that a source may have before it is given up."""
TIMEOUT = (15.0, 30.0)
"""Seconds until a connection, and the next bytes, must have come."""
WINDOW, STALLED = 20.0, 1_000.0
"""Seconds over which speed is measured, and bytes a second below which the next source is tried."""
CHUNK = 1 << 14
"""Bytes read at once: what a kill can lose."""


class SourceError(DataError):
    """A source that does not give the file; the next one may."""


class UnreachedError(SourceError):
    """A source to which no connection came about."""


class Reporter(Protocol):
    """Whoever shows people what is going on."""

    def note(self, text: str) -> None:
        """Say something worth a line."""

    def transferred(self, file: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` bytes of a file are here; the total may be unknown."""


def size_of(partial: Path) -> int:
    """Return how many bytes of a file are here."""
    return partial.stat().st_size if partial.is_file() else 0


def transfer(
    url: str, download: Download, partial: Path, known: bool, reporter: Reporter, retry: Retry = RETRY
) -> bool:
    """Complete a partial file from one source; return whether its bytes came in more than one piece.

    Parameters
    ----------
    url
        The source.
    download
        The file.
    partial
        Where its bytes go.
    known
        Whether its hash is known. Only then is a file continued, whichever source began it: a wrong splice
        would be found.
    reporter
        Is told of progress and failures.
    retry
        How often the source may fail in a row, and how long to wait between.

    Raises
    ------
    SourceError
        If the source refuses, sends something else, or fails too often. What came is kept.
    DataError
        If the disk has no room.
    """
    pieces, failures, most = known and size_of(partial) > 0, 0, size_of(partial)
    while True:
        try:
            _attempt(url, download, partial, known, reporter, retry)
        except HTTPError as error:
            failures = 0 if size_of(partial) > most else failures + 1
            most, pieces = max(most, size_of(partial)), pieces or known
            if failures > (retry.total or 0):
                raise SourceError(
                    f"{url}: the connection was lost ({error}); tried {failures} times in a row"
                ) from error
            pause = min(retry.backoff_factor * 2**failures, retry.backoff_max)
            reporter.note(f"{url}: the connection was lost; trying again in {pause:.0f} s")
            time.sleep(pause)
        else:
            return pieces


def _attempt(
    url: str, download: Download, partial: Path, known: bool, reporter: Reporter, retry: Retry
) -> None:
    """Make one request and take what comes; `HTTPError` if the connection is lost on the way."""
    offset = size_of(partial) if known else 0
    with _opened(url, offset, known, retry) as response:
        if response.status_code == 416 and offset:
            return  # all is here, or it is of another file: then `fetch` starts anew
        if response.status_code not in (200, 206):
            raise SourceError(f"{url}: answered {response.status_code} {response.reason}")
        offset = offset if response.status_code == 206 else 0
        told = response.headers.get("Content-Length", "")
        total = offset + int(told) if told.isdecimal() else None
        if None not in (total, download.size) and total != download.size:
            raise SourceError(f"{url}: {download.file} has {total} bytes there, expected {download.size}")
        _check_room(partial.parent, (total or 0) - offset, download.file)
        chunks = response.raw.stream(CHUNK, decode_content=False)
        # Looked at before the bytes at hand are given up: a hotel's log-in page must not cost them.
        first = next(chunks, b"")
        if not offset and is_html(first):
            raise SourceError(f"{url}: answered with an HTML page instead of {download.file}")
        # Unbuffered, so that what has come survives a kill.
        with partial.open("ab" if offset else "wb", buffering=0) as stream:
            offset += stream.write(first)
            since, before = time.monotonic(), offset
            for chunk in chunks:
                offset += stream.write(chunk)
                reporter.transferred(download.file, offset, total)
                if (seconds := time.monotonic() - since) >= WINDOW:
                    rate = (offset - before) / seconds
                    if rate < STALLED and url != download.urls[-1]:  # the last source is worth more patience
                        raise SourceError(f"{url}: stalled at {rate:.0f} bytes/s")
                    since, before = time.monotonic(), offset
                if download.size is not None and offset > download.size:
                    break  # a server that never ends would fill the disk
        reporter.transferred(download.file, offset, total)


@contextmanager
def _opened(url: str, offset: int, known: bool, retry: Retry) -> Iterator[requests.Response]:
    """Give the answer to a request for a file from a byte on; a busy server is asked again."""
    # Without "identity", a server may compress what is compressed, and sizes and ranges mean nothing.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"shiftcast/{__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        try:
            response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        except requests.exceptions.SSLError as error:
            raise SourceError(f"{url}: no safe connection ({error})") from error
        except requests.ConnectionError as error:
            raise UnreachedError(f"{url}: no connection (is this machine online? {error})") from error
        except requests.RequestException as error:
            raise SourceError(f"{url}: {error}") from error
        with response:
            if url.startswith("https:") and not response.url.startswith("https:") and not known:
                raise SourceError(
                    f"{url}: leads from https to {response.url}, where others could change a file "
                    "without a published hash; refused"
                )
            yield response


def _check_room(folder: Path, needed: int, file: str) -> None:
    free = disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder}: {file} needs {decimal(needed)} more, and {decimal(free)} are free on that disk. "
            "Make room, or point SHIFTCAST_DATA at a folder on a larger disk"
        )

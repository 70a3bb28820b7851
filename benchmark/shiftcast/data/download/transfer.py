"""One file from one web server: streamed, resumed by byte range, watched for its speed.

Whether the bytes are the right ones is not known here; `fetch` verifies them. A transfer that is killed at
any point leaves a partial file from which the next one goes on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from shutil import disk_usage
from typing import Protocol

import requests
import urllib3
from pydantic import BaseModel, ValidationError
from requests import Response
from rich.filesize import decimal
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, MaxRetryError
from urllib3.util import Retry

from shiftcast import __version__
from shiftcast.data.readers.layouts import is_html
from shiftcast.errors import DataError
from shiftcast.util.files import write_atomic

RETRY = Retry(total=4, connect=1, backoff_factor=1.0, backoff_max=60.0)
"""Failures in a row, without a new byte between them, that a source may have before it is given up."""
TIMEOUT = (15.0, 30.0)
"""Seconds until a connection, and the next bytes, must have come."""
WINDOW = 20.0
"""Seconds over which a transfer's speed is measured."""
SLOW, STALLED = 200_000.0, 1_000.0
"""Bytes a second below which a warning is given, or the connection is dropped and tried anew."""
CHUNK = 1 << 14
"""Bytes read at once: what a kill can lose."""
BUSY = frozenset({408, 425, 429})
"""Answers below 500 that say to come again later."""


class SourceError(DataError):
    """A source that does not give the file; the next one may."""


class UnreachedError(SourceError):
    """A source to which no connection came about."""


class _TryAgainError(HTTPError):
    """What may be better in a moment: a timeout, a lost connection, a busy server."""

    def __init__(
        self, reason: str, answer: Response | None = None, unreached: bool = False, stalled: bool = False
    ) -> None:
        super().__init__(reason)
        self.answer, self.unreached, self.stalled = answer, unreached, stalled


class Reporter(Protocol):
    """Whoever shows people what is going on."""

    def note(self, text: str) -> None:
        """Say something worth a line."""

    def transferred(self, file: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` bytes of a file are here; the total may be unknown."""


class Origin(BaseModel):
    """Where a partial file's bytes are from."""

    url: str
    validator: str = ""
    total: int | None = None


@dataclass(frozen=True)
class Partial:
    """A file that is being fetched, and a note of where its bytes are from, in a folder for it alone."""

    folder: Path

    @property
    def path(self) -> Path:
        """The bytes so far."""
        return self.folder / "part"

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def origin(self) -> Origin | None:
        """Where the bytes are from; None where that is unknown."""
        try:
            return Origin.model_validate_json((self.folder / "part.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def begin(self, origin: Origin) -> None:
        """Start anew with bytes from `origin`."""
        self.discard()
        write_atomic(self.folder / "part.json", origin.model_dump_json())

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)
        (self.folder / "part.json").unlink(missing_ok=True)


@dataclass(frozen=True)
class Transfer:
    """What is to be fetched, from where, and how.

    Parameters
    ----------
    url
        The source.
    file
        The file's name, for people.
    size
        Its size in bytes where the publisher states it.
    known
        Whether its hash is known. If so, bytes of one source are continued from another: a wrong
        splice would be found. If not, only what the server vouches for unchanged is continued.
    alternative
        The next source, or empty.
    retry
        How often the source may fail, and how long to wait between.
    """

    url: str
    file: str
    size: int | None
    known: bool
    alternative: str
    retry: Retry
    reporter: Reporter


def transfer(job: Transfer, partial: Partial) -> bool:
    """Complete `partial` from one source; return whether its bytes came in more than one piece.

    Raises
    ------
    SourceError
        If the source refuses, sends something else, or fails too often. What came is kept.
    DataError
        If the disk has no room.
    """
    retry, most, stalls, pieces = job.retry, partial.size, 0, False
    while True:
        try:
            return _attempt(job, partial) or pieces
        except _TryAgainError as error:
            pieces = True
            # A byte now and then would keep us for ever: what stalls must have brought more to go on.
            if partial.size - most > (STALLED * WINDOW if error.stalled else 0):
                retry = job.retry
            most, stalls = max(most, partial.size), stalls + error.stalled
            if stalls == 2 and job.alternative:  # the last source is worth more patience
                raise SourceError(f"{job.url}: {error} (stalled 2 times)") from error
            retry = _counted(retry, job, error)
            pause = _pause(retry, error.answer)
            job.reporter.note(f"{job.url}: {error}; trying again in {pause:.0f} s")
            time.sleep(pause)


def _counted(retry: Retry, job: Transfer, error: _TryAgainError) -> Retry:
    """Return how often the source may fail still; `SourceError` if that was the last time."""
    try:
        return retry.increment("GET", job.url, error=ConnectTimeoutError() if error.unreached else error)
    except MaxRetryError:
        kind = UnreachedError if error.unreached else SourceError
        raise kind(f"{job.url}: {error} (tried {len(retry.history) + 1} times in a row)") from error


def _pause(retry: Retry, answer: Response | None) -> float:
    """Return the seconds until the next attempt: what the server asks for, within reason, or ever more."""
    with suppress(InvalidHeader):
        if answer is not None and (asked := retry.get_retry_after(answer.raw)):
            return min(asked, retry.backoff_max)
    return retry.get_backoff_time()


def _attempt(job: Transfer, partial: Partial) -> bool:
    """Make one request and take what comes; return whether it went on from bytes that were there."""
    origin, offset = partial.origin, _offset(job, partial)
    total = job.size or (origin.total if origin else None)
    if offset and offset == total:
        return True
    with _named_failures(job), _get(job, _headers(job, partial, offset)) as response:
        if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{offset}":
            _check_size(job, offset)
            return True  # killed between the last byte and its name
        _check_answer(job, response, partial, offset)
        if response.status_code == 206:
            total = _continued(job, response, partial, offset)
            job.reporter.note(f"{job.file}: going on from {decimal(offset)}")
        else:
            offset, total = 0, _begun(job, response, partial)
        _check_room(partial.folder, (total or 0) - offset, job.file)
        _take(job, response, partial, total)
    return offset > 0


def _offset(job: Transfer, partial: Partial) -> int:
    """Return from which byte to go on: 0 where the bytes at hand cannot be relied on."""
    origin, size = partial.origin, partial.size
    if origin is None or (job.size is not None and size > job.size):
        return 0
    vouched = origin.url == job.url and bool(origin.validator)
    return size if job.known or vouched else 0


def _headers(job: Transfer, partial: Partial, offset: int) -> dict[str, str]:
    # Without "identity", a server may compress what is compressed, and sizes and ranges mean nothing.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"shiftcast/{__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        origin = partial.origin
        if origin and origin.url == job.url and origin.validator:
            headers["If-Range"] = origin.validator
    return headers


def _get(job: Transfer, headers: Mapping[str, str]) -> Response:
    response = requests.get(job.url, headers=dict(headers), stream=True, timeout=TIMEOUT)
    hops = [hop.url for hop in (*response.history, response)]
    lowered = any(a.startswith("https:") and not b.startswith("https:") for a, b in pairwise(hops))
    if lowered and not job.known:
        response.close()
        raise SourceError(
            f"{job.url}: leads from https to {hops[-1]}, where others could change a file "
            "without a published hash; refused"
        )
    return response


@contextmanager
def _named_failures(job: Transfer) -> Iterator[None]:
    """Sort what the network raises into what may be better in a moment and what will not."""
    try:
        yield
    except _TryAgainError:
        raise
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        raise SourceError(f"{job.url}: no safe connection ({error})") from error
    except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise _TryAgainError(f"nothing came for {TIMEOUT[1]:g} s", stalled=True) from error
    except requests.exceptions.ConnectionError as error:
        if "Connection aborted" in str(error):
            raise _TryAgainError("the connection was lost before an answer came") from error
        raise _TryAgainError("no connection (is this machine online?)", unreached=True) from error
    except requests.exceptions.InvalidSchema as error:
        raise SourceError(
            f"{job.url}: leads to an address that is neither http nor https ({error}); refused"
        ) from error
    except requests.RequestException as error:
        raise SourceError(f"{job.url}: {error}") from error
    except HTTPError as error:
        raise _TryAgainError("the connection was lost") from error


def _check_answer(job: Transfer, response: Response, partial: Partial, offset: int) -> None:
    code, answer = response.status_code, f"answered {response.status_code} {response.reason}"
    if code >= 500 or code in BUSY:
        raise _TryAgainError(answer, response)
    if code == 416 and offset:
        # Not all there is, and nothing beyond it: bytes of another file.
        partial.discard()
        raise _TryAgainError(f"has no data beyond byte {offset}, so it starts anew")
    if code not in (200, 206) or (code == 206 and not offset):
        raise SourceError(f"{job.url}: {answer}")


def _continued(job: Transfer, response: Response, partial: Partial, offset: int) -> int | None:
    """Hold a partial answer against what was asked for; return the file's size in bytes."""
    told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    total = int(told[2]) if told and told[2] != "*" else None
    before = partial.origin.total if partial.origin else None
    if told is None or int(told[1]) != offset or (total and before and total != before):
        partial.discard()
        raise _TryAgainError("did not go on where it was asked to, so it starts anew")
    _check_size(job, total)
    return total


def _begun(job: Transfer, response: Response, partial: Partial) -> int | None:
    """Take a whole answer's first bytes; return the file's size in bytes where it is told."""
    told = response.headers.get("Content-Length", "")
    total = int(told) if told.isdecimal() else None
    # Looked at before the bytes at hand are given up: a hotel's log-in page must not cost them.
    first = response.raw.read(CHUNK, decode_content=False)
    if is_html(first):
        raise SourceError(f"{job.url}: answered with an HTML page instead of {job.file}")
    _check_size(job, total)
    _check_room(partial.folder, total or 0, job.file)
    strong = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified", "") if strong.startswith("W/") or not strong else strong
    partial.begin(Origin(url=job.url, validator=validator, total=total))
    partial.path.write_bytes(first)
    return total


def _check_size(job: Transfer, total: int | None) -> None:
    if job.size is not None and total is not None and total != job.size:
        raise SourceError(f"{job.url}: {job.file} has {total} bytes there, expected {job.size}")


def _check_room(folder: Path, needed: int, file: str) -> None:
    free = disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder}: {file} needs {decimal(needed)} more, and {decimal(free)} are free on that disk. "
            "Make room, or point SHIFTCAST_DATA at a folder on a larger disk"
        )


def _take(job: Transfer, response: Response, partial: Partial, total: int | None) -> None:
    """Append what comes until the answer ends, and see that it ended where it should."""
    done, meter = partial.size, _Meter(job, total)
    # Unbuffered, so that what has come survives a kill.
    with partial.path.open("ab", buffering=0) as stream:
        while chunk := response.raw.read(CHUNK, decode_content=False):
            stream.write(chunk)
            done += len(chunk)
            job.reporter.transferred(job.file, done, total)
            meter.count(len(chunk), done)
            # A server that never ends would fill the disk.
            if job.size is not None and done > job.size:
                break
    if total is not None and done < total:
        raise _TryAgainError(f"ended after {done} of {total} bytes")
    if job.size is not None and done != job.size:
        partial.discard()
        raise SourceError(f"{job.url}: sent {done} bytes of {job.file}, expected {job.size}")


class _Meter:
    """Tells a slow transfer from a stalled one, over windows of some seconds."""

    def __init__(self, job: Transfer, total: int | None) -> None:
        self._job, self._total = job, total
        self._start, self._bytes, self._warned = time.monotonic(), 0, False

    def count(self, new: int, done: int) -> None:
        """Count bytes; warn once of a slow source, and give up a stalled connection."""
        self._bytes += new
        seconds = time.monotonic() - self._start
        if seconds < WINDOW:
            return
        rate = self._bytes / seconds
        if rate < STALLED:
            raise _TryAgainError(f"stalled at {rate:.0f} bytes/s", stalled=True)
        if rate < SLOW and not self._warned:
            self._warned = True
            self._job.reporter.note(self._slow(rate, done))
        self._start, self._bytes = time.monotonic(), 0

    def _slow(self, rate: float, done: int) -> str:
        left = f", about {(self._total - done) / rate / 60:.0f} min left" if self._total else ""
        other = self._job.alternative
        more = f"the next source, if this one fails, is {other}" if other else "there is no other source"
        return f"{self._job.url}: slow, {decimal(int(rate))}/s{left}; {more}"

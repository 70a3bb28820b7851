"""What goes with a dataset without being part of it, as other people's labels: had where it can be had.

Nothing that happens to such a file makes getting its dataset fail; each is worth one line.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from shiftcast.cards.dataset import Download
from shiftcast.data.download.fetch import Fetched, wrong_bytes
from shiftcast.data.download.local_files import find_download, place
from shiftcast.data.download.obtain import Job, expected_hash, fetched, received_as, staged
from shiftcast.data.download.placing import check_links, swap
from shiftcast.data.download.transfer import Reporter, UnreachedError
from shiftcast.errors import DataError, MissingDataError
from shiftcast.util.locks import locked


@dataclass(frozen=True)
class _Progress:
    """Passes on how far a file has come, and none of the lines on what goes wrong on the way."""

    reporter: Reporter

    def note(self, text: str) -> None:
        """Keep silent: the result is said in a line."""

    def transferred(self, file: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` bytes of a file are here."""
        self.reporter.transferred(file, done, total)


def obtain_extras(job: Job) -> None:
    """Get what goes with a dataset and is not here yet; say so of what cannot be had or is another file."""
    wanted = [one for one in job.card.optional_downloads if job.options.force or not _here(job, one)]
    if wanted and job.options.source is None:
        job.say(f"looking for {_optional(wanted)}")
    for number, download in enumerate(wanted):
        try:
            _bring(job, download)
        except UnreachedError as error:  # nor would the others be reached: they are not waited for
            job.say(f"continues without {_optional(wanted[number:])}: {_reason(error)}")
            return
        except (DataError, OSError) as error:
            job.say(f"continues without {_optional([download])}: {_reason(error)}")


def _optional(downloads: list[Download]) -> str:
    names = " and ".join(download.file for download in downloads)
    return f"{names}, which {'is' if len(downloads) == 1 else 'are'} optional"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    text = "; ".join(line.strip() for line in str(error).splitlines())
    return text.replace(":; ", ": ")


def _place(download: Download) -> str:
    return str(Path(download.into) / download.file)


def _here(job: Job, download: Download) -> bool:
    """Whether a file is here, whatever it holds; say so of one that is not what it should be."""
    path = job.store.inside(job.card, _place(download))
    try:
        if not path.exists():
            return False
        problem = wrong_bytes(path, download, expected_hash(job, download))
    except (DataError, OSError) as error:
        problem = _reason(error)
    if problem:
        job.say(f"{problem}. It was not changed; to download it again: {job.forcing}")
    return True


def _bring(job: Job, download: Download) -> None:
    with ExitStack() as stack:
        for path in job.store.locks(job.card):
            stack.enter_context(locked(path, job.say))
        check_links(job.store.folder, [_place(download)], job.forcing, job.say)
        file = _found(job, download)
        if not download.digest:
            job.store.trust(job.card.name, download, received_as(download, file))
        with staged(job) as staging:
            place(file.path, staging / download.file)
            swap(staging / download.file, job.store.inside(job.card, _place(download)))
        shutil.rmtree(job.store.partial(download), ignore_errors=True)
        job.say(f"{download.file} came along")


def _found(job: Job, download: Download) -> Fetched:
    if job.options.source is None:
        options = replace(
            job.options, retry=job.options.retry.new(total=1)
        )  # none of them is waited for long
        return fetched(replace(job, options=options, reporter=_Progress(job.reporter)), download)
    file, problems = find_download(download, job.options.source, expected_hash(job, download))
    if file is None:
        raise MissingDataError("; ".join(problems) or f"not found below {job.options.source}")
    return file

"""One dataset from its publisher, or from files at hand, into the data folder.

Everything is brought together, verified, unpacked and read in `.partial/`; only then is it moved into
place and recorded. Killed at any point, the same call goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from urllib3.util import Retry

from shiftcast.cards.dataset import DatasetCard, Download
from shiftcast.data.download.fetch import Fetched, fetch, wrong_bytes
from shiftcast.data.download.inventory import State, advice, entries_of, inspect, is_built, present
from shiftcast.data.download.local_files import find_contents, find_download, place
from shiftcast.data.download.placing import check_links, check_strangers, put, swap
from shiftcast.data.download.records import Received, Record, Store, contents, key_of
from shiftcast.data.download.transfer import RETRY, Reporter, UnreachedError
from shiftcast.data.download.unpack import unpack
from shiftcast.data.loading import fingerprint_of
from shiftcast.errors import DataError, HeldError, InvalidInputError, MissingDataError, in_words
from shiftcast.util.locks import locked
from shiftcast.util.text import now
from shiftcast.workspace import Workspace


@dataclass(frozen=True)
class Options:
    """How datasets are got.

    Parameters
    ----------
    source
        A folder to take files from instead of the network, or None.
    force
        Get them even if they are here.
    trust
        Datasets whose files without a published hash are accepted as they now are.
    retry
        How often a source may fail in a row, and how long to wait between.
    """

    source: Path | None = None
    force: bool = False
    trust: frozenset[str] = frozenset()
    retry: Retry = RETRY


@dataclass(frozen=True)
class Job:
    """One dataset to be got, and all that is needed for it."""

    workspace: Workspace
    card: DatasetCard
    store: Store
    options: Options
    reporter: Reporter

    def say(self, text: str) -> None:
        """Say a line about this dataset."""
        self.reporter.note(f"{self.card.name}: {text}")

    @property
    def forcing(self) -> str:
        """The command that replaces what is here whatever it is; empty if this is it."""
        source = f" --from {self.options.source}" if self.options.source else ""
        return "" if self.options.force else f"shiftcast data get {self.card.name}{source} --force"


def obtain(job: Job) -> State:
    """Get a dataset, unless it is here, and return what it is.

    Raises
    ------
    MissingDataError
        If it is not offered for download, or `--from` does not hold it.
    DataError
        If no source gives the right bytes, what they hold is not as the card says, what is here is not
        what was recorded, or a link or a person's own files would be lost without `force`.
    """
    _check_trust(job)
    begun = job.store.staging(job.card.name).exists() or any(
        job.store.partial(download).exists() for download in job.card.required_downloads
    )
    if not begun and (state := _settled(job)):
        _remove_left_locks(job)
        return state  # without a lock: a folder that cannot be written to may hold all that is needed
    with _held(job):
        state = _settled(job)  # looked at again: whoever held a lock may have got it
        if state is None:
            check_links(job.store.folder, contents(job.card), job.forcing)
            with staged(job) as staging:
                _put(job, staging, _brought(job, staging))
            state = inspect(job.card, job.store)
            if state.status != "here":
                raise DataError(f"dataset {job.card.name!r}: was put in place, but it is {state}")
        _tidy(job)
        return state


def _remove_left_locks(job: Job) -> None:
    """Remove the lock files of a process that was killed when all was done."""
    for path in filter(Path.exists, job.store.locks(job.card)):
        with suppress(HeldError, OSError), locked(path, None):
            pass


@contextmanager
def _held(job: Job) -> Iterator[None]:
    """Hold the locks of a dataset and its downloads."""
    with ExitStack() as stack:
        for path in job.store.locks(job.card):
            stack.enter_context(locked(path, job.say))
        yield


def obtain_extras(job: Job) -> None:
    """Get what goes with a dataset and is not here yet, as other people's labels.

    Nothing that happens to such a file makes getting its dataset fail; each is worth one line.
    """
    for download in job.card.optional_downloads:
        target = job.store.inside(job.card, str(Path(download.into) / download.file))
        try:
            if target.exists() and not job.options.force:
                if problem := wrong_bytes(target, download, expected_hash(job, download)):
                    job.say(f"{problem}. It was not changed; to download it again: {job.forcing}")
                continue
            _bring(job, download, target)
        except (DataError, OSError) as error:
            reason = in_words(error) if isinstance(error, OSError) else " ".join(str(error).split())
            job.say(f"continues without {download.file}, which is optional: {reason}")
            if isinstance(error, UnreachedError):
                return  # nor would the others be reached: they are not waited for


def _bring(job: Job, download: Download, target: Path) -> None:
    with _held(job):
        check_links(job.store.folder, [str(target.relative_to(job.store.folder))], job.forcing)
        if job.options.source is None:
            file = fetched(job, download)
        else:
            found, problems = find_download(download, job.options.source, expected_hash(job, download))
            if found is None:
                raise MissingDataError("; ".join(problems) or f"not found below {job.options.source}")
            file = found
        if not download.digest:
            job.store.trust(job.card.name, download, received_as(download, file))
        with staged(job) as staging:
            place(file.path, staging / download.file)
            swap(staging / download.file, target)
        shutil.rmtree(job.store.partial(download), ignore_errors=True)
        job.say(f"{download.file} came along")


def _settled(job: Job) -> State | None:
    """Return what a dataset is if nothing is to be done about it, or None."""
    state = inspect(job.card, job.store)
    if state.status == "built in":
        return state
    if state.status == "here" and not job.options.force:
        return replace(state, note="; ".join(filter(None, ["already here", state.note])))
    if state.status == "changed" and not job.options.force:
        raise DataError(
            f"dataset {job.card.name!r}: {state}. It was left as it is. {advice(job.card, job.store)}"
        )
    if state.status == "damaged":
        job.say(f"the present files are damaged ({state.note}) and are downloaded again")
    return None


def _check_trust(job: Job) -> None:
    stated = [download for download in job.card.downloads if download.digest]
    if job.card.name in job.options.trust and len(stated) == len(job.card.downloads):
        why = (
            f"{stated[0].file}'s hash is stated ({stated[0].stated_by})" if stated else "it has no downloads"
        )
        raise InvalidInputError(f"--trust {job.card.name}: {why}, so there is nothing to trust")


@contextmanager
def staged(job: Job) -> Iterator[Path]:
    """Give an empty folder in which to bring a dataset together, on the data folder's disk."""
    folder = job.store.staging(job.card.name)
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _brought(job: Job, staging: Path) -> list[Received]:
    """Bring a dataset's files to `staging`, laid out as in the data folder; say what they came from."""
    if job.options.source is None:
        if not job.card.required_downloads:
            why = "it is not offered for download" if job.card.public else "not public"
            raise MissingDataError(f"dataset {job.card.name!r}: {why}. {remedy(job)}")
        return [
            _unpacked(job, download, fetched(job, download), staging)
            for download in job.card.required_downloads
        ]
    return _from_disk(job, job.options.source, staging)


def remedy(job: Job) -> str:
    """Return the card's word on how to get the data."""
    return job.card.obtain.replace("$SHIFTCAST_DATA", str(job.store.folder))


def _from_disk(job: Job, source: Path, staging: Path) -> list[Received]:
    matches = {
        download.file: find_download(download, source, expected_hash(job, download))
        for download in job.card.required_downloads
    }
    files = [(download, matches[download.file][0]) for download in job.card.required_downloads]
    whole = [(download, file) for download, file in files if file is not None]
    if whole and len(whole) == len(files):
        return [_unpacked(job, download, file, staging) for download, file in whole]
    wrong = [problem for _, problems in matches.values() for problem in problems]
    wrong += [
        _how_to_trust(job, download) for download in job.card.required_downloads if matches[download.file][1]
    ]
    if not wrong and _files_placed(job, source, staging):
        return []
    names = ", ".join([*matches, *contents(job.card)])
    raise MissingDataError(
        f"dataset {job.card.name!r}: not found below {source}, searched two folders deep for {names}"
        + "".join(f"\n  {problem}" for problem in wrong or [remedy(job)] if problem)
    )


def _files_placed(job: Job, source: Path, staging: Path) -> bool:
    """Put the dataset's own files into `staging` if they are at hand.

    File names such as images.npy are many datasets': where the folder's name does not say that they
    are this one's, their fingerprint must.
    """
    # The likeliest come first, since every trial copies gigabytes.
    for named, places in find_contents(job.card, source):
        for where, path in places.items():
            place(path, staging / where)
        if named or _known(job.card, staging):
            job.say(f"taken from {next(iter(places.values())).parent}")
            return True
        shutil.rmtree(staging)
        staging.mkdir()
    return False


def _known(card: DatasetCard, folder: Path) -> bool:
    try:
        digest = fingerprint_of(card, folder)
    except DataError:
        return False
    return card.edition(digest) != digest[:12]


def expected_hash(job: Job, download: Download) -> str | None:
    """Return the hash a file must have: the publisher's, else that which was seen first, if any."""
    if download.digest or job.card.name in job.options.trust:
        return download.digest
    trusted = job.store.trusted(job.card.name, download)
    return f"sha256:{trusted.sha256}" if trusted else None


def fetched(job: Job, download: Download) -> Fetched:
    """Return a file from its publisher, or from where an earlier call left it; say how to accept another."""
    folder, expected = job.store.partial(download), expected_hash(job, download)
    folder.mkdir(parents=True, exist_ok=True)
    if job.options.force and not download.digest:
        (folder / download.file).unlink(missing_ok=True)  # verified by nobody, so not to be kept
    try:
        return fetch(download, folder, expected, job.reporter, job.options.retry)
    except DataError as error:
        other = expected is not None and f"expected {expected}, got" in str(error)
        advice = _how_to_trust(job, download) if other else ""
        if not advice:
            raise
        raise DataError(f"{error}\n{advice}") from error


def _how_to_trust(job: Job, download: Download) -> str:
    """Return why a file's hash was expected, and how to accept another; empty if its publisher states it."""
    trusted = job.store.trusted(job.card.name, download)
    if download.digest or trusted is None:
        return ""
    force = " --force" if job.options.force else ""
    source = f" --from {job.options.source}" if job.options.source else ""
    return (
        f"{download.file} has no published hash; expected is the file that came from {trusted.url} on "
        f"{trusted.time[:10]} ({trusted.size} bytes). If you know why it has changed, accept it: "
        f"shiftcast data get {job.card.name}{source}{force} --trust {job.card.name}"
    )


def received_as(download: Download, file: Fetched) -> Received:
    """Return what is recorded of a file that has come."""
    url, stated = file.url or download.urls[0], download.digest or ""
    return Received(file=download.file, url=url, size=file.size, sha256=file.sha256, stated=stated)


def _unpacked(job: Job, download: Download, file: Fetched, staging: Path) -> Received:
    received = received_as(download, file)
    if not received.stated:
        trusted = job.store.trusted(job.card.name, download)
        same = trusted is not None and trusted.sha256 == file.sha256
        seen = f"the same as on {trusted.time[:10]}" if same and trusted else f"SHA-256 {file.sha256}"
        job.say(f"{download.file} is unverified, because it has no published hash; {seen}")
    target = job.store.inside(job.card, download.into).relative_to(job.store.folder)
    if is_built(job.card, download.file):
        # Imported here: decoding images is for the few cards that need it.
        from shiftcast.data.build import build_dataset

        job.say(f"building arrays from {download.file}")
        build_dataset(job.card, file.path, staging, job.workspace.root / "datasets", job.say)
    elif download.members:
        job.say(f"unpacking {download.file}")
        unpack(file.path, download.members, staging / target)
    else:
        place(file.path, staging / target / download.file)
    return received


def _put(job: Job, staging: Path, received: list[Received]) -> None:
    """Read what was brought, record it, and move it into place.

    In this order: what is killed on the way is found to be missing or changed, and is got again.
    """
    try:
        digest = fingerprint_of(job.card, staging)
    except DataError as error:
        came, reason = ", ".join(file.file for file in received), str(error).split(". To get it: ")[0]
        raise DataError(
            f"dataset {job.card.name!r}: what {came or job.options.source} holds is not as the card says: "
            f"{reason}"
        ) from error
    check_strangers(job.card, staging, job.store, job.forcing, job.say)
    entries = entries_of(job.card, staging)
    if received:
        for file, download in zip(received, job.card.required_downloads, strict=True):
            if not download.digest:
                job.store.trust(job.card.name, download, file)
    record = Record(time=now(), received=received, entries=entries, fingerprint=digest)
    job.store.write_record(job.card.name, record)
    put(job.card, staging, job.store.folder)
    # Sizes and times move along, so these stamps hold there too.
    job.store.remember(job.card, {where: file.stamp for where, file in entries.items()}, digest)


def _tidy(job: Job) -> None:
    """Delete archives that have been unpacked, but for those that another missing dataset needs."""
    shutil.rmtree(job.store.staging(job.card.name), ignore_errors=True)  # of a get killed after `_put`
    wanted = {
        key_of(download): card.name
        for card in job.workspace.datasets.values()
        for download in card.downloads
        if card.public and card.name != job.card.name and not present(card, job.store)
    }
    for download in job.card.downloads:
        folder = job.store.partial(download)
        if (folder / download.file).exists() and key_of(download) in wanted:
            job.say(f"{download.file} is kept in {folder} for {wanted[key_of(download)]}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
